//! What a client is told of its request, in words and states.

use kapelle_bus::control::{CommandReceipt, CommandState as Told, RECEIPT_COMMANDS_MAX, Receipt};
use kapelle_domain::command::CommandState;

use crate::service::view::{Delivery, Verb};
use crate::service::{Error, Kind, Ordered, Service};

/// How a request with these commands stands; `named` are those that it names.
pub(super) fn of<'o>(
    request_id: &str,
    verb: Verb,
    all: &[Ordered],
    named: impl Iterator<Item = &'o Ordered>,
    service: &Service,
) -> Receipt {
    let state = whole(all);
    let open = all.iter().filter(|ordered| !ordered.state.is_settled()).count();
    let commands: Vec<CommandReceipt> = named
        .take(RECEIPT_COMMANDS_MAX)
        .map(|ordered| CommandReceipt {
            agent: ordered.agent().map(|agent| agent.to_string()).unwrap_or_default(),
            task: ordered.task_name(),
            number: ordered.seq.0,
            state: told(&ordered.state),
            message: words(ordered, verb, service),
        })
        .collect();
    let rejected = state == Told::Rejected;
    Receipt {
        request_id: request_id.to_owned(),
        state,
        code: if rejected { "command_rejected".to_owned() } else { String::new() },
        message: match (all, commands.as_slice()) {
            ([one], [named]) => format!("{}: {}", one.task_name(), named.message),
            _ => counts(all),
        },
        hint: String::new(),
        agents: number(all.len()),
        open: number(open),
        commands,
    }
}

/// That a request can't be carried out.
pub(super) fn refusal(request_id: String, error: Error) -> Receipt {
    let Error { kind, code, message, hint } = error;
    let hint = hint.unwrap_or_else(|| hint_for(kind).to_owned());
    Receipt::rejected(request_id, code, message, hint)
}

fn hint_for(kind: Kind) -> &'static str {
    match kind {
        Kind::NotFound | Kind::Conflict => "`kapelle status` shows what runs and waits",
        Kind::Invalid => "`kapelle schema asyncapi` describes what can be asked",
        Kind::Unavailable => "send it again in a while, with the same `request_id`",
        Kind::Internal => "the coordinator's log says more",
    }
}

/// The state of a request: that of its slowest command, and once all are settled the best of them.
fn whole(all: &[Ordered]) -> Told {
    const ORDER: [Told; 6] = [
        Told::Accepted,
        Told::Delivered,
        Told::Applied,
        Told::Carried,
        Told::Expired,
        Told::Rejected,
    ];
    let any = |state: &Told| all.iter().any(|ordered| told(&ordered.state) == *state);
    // Without any command there was nothing left to do.
    ORDER.into_iter().find(any).unwrap_or(Told::Applied)
}

fn told(state: &CommandState) -> Told {
    match state {
        CommandState::Accepted => Told::Accepted,
        CommandState::Delivered { .. } => Told::Delivered,
        CommandState::Applied { .. } => Told::Applied,
        CommandState::Carried { .. } => Told::Carried,
        CommandState::Rejected { .. } => Told::Rejected,
        CommandState::Expired => Told::Expired,
    }
}

fn words(ordered: &Ordered, verb: Verb, service: &Service) -> String {
    match &ordered.state {
        CommandState::Accepted if verb == Verb::Feedback => match service.delivery(ordered) {
            Delivery::Now => "recorded; the agent is told as soon as it listens".to_owned(),
            Delivery::NextAttempt => "recorded; the next attempt is told".to_owned(),
        },
        CommandState::Accepted => "recorded".to_owned(),
        CommandState::Delivered { .. } => "the worker has it".to_owned(),
        CommandState::Applied { .. } => "it has had its effect".to_owned(),
        CommandState::Carried { attempt } => format!("attempt {attempt} was told when it started"),
        CommandState::Rejected { reason } => reason.clone(),
        CommandState::Expired => "the task ended before it could have its effect".to_owned(),
    }
}

fn counts(all: &[Ordered]) -> String {
    let states = ["accepted", "delivered", "applied", "carried", "rejected", "expired"];
    let counted = states.iter().filter_map(|name| {
        let count = all.iter().filter(|ordered| ordered.state.name() == *name).count();
        (count > 0).then(|| format!("{count} {name}"))
    });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { "nothing was left to be told".to_owned() } else { counted.join(", ") }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

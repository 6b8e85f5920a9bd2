//! `kapelle pause`, `redirect`, `restart` and `ping`: steering work that runs.
//!
//! Each is recorded before it is delivered, and shown with what becomes of it.

use std::time::Duration;

use clap::Args;
use kapelle_runtime::config::HumanDuration;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::view::{CommandAccepted, CommandRequest, CommandScope, ReceiptView, Verb};

/// How often the state of a command is asked for while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of what something is ordered.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// A task such as `1.2`, an attempt such as `r-42/1.2#1`, or a run such as `r-42`
    id: Option<String>,
    /// What this worker holds
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// What workers with this label hold, such as `gpu` or `zone=eu-1`
    #[arg(long, value_name = "CONSTRAINT")]
    label: Option<String>,
    /// Everything that runs or waits
    #[arg(long)]
    all: bool,
}

/// What all of these take.
#[derive(Debug, Args)]
pub struct Common {
    /// Why, for whoever reads the history
    #[arg(long)]
    reason: Option<String>,
    /// How long to wait for the effect; 0s returns when it is recorded
    #[arg(long, default_value = "10s", value_name = "TIME")]
    wait: HumanDuration,
}

/// What `pause` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle pause 1.2 --reason 'waits for a decision'
  kapelle pause --all

A paused agent is frozen where it stands; its time limit stands still. A task that doesn't run yet
is not started. `kapelle resume` goes on.")]
pub struct PauseArgs {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    common: Common,
}

/// What `redirect` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle redirect 1.2 1.3 --reason '1.2 waits for a dependency'

The agent on 1.2 is ended without that counting as a failure, 1.3 goes first, and 1.2 goes on when
1.3 has ended.")]
pub struct RedirectArgs {
    /// The task that has the agent
    from: String,
    /// The work stream that it is to work on; part of an open run
    to: String,
    #[command(flatten)]
    common: Common,
}

/// What `restart` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle restart 1.2 'start from the tests this time'")]
pub struct RestartArgs {
    /// The task
    id: String,
    /// What the next attempt is told
    text: Vec<String>,
    /// How long to wait for the effect; 0s returns when it is recorded
    #[arg(long, default_value = "10s", value_name = "TIME")]
    wait: HumanDuration,
}

/// What `ping` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle ping 1.2
  kapelle ping --all")]
pub struct PingArgs {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    common: Common,
}

impl PauseArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        order(app, self.scope.into(), Verb::Pause, self.common).await
    }
}

impl PingArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        order(app, self.scope.into(), Verb::Ping, self.common).await
    }
}

impl RedirectArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let Common { reason, wait } = self.common;
        give(app, redirection(self.from, self.to, reason), wait.0).await
    }
}

impl RestartArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let text = Some(self.text.join(" "));
        let (scope, verb) = (scope_of(self.id), Verb::Restart);
        give(app, CommandRequest { scope, verb, text, to: None, request_id: None }, self.wait.0)
            .await
    }
}

impl From<Scope> for CommandScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope { worker: Some(id), .. } => Self::Worker { id },
            Scope { label: Some(constraint), .. } => Self::Label { constraint },
            Scope { id: Some(id), .. } => scope_of(id),
            Scope { id: None, .. } => Self::All { except: Vec::new() },
        }
    }
}

/// What an id means: `r-42` and `@last` are runs, what has a `#` is an attempt.
pub(super) fn scope_of(id: String) -> CommandScope {
    let number = id.strip_prefix("r-").map(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if id.starts_with('@') || number == Some(true) {
        CommandScope::Run { id }
    } else if id.contains('#') {
        CommandScope::Attempt { id }
    } else {
        CommandScope::Task { id }
    }
}

async fn order(app: &App, scope: CommandScope, verb: Verb, common: Common) -> Result<Exit, Error> {
    let Common { reason, wait } = common;
    give(app, CommandRequest { scope, verb, text: reason, to: None, request_id: None }, wait.0)
        .await
}

/// Orders something, waits for its effect, and shows what became of it. Fails when any of it was
/// rejected.
pub(super) async fn give(
    app: &App,
    request: CommandRequest,
    wait: Duration,
) -> Result<Exit, Error> {
    let order = async |client: &Client| order_and_wait(client, &request, wait).await;
    let accepted = app.with(Need::Write, order).await?;
    let rejected = accepted.receipts.iter().any(|receipt| receipt.state == "rejected");
    app.console.show(&accepted)?;
    Ok(if rejected { Exit::Failure } else { Exit::Ok })
}

/// Orders something and waits for its effect. What is not settled by then is given as it stands.
pub(super) async fn order_and_wait(
    client: &Client,
    request: &CommandRequest,
    wait: Duration,
) -> Result<CommandAccepted, Error> {
    let mut accepted = client.command(request).await?;
    let waiting = settle(client, &mut accepted);
    match tokio::time::timeout(wait, waiting).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(accepted),
    }
}

/// The order that takes the agent of `from` to `to`.
pub(super) fn redirection(from: String, to: String, reason: Option<String>) -> CommandRequest {
    let (scope, verb) = (scope_of(from), Verb::Redirect);
    CommandRequest { scope, verb, text: reason, to: Some(to), request_id: None }
}

async fn settle(client: &Client, accepted: &mut CommandAccepted) -> Result<(), Error> {
    for receipt in &mut accepted.receipts {
        while is_open(receipt) {
            let commands = client.commands(&receipt.task).await?;
            if let Some(now) = commands.into_iter().find(|command| command.seq == receipt.seq) {
                receipt.state = now.state;
                receipt.reason = now.reason;
                receipt.attempt = now.attempt.filter(|number| *number > 0).or(receipt.attempt);
            }
            if is_open(receipt) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
    Ok(())
}

fn is_open(receipt: &ReceiptView) -> bool {
    matches!(receipt.state.as_str(), "accepted" | "delivered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_what_they_mean() {
        let run = |id: &str| CommandScope::Run { id: id.to_owned() };
        assert_eq!(scope_of("r-42".to_owned()), run("r-42"));
        assert_eq!(scope_of("@last".to_owned()), run("@last"));
        let attempt = "r-42/1.2#1".to_owned();
        assert_eq!(scope_of(attempt.clone()), CommandScope::Attempt { id: attempt });
        for id in ["1.2", "r-42/1.2", "r-x"] {
            assert_eq!(scope_of(id.to_owned()), CommandScope::Task { id: id.to_owned() });
        }
    }
}

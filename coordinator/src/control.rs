//! Steering and watching over the bus, by any client: the public control subjects, served.
//!
//! ```text
//!   request --> lane of its agent --> service, as from HTTP --> first receipt --+
//!   what is committed --> follow: further receipts of requests that go on  <----+
//!                     --> tell: events, and how agents are doing
//! ```
//!
//! A request becomes the same command as one over HTTP, and no rule is decided here. Nothing here
//! holds up the dispatch loop: what is committed is taken from a bounded channel, and who is too
//! slow for it reads the store, or says that something was left out.

mod follow;
mod receipt;
mod tell;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kapelle_bus::control::{
    ControlEnd, ControlOrder, ControlRequest, FeedbackAction, Only, Order, Receipt, ReceiptEnd,
    Target,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::service::view::{CommandRequest, CommandScope, Verb};
use follow::{Followed, Following};
use tell::Telling;

/// Requests are handled in so many lanes. Those for one agent share a lane and stay in order, as
/// do broadcasts.
const LANES: usize = 16;

/// Requests that may wait in a lane; further ones are refused.
const LANE_MAX: usize = 64;

/// Requests that may wait to be followed.
const FOLLOW_MAX: usize = 256;

/// Serves the control subjects until `until`, or until the bus is closed.
pub async fn serve<C: ControlEnd>(service: Service, end: C, until: CancellationToken) {
    let mut watching = JoinSet::new();
    let (follow, followed) = mpsc::channel(FOLLOW_MAX);
    watching.spawn(Following::new(service.clone(), followed).run());
    watching.spawn(Telling::new(service.clone(), end.clone()).run());
    let mut handling = JoinSet::new();
    let lanes: Vec<mpsc::Sender<ControlRequest<C::Receipts>>> = (0..LANES)
        .map(|_| {
            let (lane, requests) = mpsc::channel(LANE_MAX);
            handling.spawn(handle(service.clone(), requests, follow.clone()));
            lane
        })
        .collect();
    let taking = async {
        while let Ok(request) = end.next().await {
            assign(&lanes, request).await;
        }
    };
    until.run_until_cancelled(taking).await;
    // What was taken is answered.
    drop(lanes);
    while handling.join_next().await.is_some() {}
    watching.shutdown().await;
}

/// Gives a request to its lane, or says at once that there is no room.
async fn assign<R: ReceiptEnd>(
    lanes: &[mpsc::Sender<ControlRequest<R>>],
    request: ControlRequest<R>,
) {
    let Some(lane) = lanes.get(lane_of(&request.order.target, lanes.len())) else { return };
    let request = match lane.try_send(request) {
        Ok(()) => return,
        Err(TrySendError::Full(request) | TrySendError::Closed(request)) => request,
    };
    let id = request.order.request_id.unwrap_or_default();
    tracing::warn!(request = id, "a control request is refused: too many wait");
    let receipt = Receipt::rejected(
        id,
        "overloaded",
        "too many requests wait to be recorded; nothing was done",
        "send it again in a while",
    );
    // Whoever asked may be gone.
    drop(request.receipts.send(&receipt).await);
}

fn lane_of(target: &Target, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match target {
        Target::Agent(name) => name.hash(&mut hasher),
        Target::Everyone | Target::Only(_) => {}
    }
    // Places in a list are small.
    usize::try_from(hasher.finish() % u64::try_from(lanes.max(1)).unwrap_or(1)).unwrap_or(0)
}

/// Handles the requests of a lane, one after the other.
async fn handle<R: ReceiptEnd>(
    service: Service,
    mut requests: mpsc::Receiver<ControlRequest<R>>,
    follow: mpsc::Sender<Followed<R>>,
) {
    while let Some(request) = requests.recv().await {
        let ControlRequest { order, trace, receipts } = request;
        let id = order.request_id.clone().unwrap_or_else(|| service.name_request());
        tracing::info!(request = id, verb = order.order.verb().token(), trace, "steered");
        let command = command_of(order, id.clone());
        match service.order(&command).await {
            Ok(ordered) => {
                let followed = Followed::new(id, command.verb, receipts, ordered);
                followed.begin(&service).await;
                if followed.is_open() && follow.send(followed).await.is_err() {
                    tracing::warn!("nobody follows what becomes of commands");
                }
            }
            Err(error) => {
                let refusal = receipt::refusal(id, error);
                // Whoever asked may be gone.
                drop(receipts.send(&refusal).await);
            }
        }
    }
}

/// The command that a request asks for.
fn command_of(order: ControlOrder, request_id: String) -> CommandRequest {
    let scope = match order.target {
        Target::Agent(name) => CommandScope::Attempt { id: name.to_string() },
        Target::Everyone => CommandScope::All { except: Vec::new() },
        Target::Only(Only::Run(id)) => CommandScope::Run { id },
        Target::Only(Only::Task(id)) => CommandScope::Task { id },
        Target::Only(Only::Worker(id)) => CommandScope::Worker { id },
        Target::Only(Only::Label(constraint)) => CommandScope::Label { constraint },
    };
    let (verb, text, to) = match order.order {
        Order::Stop { reason } => (Verb::Stop, reason, None),
        Order::Feedback { text, action: FeedbackAction::Continue } => (Verb::Feedback, text, None),
        Order::Feedback { text, action: FeedbackAction::Restart } => (Verb::Restart, text, None),
        Order::Redirect { work_stream, reason } => (Verb::Redirect, reason, Some(work_stream)),
        Order::Pause { reason } => (Verb::Pause, reason, None),
        Order::Resume => (Verb::Resume, String::new(), None),
        Order::Ping => (Verb::Ping, String::new(), None),
    };
    CommandRequest { scope, verb, text: Some(text), to, request_id: Some(request_id) }
}

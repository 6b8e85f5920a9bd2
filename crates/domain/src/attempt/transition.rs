//! The one table of an attempt's transitions.
//!
//! It knows the attempt alone. What its task has to say (which fence is the newest, what follows
//! from an end) is in [`crate::task`].

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Cancellation, Granted, Outcome, Phase};
use crate::event::{TaskEvent, Which};
use crate::ids::{OfferSeq, Timestamp};

impl Attempt {
    /// A new one, published for the first time.
    #[must_use]
    pub fn offered(at: Timestamp, number: u32, offer: OfferSeq) -> Self {
        Self {
            number,
            phase: Phase::Offered,
            offer,
            offered_at: at,
            grant: None,
            started_at: None,
            ended_at: None,
            renewed_at: at,
            watched_from: at,
            report_waits: false,
            cancel: None,
            yields: false,
            paused_at: None,
            paused_for: Duration::ZERO,
            report: None,
        }
    }

    /// Whether the event changes this attempt.
    fn is_meant(&self, event: &TaskEvent) -> bool {
        match event.changed_attempt() {
            Some(Which::Numbered(number)) => number == self.number,
            Some(Which::Newest) => true,
            None => false,
        }
    }

    /// Changes as the event says. False, and unchanged, when the event is about something else or
    /// doesn't fit.
    pub fn follow(&mut self, at: Timestamp, event: &TaskEvent) -> bool {
        use TaskEvent as E;
        if !self.is_meant(event) {
            return false;
        }
        match (self.phase, event) {
            // A grant that never led to a start is taken back and offered anew.
            (Phase::Offered | Phase::Claimed, E::Offered { offer, .. }) if *offer > self.offer => {
                self.phase = Phase::Offered;
                self.grant = None;
                self.offer = *offer;
                self.offered_at = at;
            }
            (Phase::Offered, E::Claimed { .. }) => {
                self.phase = Phase::Claimed;
                self.renewed_at = at;
                self.grant = granted(at, event);
            }
            (Phase::Claimed, E::Started { .. }) => {
                self.phase = Phase::Running;
                self.started_at = Some(at);
                self.watched_from = at;
                self.renewed_at = at;
            }
            (Phase::Running, E::Suspected { .. }) => self.phase = Phase::Suspect,
            (Phase::Suspect, E::Recovered { .. }) => {
                self.phase = Phase::Running;
                self.renewed_at = at;
            }
            (
                Phase::Claimed | Phase::Running | Phase::Suspect,
                E::YieldRequested { reason, .. },
            ) => {
                self.yields = true;
                self.order_to_stop(at, reason);
            }
            (phase, E::CancelRequested { reason }) if phase.is_held() => {
                self.order_to_stop(at, reason);
            }
            (phase, E::AttemptPaused { .. }) if phase.is_held() && self.paused_at.is_none() => {
                self.paused_at = Some(at);
            }
            (phase, E::AttemptResumed { .. }) if phase.is_held() => {
                let Some(since) = self.paused_at.take() else { return false };
                self.paused_for += at.since(since.max(self.watched_from));
            }
            (phase, E::AttemptEnded { report, .. })
                if phase != Phase::Ended
                    && (phase == Phase::Offered) == (report.outcome == Outcome::Withdrawn) =>
            {
                self.phase = Phase::Ended;
                self.ended_at = Some(at);
                self.report = Some(Arc::clone(report));
            }
            (
                Phase::Offered
                | Phase::Claimed
                | Phase::Running
                | Phase::Suspect
                | Phase::Cancelling
                | Phase::Ended,
                _,
            ) => return false,
        }
        true
    }

    fn order_to_stop(&mut self, at: Timestamp, reason: &str) {
        self.phase = Phase::Cancelling;
        self.cancel = Some(Cancellation { reason: reason.to_owned(), at });
    }
}

/// The grant that a claim came to.
fn granted(at: Timestamp, event: &TaskEvent) -> Option<Granted> {
    let TaskEvent::Claimed {
        fence, worker, session, request, base, goes_on_from, embedded, ..
    } = event
    else {
        return None;
    };
    Some(Granted {
        fence: *fence,
        worker: worker.clone(),
        session: *session,
        request: *request,
        base: base.clone(),
        goes_on_from: *goes_on_from,
        embedded: *embedded,
        at,
    })
}

//! How a running process is asked, told and forced to end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// One step of a [`StopLadder`], weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StopMode {
    /// SIGINT to the agent's process group.
    Interrupt,
    /// SIGTERM to the agent's process group.
    Terminate,
    /// The whole tree is killed. Nothing survives or ignores it.
    Kill,
}

/// When each step is taken, counted from the request to stop. A step whose time has come together
/// with a stronger one is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLadder {
    /// SIGINT; `None` leaves it out.
    pub interrupt_after: Option<Duration>,
    /// SIGTERM; `None` leaves it out.
    pub terminate_after: Option<Duration>,
    /// The end of patience.
    pub kill_after: Duration,
}

impl StopLadder {
    /// No patience at all.
    pub const KILL: Self =
        Self { interrupt_after: None, terminate_after: None, kill_after: Duration::ZERO };
}

impl Default for StopLadder {
    /// SIGTERM after ten seconds, the kill after thirty: time for an agent that was first asked
    /// in its own protocol.
    fn default() -> Self {
        Self {
            interrupt_after: None,
            terminate_after: Some(Duration::from_secs(10)),
            kill_after: Duration::from_secs(30),
        }
    }
}

/// What is wanted of a running process: the moments of all ladders requested so far, each step at
/// its earliest, and whether it is to stand still meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    interrupt: Option<Instant>,
    terminate: Option<Instant>,
    kill: Option<Instant>,
    pub(super) frozen: bool,
}

impl Schedule {
    /// Adds a ladder: a stop can be hastened, never put off.
    pub(super) fn hasten(&mut self, ladder: StopLadder, now: Instant) {
        let earlier = |known: Option<Instant>, after: Option<Duration>| {
            // A moment too far off to be represented never comes.
            let asked = after.and_then(|after| now.checked_add(after));
            [known, asked].into_iter().flatten().min()
        };
        self.interrupt = earlier(self.interrupt, ladder.interrupt_after);
        self.terminate = earlier(self.terminate, ladder.terminate_after);
        self.kill = earlier(self.kill, Some(ladder.kill_after));
    }

    /// The strongest step that is due and stronger than `taken`.
    pub(super) fn due(&self, taken: Option<StopMode>, now: Instant) -> Option<StopMode> {
        self.steps(taken).filter(|(_, at)| *at <= now).map(|(mode, _)| mode).max()
    }

    /// When [`due`](Self::due) has something to say next.
    pub(super) fn next(&self, taken: Option<StopMode>) -> Option<Instant> {
        self.steps(taken).map(|(_, at)| at).min()
    }

    fn steps(&self, taken: Option<StopMode>) -> impl Iterator<Item = (StopMode, Instant)> {
        [
            (StopMode::Interrupt, self.interrupt),
            (StopMode::Terminate, self.terminate),
            (StopMode::Kill, self.kill),
        ]
        .into_iter()
        .filter(move |(mode, _)| Some(*mode) > taken)
        .filter_map(|(mode, at)| Some((mode, at?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_come_in_order_and_each_once() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(None), None);
        schedule.hasten(
            StopLadder {
                interrupt_after: Some(Duration::ZERO),
                terminate_after: Some(10 * SECOND),
                kill_after: 30 * SECOND,
            },
            start,
        );
        assert_eq!(schedule.due(None, start), Some(StopMode::Interrupt));
        let taken = Some(StopMode::Interrupt);
        assert_eq!(schedule.due(taken, start + 9 * SECOND), None);
        assert_eq!(schedule.next(taken), Some(start + 10 * SECOND));
        assert_eq!(schedule.due(taken, start + 10 * SECOND), Some(StopMode::Terminate));
        assert_eq!(schedule.due(taken, start + 30 * SECOND), Some(StopMode::Kill));
        assert_eq!(schedule.next(Some(StopMode::Kill)), None);
    }

    #[test]
    fn a_second_ladder_can_only_hasten() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.hasten(StopLadder::default(), start);
        let patient = schedule;
        schedule.hasten(StopLadder { kill_after: 99 * SECOND, ..StopLadder::default() }, start);
        assert_eq!(schedule, patient);
        schedule.hasten(StopLadder::KILL, start + SECOND);
        assert_eq!(schedule.due(None, start + SECOND), Some(StopMode::Kill));
    }
}

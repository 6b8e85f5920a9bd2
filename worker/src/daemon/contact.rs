//! Whether the coordinator hears this worker, and that people learn of it when it doesn't.
//!
//! It says so once for each silence, with what it means for the work at hand, and once when the
//! silence is over. What is done about it is decided in `daemon`.

use std::time::Duration;

use kapelle_domain::ids::Timestamp;

/// Heartbeats in a row without an answer that are nothing to speak of.
const QUIET_BEATS: u32 = 3;

/// When the coordinator was heard of last.
#[derive(Debug)]
pub(super) struct Contact {
    heard_at: Timestamp,
    /// Without an answer for this long, people are told.
    patience: Duration,
    told: bool,
}

/// What people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nobody has answered for this long.
    CutOff(Duration),
    /// Somebody has answered again, after this long.
    Back(Duration),
}

impl Contact {
    /// That of a worker that was answered `now`, and beats `every` so often.
    pub(super) fn new(now: Timestamp, every: Duration) -> Self {
        Self { heard_at: now, patience: every.saturating_mul(QUIET_BEATS), told: false }
    }

    /// How long nobody has answered.
    pub(super) fn silence(&self, now: Timestamp) -> Duration {
        now.since(self.heard_at)
    }

    /// What was asked at `sent_at` has been answered: how long the answer took says nothing of us.
    pub(super) fn heard(&mut self, sent_at: Timestamp) -> Option<News> {
        let silence = self.silence(sent_at);
        self.heard_at = sent_at;
        std::mem::take(&mut self.told).then_some(News::Back(silence))
    }

    /// Nobody has answered what was asked.
    pub(super) fn unheard(&mut self, now: Timestamp) -> Option<News> {
        let silence = self.silence(now);
        if self.told || silence < self.patience {
            return None;
        }
        self.told = true;
        Some(News::CutOff(silence))
    }
}

impl News {
    /// Tells people. `ends_in`: how long the first of the attempts at hand still goes on by itself,
    /// if there are any.
    pub(super) fn tell(self, ends_in: Option<Duration>) {
        match (self, ends_in) {
            (Self::CutOff(silence), Some(left)) => tracing::warn!(
                "the coordinator has not answered for {} s; what runs here goes on, and is ended in {} s unless it answers",
                silence.as_secs(),
                left.as_secs()
            ),
            (Self::CutOff(silence), None) => tracing::warn!(
                "the coordinator has not answered for {} s; nothing runs here, and nothing is started until it answers",
                silence.as_secs()
            ),
            (Self::Back(silence), _) => {
                tracing::warn!("the coordinator answers again, after {} s", silence.as_secs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_told_once_and_so_is_its_end() {
        let at = |seconds: i64| Timestamp(seconds * 1_000);
        let mut contact = Contact::new(at(0), Duration::from_secs(5));
        assert_eq!(contact.unheard(at(10)), None, "a lost message is nothing to speak of");
        assert_eq!(contact.heard(at(11)), None);
        assert_eq!(contact.unheard(at(25)), None);
        assert_eq!(contact.unheard(at(26)), Some(News::CutOff(Duration::from_secs(15))));
        assert_eq!(contact.unheard(at(60)), None, "once");
        assert_eq!(contact.silence(at(61)), Duration::from_secs(50));
        assert_eq!(contact.heard(at(61)), Some(News::Back(Duration::from_secs(50))));
        assert_eq!(contact.heard(at(66)), None, "once");
        assert_eq!(contact.unheard(at(81)), Some(News::CutOff(Duration::from_secs(15))));
    }
}

//! States as people see them: a sign, a word and a color, never the color alone.

use super::canvas::{Canvas, Tone};

/// How a state is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    unicode: &'static str,
    ascii: &'static str,
    word: &'static str,
    tone: Tone,
}

const UNKNOWN: State = State::new("?", "?", "", Tone::Faint);

impl State {
    const fn new(
        unicode: &'static str,
        ascii: &'static str,
        word: &'static str,
        tone: Tone,
    ) -> Self {
        Self { unicode, ascii, word, tone }
    }

    /// A task or a run, by the name that the service gives its state.
    #[must_use]
    pub fn of_task(name: &str) -> Self {
        match name {
            "blocked" => Self::new("○", "o", "blocked", Tone::Faint),
            "ready" => Self::new("◌", ".", "ready", Tone::Faint),
            "active" => Self::new("●", "*", "working", Tone::Live),
            "running" => Self::new("●", "*", "running", Tone::Live),
            "paused" => Self::new("◫", "=", "paused", Tone::Warn),
            "retry_wait" => Self::new("↻", "~", "waits to retry", Tone::Warn),
            "integrating" => Self::new("◐", "%", "integrating", Tone::Live),
            "succeeded" => Self::new("✔", "+", "succeeded", Tone::Good),
            "failed" => Self::new("✘", "x", "failed", Tone::Bad),
            "cancelled" => Self::new("■", "=", "cancelled", Tone::Warn),
            "skipped" => Self::new("⊘", "/", "skipped", Tone::Faint),
            _ => UNKNOWN,
        }
    }

    /// A work stream, by the status that the roadmap gives it.
    #[must_use]
    pub fn of_stream(name: &str) -> Self {
        match name {
            "not_started" => Self::new("○", "o", "not started", Tone::Faint),
            "in_progress" => Self::new("●", "*", "in progress", Tone::Live),
            "complete" => Self::new("✔", "+", "complete", Tone::Good),
            "blocked" => Self::new("⊘", "/", "blocked", Tone::Warn),
            _ => UNKNOWN,
        }
    }

    /// A verdict: `pass`, `fail` or `unknown`.
    #[must_use]
    pub fn of_verdict(name: &str) -> Self {
        match name {
            "pass" => Self::new("✔", "+", "pass", Tone::Good),
            "fail" => Self::new("✘", "x", "fail", Tone::Bad),
            _ => Self::new("?", "?", "unknown", Tone::Warn),
        }
    }

    /// The state of a check that failed and doesn't count.
    #[must_use]
    pub fn warning() -> Self {
        Self::new("!", "!", "warning", Tone::Warn)
    }

    /// The sign, in color.
    #[must_use]
    pub fn sign(self, canvas: &Canvas) -> String {
        canvas.paint(self.tone, canvas.sign(self.unicode, self.ascii))
    }

    /// The sign and the word, in color.
    #[must_use]
    pub fn show(self, canvas: &Canvas) -> String {
        let sign = canvas.sign(self.unicode, self.ascii);
        canvas.paint(self.tone, format!("{sign} {}", self.word).trim_end())
    }

    /// The word alone.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: [&str; 11] = [
        "blocked",
        "ready",
        "active",
        "running",
        "paused",
        "retry_wait",
        "integrating",
        "succeeded",
        "failed",
        "cancelled",
        "skipped",
    ];

    #[test]
    fn every_state_has_a_word_and_a_sign_also_in_ascii() {
        let ascii = Canvas { ascii: true, ..Canvas::plain() };
        for name in TASKS {
            assert!(!State::of_task(name).word().is_empty(), "{name}");
            assert!(State::of_task(name).show(&ascii).is_ascii(), "{name}");
        }
        for name in ["not_started", "in_progress", "complete", "blocked"] {
            assert!(State::of_stream(name).show(&ascii).is_ascii(), "{name}");
        }
        assert_eq!(State::of_task("from the future").show(&ascii), "?");
    }
}

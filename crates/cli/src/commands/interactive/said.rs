//! What a line means: one of a few commands, or a goal in words.

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Help,
    Status,
    Running,
    Stop(Option<String>),
    Report(Option<String>),
    Feedback {
        id: String,
        text: String,
    },
    /// The agent of one task goes to another, for a reason.
    Redirect {
        id: String,
        to: String,
        reason: Option<String>,
    },
    Why(String),
    Logs(String),
    Quit,
    /// A command without what it needs; how it is used.
    Incomplete(&'static str),
    /// Everything else.
    Goal(String),
}

/// The commands, for help.
pub(super) const COMMANDS: &str = "
Or one of these:
  status                       how things stand
  running                      who is at work
  stop [ID]                    everything, a run or a task
  report [RUN]                 a run from its beginning to its end
  feedback ID TEXT             tell something to an agent
  redirect ID TO [REASON]      put the agent of one task on another one first
  logs ID                      what an agent has printed
  why ID                       why something isn't running
  quit
";

/// First words that are commands, for completion.
pub(super) const WORDS: [&str; 11] = [
    "status",
    "running",
    "stop",
    "report",
    "feedback",
    "redirect",
    "logs",
    "why",
    "help",
    "quit",
    "everything",
];

impl Said {
    /// A command is only what has its form: `status page` is a goal, and so is `stop the leak`.
    pub(super) fn parse(line: &str) -> Self {
        let line = line.trim();
        let (first, rest) = match line.split_once(char::is_whitespace) {
            Some((first, rest)) => (first, rest.trim()),
            None => (line, ""),
        };
        let id = || is_id(rest).then(|| rest.to_owned());
        let goal = || Self::Goal(line.to_owned());
        match (first.to_lowercase().as_str(), rest.is_empty()) {
            ("help" | "?", true) => Self::Help,
            ("status", true) => Self::Status,
            ("running" | "agents", true) => Self::Running,
            ("quit" | "exit" | "q" | "bye", true) => Self::Quit,
            ("stop", true) => Self::Stop(None),
            ("stop", false) => id().map_or_else(goal, |id| Self::Stop(Some(id))),
            ("report", true) => Self::Report(None),
            ("report", false) => id().map_or_else(goal, |id| Self::Report(Some(id))),
            ("why", true) => Self::Incomplete("why ID"),
            ("why", false) => id().map_or_else(goal, Self::Why),
            ("logs", true) => Self::Incomplete("logs ID"),
            ("logs", false) => id().map_or_else(goal, Self::Logs),
            ("feedback", _) => match rest.split_once(char::is_whitespace) {
                Some((id, text)) if is_id(id) => {
                    Self::Feedback { id: id.to_owned(), text: text.trim().to_owned() }
                }
                Some(_) | None => Self::Incomplete("feedback ID TEXT"),
            },
            ("redirect", _) => Self::redirect(rest).unwrap_or_else(goal),
            _ => goal(),
        }
    }

    /// `redirect 1.2 to 1.3`, with or without `to`. Without an id first it may be a goal: `redirect
    /// old links`.
    fn redirect(rest: &str) -> Option<Self> {
        let usage = Self::Incomplete("redirect ID TO [REASON]");
        let mut words = rest.split_whitespace();
        let Some(id) = words.next() else { return Some(usage) };
        if !is_id(id) {
            return None;
        }
        let to = match words.next() {
            Some(word) if word.eq_ignore_ascii_case("to") => words.next(),
            other => other,
        };
        let Some(to) = to.filter(|to| is_id(to)) else { return Some(usage) };
        let reason = words.collect::<Vec<_>>().join(" ");
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        Some(Self::Redirect { id: id.to_owned(), to: to.to_owned(), reason })
    }
}

/// Whether a word can only be an id: one word with a digit, or a reference.
fn is_id(word: &str) -> bool {
    let signs = |c: char| c.is_ascii_alphanumeric() || "./-#@".contains(c);
    let marked = word.contains(|c: char| c.is_ascii_digit()) || word.starts_with('@');
    !word.is_empty() && marked && word.chars().all(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart_from_goals() {
        let check =
            |line: &str, expected: Said| assert_eq!(Said::parse(line), expected, "{line:?}");
        let goal = |line: &str| Said::Goal(line.to_owned());
        check("status", Said::Status);
        check("  Status ", Said::Status);
        check("status page", goal("status page"));
        check("running", Said::Running);
        check("stop", Said::Stop(None));
        check("stop r-42", Said::Stop(Some("r-42".to_owned())));
        check("stop 1.2", Said::Stop(Some("1.2".to_owned())));
        check("stop the leak", goal("stop the leak"));
        check("report @last", Said::Report(Some("@last".to_owned())));
        check("report", Said::Report(None));
        check("why 1.2", Said::Why("1.2".to_owned()));
        check("why", Said::Incomplete("why ID"));
        check("why is it blocked", goal("why is it blocked"));
        check("logs r-42/1.2#1", Said::Logs("r-42/1.2#1".to_owned()));
        let text = "use the old lexer".to_owned();
        check("feedback 1.2 use the old lexer", Said::Feedback { id: "1.2".to_owned(), text });
        check("feedback 1.2", Said::Incomplete("feedback ID TEXT"));
        check("feedback please", Said::Incomplete("feedback ID TEXT"));
        let redirect = |reason: Option<&str>| Said::Redirect {
            id: "1.2".to_owned(),
            to: "r-4/1.3".to_owned(),
            reason: reason.map(str::to_owned),
        };
        check("redirect 1.2 r-4/1.3", redirect(None));
        check("Redirect 1.2 to r-4/1.3 it waits", redirect(Some("it waits")));
        for line in ["redirect", "redirect 1.2", "redirect 1.2 to", "redirect 1.2 elsewhere"] {
            check(line, Said::Incomplete("redirect ID TO [REASON]"));
        }
        check("redirect old links", goal("redirect old links"));
        check("quit", Said::Quit);
        check("build the task parser", goal("build the task parser"));
        check("1.2", goal("1.2"));
    }
}

//! What an agent is told: bounded, in a fixed order, and the same for the same inputs.
//!
//! Only the text is made here; how it reaches an agent is the driver's business.

use crate::roadmap::WorkStream;

/// The longest failure text that goes into a later attempt's prompt.
pub const LESSON_BYTES_MAX: usize = 4 * 1024;

/// Cuts `text` to at most `bytes_max`, keeping its end: the end of a failing command's output is
/// where the reason stands.
#[must_use]
pub fn tail(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut from = text.len() - bytes_max;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Cuts `text` to at most `bytes_max`, keeping its beginning.
#[must_use]
pub fn head(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut to = bytes_max;
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

/// What an agent is told of a work stream.
#[must_use]
pub fn of_work_stream(stream: &WorkStream, roadmap_path: &str) -> String {
    let mut text = format!("# Work stream {}: {}\n\n", stream.id, stream.name);
    if !stream.tasks.is_empty() {
        text.push_str("Tasks:\n");
        for task in &stream.tasks {
            let indent = "  ".repeat(usize::try_from(task.depth.min(8)).unwrap_or(0));
            let mark = if task.done { "x" } else { " " };
            text.push_str(&indent);
            text.push_str("- [");
            text.push_str(mark);
            text.push_str("] ");
            text.push_str(&task.text);
            text.push('\n');
        }
        text.push('\n');
    }
    for (label, value) in [
        ("Done when", stream.done_when.as_deref()),
        ("Quality gates", stream.quality_gates.as_deref()),
        ("Design notes", stream.design_notes.as_deref()),
    ] {
        if let Some(value) = value {
            text.push_str(label);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\n\n");
        }
    }
    text.push_str("Work in the current directory, a private clone of the repository. Commit what you want to keep; \
         what you leave uncommitted is kept as well. Leave the status, dates and task marks in ");
    text.push_str(roadmap_path);
    text.push_str(" alone: they are written when your work is integrated.\n");
    text
}

/// What an attempt is told that goes on from the work of one that was cut off. Where that work
/// couldn't be brought, nothing is there to go on from.
const GOES_ON: &str = "
## Work in progress

An earlier attempt was cut off before it was done, through no fault of its own. What it had changed
is in the files already, uncommitted. Look at it first (`git status`, `git diff`), and go on from there;
if nothing is changed, begin anew.
";

/// What an attempt is told: the task, whether it goes on from the work of one that was cut off, then
/// what the attempts before it ran into, then what people have said since.
#[must_use]
pub fn of_attempt(task: &str, goes_on: bool, lessons: &[String], feedback: &[&str]) -> String {
    let mut text = task.to_owned();
    if goes_on {
        text.push_str(GOES_ON);
    }
    if !lessons.is_empty() {
        text.push_str("\n## What earlier attempts ran into\n");
        for lesson in lessons {
            text.push('\n');
            text.push_str(tail(lesson, LESSON_BYTES_MAX));
            text.push('\n');
        }
    }
    if !feedback.is_empty() {
        text.push_str("\n## Feedback\n");
        for said in feedback {
            text.push_str("\n- ");
            text.push_str(said);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_never_split_a_character() {
        assert_eq!(tail("häuser", 5), "user");
        assert_eq!(tail("haus", 10), "haus");
        assert_eq!(head("häuser", 2), "h");
        assert_eq!(head("haus", 3), "hau");
    }

    #[test]
    fn an_attempt_is_told_the_task_the_failures_and_the_feedback() {
        let text = of_attempt("Do it.\n", false, &["tests failed".to_owned()], &["use tabs"]);
        assert_eq!(
            text,
            "Do it.\n\n## What earlier attempts ran into\n\ntests failed\n\n## Feedback\n\n- use tabs\n"
        );
        let text = of_attempt("Do it.\n", true, &[], &[]);
        assert!(text.starts_with("Do it.\n\n## Work in progress\n"), "{text}");
    }
}

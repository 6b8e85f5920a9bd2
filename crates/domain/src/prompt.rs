//! What an agent is told: bounded, in a fixed order, and the same for the same inputs.
//!
//! Only the text is made here; how it reaches an agent is the driver's business.

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

/// What an attempt is told: the task, then what the attempts before it ran into, then what people
/// have said since.
#[must_use]
pub fn of_attempt(task: &str, lessons: &[String], feedback: &[&str]) -> String {
    let mut text = task.to_owned();
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
        let text = of_attempt("Do it.\n", &["tests failed".to_owned()], &["use tabs"]);
        assert_eq!(
            text,
            "Do it.\n\n## What earlier attempts ran into\n\ntests failed\n\n## Feedback\n\n- use tabs\n"
        );
    }
}

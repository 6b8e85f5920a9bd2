//! What was told to stop, and what was told to a task.

use std::fmt::Write as _;

use crate::output::{Canvas, Show, plural};
use crate::view::{Delivery, FeedbackAccepted, StopAccepted};

impl Show for StopAccepted {
    fn text(&self, canvas: &Canvas) -> String {
        if self.tasks.is_empty() {
            return "Nothing was running or waiting.\n".to_owned();
        }
        let mut text = format!("Told {} to stop:\n", plural(self.tasks.len(), "task"));
        for task in &self.tasks {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {} {task}", canvas.sign("■", "="));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.tasks.clone()
    }
}

impl Show for FeedbackAccepted {
    fn text(&self, _: &Canvas) -> String {
        match (self.delivery, self.attempt) {
            (Delivery::Now, Some(attempt)) => {
                format!("{}: the agent of try {attempt} is told.\n", self.task)
            }
            (Delivery::NextAttempt, Some(attempt)) => format!(
                "{}: the agent of try {attempt} takes no messages while it works; \
                 the next try is told, if there is one.\n",
                self.task
            ),
            (Delivery::Now | Delivery::NextAttempt, None) => {
                format!("{}: the next try is told.\n", self.task)
            }
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.task.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_next_is_said() {
        let canvas = Canvas::plain();
        let stopped = |tasks: &[&str]| StopAccepted {
            tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
        };
        insta::assert_snapshot!(stopped(&["r-1/1.1", "r-1/1.2"]).text(&canvas), @"
        Told 2 tasks to stop:
          ■ r-1/1.1
          ■ r-1/1.2
        ");
        assert_eq!(stopped(&[]).text(&canvas), "Nothing was running or waiting.\n");
        let told = |attempt, delivery| {
            FeedbackAccepted { task: "r-1/1.1".to_owned(), seq: 1, attempt, delivery }.text(&canvas)
        };
        assert_eq!(told(Some(2), Delivery::Now), "r-1/1.1: the agent of try 2 is told.\n");
        assert_eq!(told(None, Delivery::NextAttempt), "r-1/1.1: the next try is told.\n");
        insta::assert_snapshot!(told(Some(2), Delivery::NextAttempt), @"r-1/1.1: the agent of try 2 takes no messages while it works; the next try is told, if there is one.");
    }
}

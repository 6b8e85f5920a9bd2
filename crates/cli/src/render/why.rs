//! Why something isn't running.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::output::{Canvas, Show, Tone};
use crate::view::WhyView;

/// Several of them.
#[derive(Debug, Serialize)]
pub struct Answers(pub Vec<WhyView>);

impl Show for Answers {
    fn text(&self, canvas: &Canvas) -> String {
        let texts: Vec<String> = self.0.iter().map(|answer| answer.text(canvas)).collect();
        texts.join("\n")
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().flat_map(WhyView::names).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.0.iter().filter_map(|answer| serde_json::to_value(answer).ok()).collect()
    }
}

impl Show for WhyView {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = format!("{}  {}\n", canvas.paint(Tone::Strong, &self.id), self.title);
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "  {}", self.answer);
        for detail in &self.details {
            for line in detail.lines() {
                text.push_str(&canvas.paint(Tone::Faint, &format!("    {line}")));
                text.push('\n');
            }
        }
        if !self.hints.is_empty() {
            text.push('\n');
        }
        for hint in &self.hints {
            let _ = writeln!(text, "  {} {hint}", canvas.paint(Tone::Live, "try:"));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_first_and_ends_with_what_can_be_done() {
        let why = WhyView {
            id: "r-42/1.3".to_owned(),
            title: "Registry".to_owned(),
            answer: "waits for a slot: 3 of 3 are taken".to_owned(),
            details: vec!["held by r-42/1.2\nand r-41/7".to_owned()],
            task: None,
            hints: vec!["kapelle stop r-41".to_owned()],
        };
        insta::assert_snapshot!(why.text(&Canvas::plain()), @"
        r-42/1.3  Registry
          waits for a slot: 3 of 3 are taken
            held by r-42/1.2
            and r-41/7

          try: kapelle stop r-41
        ");
    }
}

//! What a goal was understood to mean.

use crate::output::{Align, Canvas, Show, Table, Tone, percent};
use crate::view::GoalView;

impl Show for GoalView {
    fn text(&self, canvas: &Canvas) -> String {
        let action = match self.action.as_str() {
            "run_single" => "run one work stream",
            "run_parallel" => "run several work streams at once",
            "run_batch" => "run everything that can be run",
            "suggest" => "nothing yet: these come nearest",
            "status" => "show the status",
            "stop" => "stop what runs",
            "list_agents" => "show who is working",
            "unblock" => "show what is blocked, and why",
            "help" => "show what can be said",
            other => other,
        };
        let sure = format!("{} sure", percent(self.confidence));
        let mut text = format!(
            "{} ({})\n  {}\n",
            canvas.paint(Tone::Strong, action),
            canvas.paint(if self.confidence < 0.5 { Tone::Warn } else { Tone::Good }, &sure),
            self.explanation
        );
        let columns = [("", Align::Right), ("", Align::Left), ("", Align::Left)];
        let mut table = Table::new(&columns, 2).indent(2);
        for found in &self.matches {
            table.row([percent(found.score), found.id.clone(), found.name.clone()]);
        }
        text.push_str(&table.render(canvas));
        text
    }

    fn names(&self) -> Vec<String> {
        self.matches.iter().map(|found| found.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn matches_are_shown_with_how_well_they_fit() {
        insta::assert_snapshot!(fixtures::goal().text(&Canvas::plain()), @"
        run one work stream (92% sure)
          “task parser” is the name of 1.2
          92%  1.2  Task parser
          31%  1.6  Decomposition
        ");
    }
}

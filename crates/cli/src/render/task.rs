//! Tasks: many in a table, one with its attempts.

use serde::Serialize;

use super::attempt::{attempts_text, commands_text};
use crate::output::{Align, Canvas, Show, State, Table, Tone, duration, money, tokens};
use crate::view::{AttemptView, CommandView, TaskView, UsageView};

/// How long the newest attempt has been running, when it is.
#[must_use]
pub fn elapsed(canvas: &Canvas, task: &TaskView) -> Option<String> {
    let running = task.state == "active";
    task.started_at.filter(|_| running).map(|started| duration(canvas.now - started))
}

/// `claude@laptop`
#[must_use]
pub fn who(task: &TaskView) -> String {
    match &task.worker {
        Some(worker) => format!("{}@{worker}", task.agent),
        None => task.agent.clone(),
    }
}

fn is_paused(task: &TaskView) -> bool {
    task.state == "active" && task.phase.as_deref() == Some("paused")
}

fn state(task: &TaskView) -> State {
    State::of_task(if is_paused(task) { "paused" } else { &task.state })
}

/// What it does, or why it does nothing.
pub(super) fn doing(task: &TaskView) -> String {
    match &task.activity {
        Some(activity) if !activity.is_empty() && !is_paused(task) => activity.clone(),
        Some(_) | None => task.reason.clone(),
    }
}

/// `1 try`, once there has been more than one.
fn tries(task: &TaskView) -> String {
    if task.attempt > 1 { format!("try {}", task.attempt) } else { String::new() }
}

/// Tasks in a table, each under the name that is given with it.
pub(super) fn tasks_table<'t>(
    canvas: &Canvas,
    tasks: impl IntoIterator<Item = (String, &'t TaskView)>,
) -> String {
    let columns = [("", Align::Left); 7];
    let mut table = Table::new(&columns, 6).indent(2);
    for (name, task) in tasks {
        let live = task.state == "active";
        table.row([
            state(task).show(canvas),
            name,
            task.title.clone(),
            elapsed(canvas, task).unwrap_or_default(),
            tries(task),
            if live { who(task) } else { String::new() },
            cost_and(canvas, task),
        ]);
    }
    table.render(canvas)
}

fn cost_and(canvas: &Canvas, task: &TaskView) -> String {
    let doing = doing(task);
    match money(task.usage.cost_microusd) {
        Some(cost) => format!("{}  {doing}", canvas.paint(Tone::Faint, &cost)),
        None => doing,
    }
}

/// `$0.21 · 12.3k tokens in, 1.2k out`; empty when nothing is known.
pub(super) fn usage_line(usage: &UsageView) -> String {
    let money = money(usage.cost_microusd);
    let counted = usage.input_tokens + usage.output_tokens > 0;
    let counts = counted.then(|| {
        format!("{} tokens in, {} out", tokens(usage.input_tokens), tokens(usage.output_tokens))
    });
    money.into_iter().chain(counts).collect::<Vec<_>>().join(", ")
}

/// A task with its attempts and what was said to it, for `kapelle show`.
#[derive(Debug, Serialize)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: TaskView,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What was said to it.
    pub commands: Vec<CommandView>,
}

impl Show for TaskDetail {
    fn text(&self, canvas: &Canvas) -> String {
        let task = &self.task;
        let mut text = format!(
            "{}  {}  {}\n",
            canvas.paint(Tone::Strong, &task.id),
            state(task).show(canvas),
            canvas.paint(Tone::Strong, &task.title)
        );
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)], 1).indent(2);
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                table.row([canvas.paint(Tone::Faint, name), value]);
            }
        };
        fact("agent", who(task));
        fact("doing", task.activity.clone().unwrap_or_default());
        fact("reason", task.reason.clone());
        fact("after", task.depends_on.join(", "));
        fact("needs", task.needs.join(", "));
        fact("commit", task.commit.clone().unwrap_or_default());
        fact("used", usage_line(&task.usage));
        text.push_str(&table.render(canvas));
        text.push_str(&attempts_text(canvas, &self.attempts));
        text.push_str(&commands_text(canvas, &self.commands));
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.task.id.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn a_task_is_shown_with_its_history() {
        let detail = TaskDetail {
            task: fixtures::active(),
            attempts: vec![fixtures::failed_attempt()],
            commands: vec![fixtures::command()],
        };
        insta::assert_snapshot!(detail.text(&Canvas::plain()), @"
        r-42/1.2  ● working  Task parser
          agent  claude@laptop
          doing  edit src/api.rs
          used   $0.21, 12.3k tokens in, 1.2k out
          ✘ try 1: checks failed, 1m30s, 3 files, +120 -8, laptop
              I have written the parser.
              ✔ pass  fmt (<1s)
              ! warning  lint (1s)
                exit code 3
                line too long
              ✘ fail  test (12s)
                test parser::dots ... FAILED
                assertion failed
          › use the existing tokenizer (told to try 2)
        ");
        assert_eq!(detail.names(), ["r-42/1.2"]);
    }
}

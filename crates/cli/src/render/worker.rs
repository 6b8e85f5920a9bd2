//! Workers.

use serde::Serialize;

use crate::output::{Align, Canvas, Show, Table, age};
use crate::view::WorkerView;

/// A list of workers.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Workers(pub Vec<WorkerView>);

impl Show for Workers {
    fn text(&self, canvas: &Canvas) -> String {
        if self.0.is_empty() {
            return "No worker is there.\n".to_owned();
        }
        workers_table(canvas, &self.0)
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|worker| worker.id.clone()).collect()
    }

    fn rows(&self) -> Vec<serde_json::Value> {
        self.0.iter().filter_map(|worker| serde_json::to_value(worker).ok()).collect()
    }
}

/// Workers in a table.
pub(super) fn workers_table(canvas: &Canvas, workers: &[WorkerView]) -> String {
    let mut table = Table::new(&[("", Align::Left); 6], 2).indent(2);
    for worker in workers {
        let labels = worker.labels.iter().map(|(label, value)| match value.as_str() {
            "" => label.clone(),
            value => format!("{label}={value}"),
        });
        table.row([
            worker.id.clone(),
            format!("{}/{} busy", worker.held, worker.slots),
            worker.agents.join(", "),
            labels.collect::<Vec<_>>().join(", "),
            standing(worker).to_owned(),
            format!("heard {}", age(canvas, worker.seen_at)),
        ]);
    }
    table.render(canvas)
}

fn standing(worker: &WorkerView) -> &'static str {
    match (worker.suspect, worker.duty) {
        (true, _) => "silent",
        (false, crate::view::WorkerDuty::Active) => "",
        (false, crate::view::WorkerDuty::Cordoned) => "cordoned",
        (false, crate::view::WorkerDuty::Draining) => "draining",
    }
}

//! Workers.

use crate::output::{Align, Canvas, Table, age};
use crate::view::WorkerView;

/// Workers in a table.
pub(super) fn workers_table(canvas: &Canvas, workers: &[WorkerView]) -> String {
    let mut table = Table::new(&[("", Align::Left); 5], 2).indent(2);
    for worker in workers {
        table.row([
            worker.id.clone(),
            format!("{}/{} busy", worker.held, worker.slots),
            worker.agents.join(", "),
            if worker.draining { "draining".to_owned() } else { String::new() },
            format!("heard {}", age(canvas, worker.seen_at)),
        ]);
    }
    table.render(canvas)
}

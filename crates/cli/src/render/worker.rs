//! Workers.

use serde::Serialize;

use crate::output::{Align, Canvas, Show, Table, age};
use crate::view::{InvitationView, RevocationView, WorkerView};

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

/// An invitation.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Invitation(pub InvitationView);

impl Invitation {
    /// Where the machine will look for the server.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.0.servers.iter().map(String::as_str)
    }
}

impl Show for Invitation {
    fn text(&self, _: &Canvas) -> String {
        format!("kapelle join {}\n", self.0.token)
    }

    /// The token alone, for a file.
    fn names(&self) -> Vec<String> {
        vec![self.0.token.clone()]
    }
}

/// A worker that was shut out.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Revocation(pub RevocationView);

impl Show for Revocation {
    fn text(&self, _: &Canvas) -> String {
        format!(
            "Worker {} is revoked. What it had is given to others once it counts as lost.\n",
            self.0.worker
        )
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.worker.clone()]
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
            agents(worker),
            labels.collect::<Vec<_>>().join(", "),
            standing(worker).to_owned(),
            format!("heard {}", age(canvas, worker.seen_at)),
        ]);
    }
    table.render(canvas)
}

/// The agents that it can run, then those that it can't.
fn agents(worker: &WorkerView) -> String {
    let broken = worker.programs.iter().filter(|program| !worker.agents.contains(&program.agent));
    let broken =
        broken.map(|program| format!("{} ({})", program.agent, program.state.replace('_', " ")));
    worker.agents.iter().cloned().chain(broken).collect::<Vec<_>>().join(", ")
}

fn standing(worker: &WorkerView) -> &'static str {
    match (worker.suspect, worker.duty) {
        (true, _) => "silent",
        (false, crate::view::WorkerDuty::Active) => "",
        (false, crate::view::WorkerDuty::Cordoned) => "cordoned",
        (false, crate::view::WorkerDuty::Draining) => "draining",
    }
}

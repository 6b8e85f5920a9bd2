//! How agents are doing: what whoever listens on the bus hears of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kapelle_bus::control::Status;
use kapelle_bus::subject::AgentName;
use kapelle_domain::attempt::{Attempt, Phase, Report};
use kapelle_domain::event::{Event, Recorded, TaskEvent};
use kapelle_domain::ids::{AttemptId, TaskId, Timestamp};
use kapelle_domain::plan::TaskSpec;

use super::{Error, Service};

/// How much of what an agent said is told.
const ACTIVITY_BYTES_MAX: usize = 200;

/// What a batch of events did to the attempts of a task.
struct Touched {
    at: Timestamp,
    ended: Vec<(u32, Arc<Report>)>,
}

impl Service {
    /// How the agents are doing that events concern which were just committed, in the order of
    /// their attempts.
    pub(crate) async fn agents_after(
        &self,
        events: &[Recorded],
    ) -> Result<Vec<(AttemptId, Status)>, Error> {
        let touched = touched(events);
        let Some(newest) = events.last().filter(|_| !touched.is_empty()) else {
            return Ok(Vec::new());
        };
        let read = self.0.engine.read(|world| {
            let (mut told, mut forgotten) = (Vec::new(), Vec::new());
            for (id, touched) in touched {
                match world.task(id) {
                    Some(task) => {
                        let attempt = task.record.attempt.as_ref();
                        told.extend(statuses(id, &task.spec, attempt, &touched));
                    }
                    None => forgotten.push((id, touched)),
                }
            }
            (told, forgotten)
        });
        let (mut told, forgotten) = read.await?;
        for (id, touched) in forgotten {
            // Its run has ended: only the store has it.
            if let Some(task) = self.0.store.task(id).await? {
                let attempt = task.record.attempt.as_ref();
                told.extend(statuses(id, &task.spec, attempt, &touched));
            }
        }
        let as_of = format!("{}.{}", self.0.store.epoch(), newest.seq);
        for (attempt, status) in &mut told {
            status.as_of.clone_from(&as_of);
            if status.activity.is_empty() {
                status.activity = self.activity(*attempt).unwrap_or_default();
            }
        }
        Ok(told)
    }

    /// How every agent is doing that waits for a worker or has one.
    pub(crate) async fn agents(&self) -> Result<Vec<(AttemptId, Status)>, Error> {
        // Before the look, so that nothing is claimed that isn't in it.
        let last_seq = self.0.store.last_seq().await?;
        let now = Timestamp(self.0.clock.now());
        let read = self.0.engine.read(move |world| {
            let tasks = world.runs().flat_map(|run| &run.tasks);
            let live = tasks.filter_map(|task| Some((task, task.live_attempt()?)));
            live.map(|(task, attempt)| current(task.id, &task.spec, attempt, now))
                .collect::<Vec<_>>()
        });
        let mut told = read.await?;
        for (attempt, status) in &mut told {
            status.as_of = format!("{}.{last_seq}", self.0.store.epoch());
            status.activity = self.activity(*attempt).unwrap_or_default();
        }
        Ok(told)
    }

    /// The last thing that an agent said, if it said something lately.
    pub(crate) fn activity(&self, attempt: AttemptId) -> Option<String> {
        let said = self.0.transcripts.activity(attempt)?;
        Some(kapelle_domain::prompt::head(&said, ACTIVITY_BYTES_MAX).to_owned())
    }

    /// How much agents have said so far; equal to an earlier answer when nobody has said anything.
    pub(crate) fn said(&self) -> u64 {
        self.0.transcripts.arrived()
    }

    /// A name for a request whose client gave it none.
    pub(crate) fn name_request(&self) -> String {
        self.0.identity.mint().to_string()
    }

    /// The time, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.clock.now()
    }
}

fn touched(events: &[Recorded]) -> BTreeMap<TaskId, Touched> {
    let mut all: BTreeMap<TaskId, Touched> = BTreeMap::new();
    for recorded in events {
        let Event::Task { task, event } = &recorded.event else { continue };
        if event.changed_attempt().is_none() {
            continue;
        }
        let touched =
            all.entry(*task).or_insert_with(|| Touched { at: recorded.at, ended: Vec::new() });
        touched.at = recorded.at;
        if let TaskEvent::AttemptEnded { attempt, report } = event {
            touched.ended.push((*attempt, Arc::clone(report)));
        }
    }
    all
}

/// The attempts that ended, and the one that the task has now.
fn statuses(
    id: TaskId,
    spec: &TaskSpec,
    newest: Option<&Attempt>,
    touched: &Touched,
) -> Vec<(AttemptId, Status)> {
    let ended = touched.ended.iter().map(|(number, report)| {
        let (attempt, mut status) = unknown(id, spec, *number, touched.at);
        let known = newest.filter(|newest| newest.number == *number);
        let grant = known.and_then(|known| known.grant.as_ref());
        status.worker = grant.map(|grant| grant.worker.0.clone()).unwrap_or_default();
        Phase::Ended.name().clone_into(&mut status.phase);
        report.outcome.name().clone_into(&mut status.outcome);
        let summary = report.summary.lines().next().unwrap_or_default();
        kapelle_domain::prompt::head(summary, ACTIVITY_BYTES_MAX).clone_into(&mut status.activity);
        (attempt, status)
    });
    let live = newest.filter(|newest| newest.phase != Phase::Ended);
    let live = live.map(|attempt| current(id, spec, attempt, touched.at));
    ended.chain(live).collect()
}

fn current(id: TaskId, spec: &TaskSpec, attempt: &Attempt, at: Timestamp) -> (AttemptId, Status) {
    let (name, mut status) = unknown(id, spec, attempt.number, at);
    let grant = attempt.grant.as_ref();
    status.worker = grant.map(|grant| grant.worker.0.clone()).unwrap_or_default();
    attempt.phase.name().clone_into(&mut status.phase);
    status.paused = attempt.paused_at.is_some();
    (name, status)
}

/// An attempt that nothing more is known of than whose it is.
fn unknown(id: TaskId, spec: &TaskSpec, number: u32, at: Timestamp) -> (AttemptId, Status) {
    let attempt = AttemptId { task: id, number };
    let status = Status {
        agent: AgentName::of(&spec.agent, &spec.key, attempt),
        run: id.run.to_string(),
        task: super::show::name(id, spec),
        attempt: number,
        title: spec.title.clone(),
        program: spec.agent.to_string(),
        worker: String::new(),
        phase: String::new(),
        paused: false,
        outcome: String::new(),
        activity: String::new(),
        at_ms: at.0,
        as_of: String::new(),
    };
    (attempt, status)
}

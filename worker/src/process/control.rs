//! A running process as the worker sees it: its output and input, the stop ladder, its end.

use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::output::{self, Output};
use super::stdin::{self, StdinWriter};
use super::stop::{Schedule, StopLadder, StopMode};
use super::supervisor::Started;
use super::wire::{self, Report, Request};
use super::{Containment, Ended, Exit, ProcessSpec, Stdin, strays};

/// How long a shim may take to report the end of a tree after it was told to kill it. It gives up
/// on what cannot be killed before that.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a tree may take to be frozen, or to go on.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);

/// A supervised process. Dropping it kills the whole tree.
#[derive(Debug)]
pub struct Process {
    /// What it prints. Ends when both streams have ended; need not be read for the process to go
    /// on, and holds at most [`ProcessSpec::output_limit`] bytes.
    pub output: mpsc::Receiver<Output>,
    /// Its input, when [`Stdin::Piped`] was asked for. Take it, and drop it to close the input.
    pub stdin: Option<StdinWriter>,
    containment: Containment,
    supervisor_id: Option<u32>,
    stopper: Stopper,
    frozen: watch::Receiver<bool>,
    exit: oneshot::Receiver<Exit>,
    ended: Option<Exit>,
    /// Owns everything that runs for this process; aborted on drop, which cuts the lifeline.
    _tasks: JoinSet<()>,
}

/// Our ends of a process that somebody else holds the lifeline of.
pub(super) struct Remote {
    pub(super) output: mpsc::Receiver<Output>,
    pub(super) stdin: Option<StdinWriter>,
    pub(super) containment: Containment,
    pub(super) supervisor_id: Option<u32>,
    pub(super) schedule: watch::Sender<Schedule>,
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) exit: oneshot::Receiver<Exit>,
}

impl Process {
    /// One that goes on when this is dropped.
    pub(super) fn remote(remote: Remote) -> Self {
        let Remote { output, stdin, containment, supervisor_id, schedule, frozen, exit } = remote;
        Self {
            output,
            stdin,
            containment,
            supervisor_id,
            stopper: Stopper(schedule),
            frozen,
            exit,
            ended: None,
            _tasks: JoinSet::new(),
        }
    }

    pub(super) fn new(started: Started, spec: ProcessSpec) -> Self {
        let Started { mut control, stdin: pipe } = started;
        let mut tasks = JoinSet::new();
        let (queue, output) = mpsc::channel(output::queue_bound(spec.output_limit));
        let (gone, gone_seen) = oneshot::channel();
        let pumped = match (control.shim.stdout.take(), control.shim.stderr.take()) {
            (Some(stdout), Some(stderr)) => {
                let (done, pumped) = oneshot::channel();
                tasks.spawn(async move {
                    output::pump(stdout, stderr, spec.output_limit, queue, gone_seen).await;
                    done.send(()).ok();
                });
                Some(pumped)
            }
            _ => None,
        };
        let stdin = match (spec.stdin, pipe) {
            (Stdin::Piped, Some(pipe)) => {
                let (writer, queue) = stdin::queue();
                tasks.spawn(stdin::write_queue(pipe, queue));
                Some(writer)
            }
            (Stdin::Bytes(bytes), Some(pipe)) => {
                tasks.spawn(stdin::write_bytes(pipe, bytes));
                None
            }
            (Stdin::Closed | Stdin::Piped | Stdin::Bytes(_), _) => None,
        };
        let containment = control.containment;
        let supervisor_id = control.shim.id();
        let (schedule, asked) = watch::channel(Schedule::default());
        let (report, exit) = oneshot::channel();
        let (seen_frozen, frozen) = watch::channel(false);
        tasks.spawn(async move {
            let ended = control.accompany(asked, seen_frozen, &spec.marker).await;
            gone.send(()).ok();
            if let Some(pumped) = pumped {
                pumped.await.ok();
            }
            report.send(ended).ok();
        });
        let stopper = Stopper(schedule);
        Self {
            output,
            stdin,
            containment,
            supervisor_id,
            stopper,
            frozen,
            exit,
            ended: None,
            _tasks: tasks,
        }
    }

    /// What holds its tree together.
    #[must_use]
    pub fn containment(&self) -> Containment {
        self.containment
    }

    /// The process id of its supervisor, the root of the tree as others see it.
    #[must_use]
    pub fn supervisor_id(&self) -> Option<u32> {
        self.supervisor_id
    }

    /// Begins to stop it; see [`Stopper::stop`].
    pub fn stop(&self, ladder: StopLadder) {
        self.stopper.stop(ladder);
    }

    /// Stops it from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Whether its processes stand still, as it changes.
    pub(super) fn frozen(&self) -> watch::Receiver<bool> {
        self.frozen.clone()
    }

    /// As [`freeze`](Self::freeze), without waiting.
    pub(super) fn ask_to_freeze(&self, frozen: bool) {
        self.stopper.0.send_modify(|schedule| schedule.frozen = frozen);
    }

    /// Stops every process of the tree where it stands, or lets them go on. Whether that is how they
    /// are now. A tree that is being stopped for good goes on to its end all the same.
    pub async fn freeze(&mut self, frozen: bool) -> bool {
        self.ask_to_freeze(frozen);
        let reached = self.frozen.wait_for(|now| *now == frozen);
        matches!(timeout(FREEZE_PATIENCE, reached).await, Ok(Ok(_)))
    }

    /// Waits until the whole tree is gone and its output has been read into
    /// [`output`](Self::output). Can be cancelled and called again.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.ended {
            return exit;
        }
        // The sender is gone only when the runtime shuts down under us.
        let exit = (&mut self.exit).await.unwrap_or(Exit {
            ended: Ended::Lost,
            duration: Duration::ZERO,
            containment: self.containment,
            stopped: None,
            survivors_killed: 0,
            survivors_left: 0,
        });
        self.ended = Some(exit);
        exit
    }
}

/// Stops a [`Process`] that someone else owns.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Schedule>);

impl Stopper {
    /// Begins to climb `ladder`. When a stop is under way already, each step is taken at the
    /// earlier of its two times: a stop can be hastened, never put off or taken back. After the
    /// end it does nothing.
    pub fn stop(&self, ladder: StopLadder) {
        self.0.send_modify(|schedule| schedule.hasten(ladder, Instant::now()));
    }
}

/// Our end of the control socket, and the shim at the other.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) reports: Lines<BufReader<OwnedReadHalf>>,
    pub(super) requests: OwnedWriteHalf,
    pub(super) shim: Child,
    pub(super) containment: Containment,
    pub(super) started: Instant,
}

/// What is known about a process that is being watched.
#[derive(Debug, Default)]
struct Watched {
    /// The strongest step taken so far.
    taken: Option<StopMode>,
    /// What was asked last about being frozen.
    frozen: bool,
    ended: Option<AgentEnd>,
}

/// The agent's own end, before that of its tree.
#[derive(Clone, Copy, Debug)]
struct AgentEnd {
    ended: Ended,
    at: Instant,
    stopped: Option<StopMode>,
    survivors: u32,
}

impl Control {
    /// Carries out what is asked until the tree is gone.
    async fn accompany(
        mut self,
        mut asked: watch::Receiver<Schedule>,
        frozen: watch::Sender<bool>,
        marker: &str,
    ) -> Exit {
        let mut watched = Watched::default();
        let mut give_up = None;
        loop {
            let schedule = *asked.borrow_and_update();
            let next = give_up.or(schedule.next(watched.taken));
            if schedule.frozen != watched.frozen {
                watched.frozen = schedule.frozen;
                let request = if schedule.frozen { Request::Freeze } else { Request::Thaw };
                // A failure shows as the end of the reports.
                self.requests.write_all(&[request.to_byte()]).await.ok();
            }
            tokio::select! {
                line = self.reports.next_line() => {
                    let Ok(Some(line)) = line else { break };
                    match wire::parse_report(&line) {
                        Some(Report::Exited { code, signal, survivors }) => {
                            watched.ended = Some(AgentEnd {
                                ended: ended(code, signal),
                                at: Instant::now(),
                                stopped: watched.taken,
                                survivors,
                            });
                        }
                        Some(Report::Frozen(now)) => drop(frozen.send(now)),
                        Some(Report::Gone { killed, left }) => {
                            self.shim.wait().await.ok();
                            return self.exit(&watched, killed, left);
                        }
                        Some(
                            Report::Refused { .. }
                            | Report::BadDirectory(_)
                            | Report::SpawnFailed(_)
                            | Report::Started,
                        )
                        | None => tracing::warn!(line, "unexpected report of a process supervisor"),
                    }
                }
                () = wait_until(next), if next.is_some() => {
                    if give_up.is_some() {
                        break;
                    }
                    let now = Instant::now();
                    if let Some(mode) = schedule.due(watched.taken, now) {
                        give_up = (mode == StopMode::Kill).then(|| now + KILL_PATIENCE);
                        watched.taken = Some(mode);
                        self.take_step(mode).await;
                    }
                }
                // The other side is kept by the `Process`, which outlives this.
                Ok(()) = asked.changed() => {}
            }
        }
        self.clear_away(&watched, marker).await
    }

    async fn take_step(&mut self, mode: StopMode) {
        let request = match mode {
            StopMode::Interrupt => Request::Interrupt,
            StopMode::Terminate => Request::Terminate,
            StopMode::Kill => {
                self.requests.shutdown().await.ok();
                return;
            }
        };
        // A failure shows as the end of the reports.
        self.requests.write_all(&[request.to_byte()]).await.ok();
    }

    /// The shim was killed, or does not answer any more: does its work as well as it can be done
    /// from here.
    async fn clear_away(mut self, watched: &Watched, marker: &str) -> Exit {
        self.requests.shutdown().await.ok();
        self.shim.start_kill().ok();
        timeout(KILL_PATIENCE, self.shim.wait()).await.ok();
        let marker = marker.to_owned();
        let swept = tokio::task::spawn_blocking(move || strays::sweep_tree(&marker)).await;
        let (killed, left) = match swept {
            Ok(Ok(swept)) => (swept.killed, swept.left),
            Ok(Err(_)) | Err(_) => (0, 0),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        self.exit(watched, count(killed), count(left))
    }

    fn exit(&self, watched: &Watched, killed: u32, left: u32) -> Exit {
        // Without a report of its own, the agent itself is among the killed.
        let (agent, survivors_killed) = match watched.ended {
            Some(agent) => (agent, agent.survivors.saturating_add(killed)),
            None => (AgentEnd::unreported(watched.taken), 0),
        };
        Exit {
            ended: agent.ended,
            duration: agent.at - self.started,
            containment: self.containment,
            stopped: agent.stopped,
            survivors_killed,
            survivors_left: left,
        }
    }
}

impl AgentEnd {
    fn unreported(taken: Option<StopMode>) -> Self {
        let killed = taken == Some(StopMode::Kill);
        let ended = if killed { Ended::Signal(9) } else { Ended::Lost };
        Self { ended, at: Instant::now(), stopped: taken, survivors: 0 }
    }
}

pub(super) async fn wait_until(at: Option<Instant>) {
    if let Some(at) = at {
        sleep_until(at).await;
    }
}

fn ended(code: Option<i32>, signal: Option<i32>) -> Ended {
    match (code, signal) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Lost,
    }
}

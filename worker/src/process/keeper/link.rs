//! The worker's side of a keeper: a [`Process`] like any other, and the link that it hangs on.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kapelle_domain::ids::Timestamp;
use kapelle_runtime::clock::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::super::control::{KILL_PATIENCE, Remote, wait_until};
use super::super::stop::Schedule;
use super::super::{
    Containment, Ended, Error, Exit, MARKER_VARIABLE, Output, Process, ProcessSpec, StopMode,
    stdin, strays,
};
use super::ROLE;
use super::wire::{Hello, Launch, Said, Told, VERSION, line};

/// How long a keeper that was started or found may take for its first words.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);

/// How long one may take to end that is not needed any more.
const BYE_PATIENCE: Duration = Duration::from_secs(20);

/// Messages on their way to or from the rest of the worker: more than a keeper has on its way.
const QUEUED_MAX: usize = 1_024;

/// For how long a tree may live without the coordinator.
#[derive(Debug, Clone)]
pub struct Lease {
    /// When the coordinator was last heard, by `clock`.
    pub heard: watch::Receiver<Timestamp>,
    /// For how long that counts.
    pub lasts: Duration,
    /// The clock.
    pub clock: Clock,
}

/// How keepers are started.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The executable; see [`super::super::supervisor_main`].
    pub exe: PathBuf,
    /// How long a tree may live without a worker.
    pub grace: Duration,
}

/// What a keeper remembers of the worker that came before.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// What that one wanted to be remembered last.
    pub memory: Option<String>,
    /// How long the agent has been running.
    pub running: Duration,
    /// Whether it stands still.
    pub frozen: bool,
}

/// The link to a keeper. Dropping it leaves the tree to the next worker.
#[derive(Debug)]
pub struct Link {
    told: mpsc::Sender<Told>,
    taken: u64,
    talking: JoinSet<()>,
}

impl Link {
    /// One more of the process's outputs is where a crash of this worker doesn't reach it, and this is
    /// to be remembered, if it is new.
    pub async fn taken(&mut self, memory: Option<String>) {
        self.taken += 1;
        drop(self.told.send(Told::Taken { number: self.taken, memory }).await);
    }

    /// Ends the keeper, and the tree if it lives.
    pub async fn bye(mut self) {
        drop(self.told.send(Told::Bye).await);
        let ended = async { while self.talking.join_next().await.is_some() {} };
        drop(timeout(BYE_PATIENCE, ended).await);
    }
}

/// Starts a keeper for a process, with its socket in `directory`.
///
/// # Errors
/// As [`Supervisor::spawn`](super::super::Supervisor::spawn), and when the keeper can't be started.
pub async fn start(
    keeping: &Keeping,
    directory: &Path,
    spec: &ProcessSpec,
    lease: Lease,
) -> Result<(Process, Link), Error> {
    let failed = |source| Error::Keeper { program: spec.program.clone(), source };
    let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
    let mut keeper = Command::new(&keeping.exe)
        .arg(ROLE)
        .arg(directory)
        .env_clear()
        .env(MARKER_VARIABLE, &spec.marker)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let (mut lines, mut write) = split(ours).map_err(failed)?;
    let launch = line(&Launch::new(spec, lease.lasts, keeping.grace)).map_err(failed)?;
    // One that ends before it has read all of it says nothing, which is noticed below.
    write.write_all(launch.as_bytes()).await.ok();
    let hello = match first_words(&mut lines).await {
        Ok(hello) => hello,
        Err(trouble) => {
            drop((lines, write));
            if timeout(BYE_PATIENCE, keeper.wait()).await.is_err() {
                keeper.kill().await.ok();
            }
            return Err(match trouble {
                Trouble::Failed(failure) => failure.into_error(spec),
                Trouble::Io(source) => failed(source),
            });
        }
    };
    Ok(assemble(hello, (lines, write), Some(keeper), &spec.marker, lease))
}

/// Takes over a tree from a worker that is gone.
///
/// # Errors
/// When the keeper at the other end of `stream` says nothing that is understood here.
pub async fn adopt(
    stream: StdUnixStream,
    marker: &str,
    lease: Lease,
) -> Result<(Process, Link, Adopted), Error> {
    let failed = |source| Error::Keeper { program: marker.into(), source };
    let (mut lines, write) = split(stream).map_err(failed)?;
    let hello = first_words(&mut lines).await.map_err(|trouble| match trouble {
        Trouble::Failed(_) => failed(io::ErrorKind::NotFound.into()),
        Trouble::Io(source) => failed(source),
    })?;
    let adopted =
        Adopted { memory: hello.memory.clone(), running: hello.running, frozen: hello.frozen };
    let (process, link) = assemble(hello, (lines, write), None, marker, lease);
    Ok((process, link, adopted))
}

enum Trouble {
    Failed(super::wire::Failure),
    Io(io::Error),
}

fn split(stream: StdUnixStream) -> io::Result<(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf)> {
    stream.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    Ok((BufReader::new(read).lines(), write))
}

async fn first_words(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Result<Hello, Trouble> {
    let silent = || Trouble::Io(io::ErrorKind::UnexpectedEof.into());
    let line = timeout(HELLO_PATIENCE, lines.next_line()).await.map_err(|_| silent())?;
    let line = line.map_err(Trouble::Io)?.ok_or_else(silent)?;
    match serde_json::from_str(&line) {
        Ok(Said::Hello(hello)) if hello.version == VERSION => Ok(hello),
        Ok(Said::Failed(failure)) => Err(Trouble::Failed(failure)),
        Ok(_) | Err(_) => Err(Trouble::Io(io::ErrorKind::InvalidData.into())),
    }
}

fn assemble(
    hello: Hello,
    (lines, write): (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf),
    keeper: Option<Child>,
    marker: &str,
    lease: Lease,
) -> (Process, Link) {
    let (queue, output) = mpsc::channel(QUEUED_MAX);
    let (schedule, asked) = watch::channel(Schedule::default());
    // As it is; it is told what is wanted of it when it is looked at.
    schedule.send_modify(|schedule| schedule.frozen = hello.frozen);
    let (seen_frozen, frozen) = watch::channel(hello.frozen);
    let (report, exit) = oneshot::channel();
    let (told, tells) = mpsc::channel(QUEUED_MAX);
    let (writer, inputs) = stdin::queue();
    let talk = Talk {
        lines,
        write,
        keeper,
        queue: Some(queue),
        exit: Some(report),
        frozen: seen_frozen,
        wanted_frozen: hello.frozen,
        step: None,
        started: Instant::now(),
        containment: hello.containment,
        marker: marker.to_owned(),
        lease,
        before: None,
    };
    let mut talking = JoinSet::new();
    talking.spawn(talk.run(asked, tells, inputs));
    let process = Process::remote(Remote {
        output,
        stdin: hello.takes_lines.then_some(writer),
        containment: hello.containment,
        supervisor_id: hello.supervisor,
        schedule,
        frozen,
        exit,
    });
    (process, Link { told, taken: 0, talking })
}

/// The conversation with a keeper.
struct Talk {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    /// Where this worker has started it.
    keeper: Option<Child>,
    /// Until the process has ended.
    queue: Option<mpsc::Sender<Output>>,
    exit: Option<oneshot::Sender<Exit>>,
    frozen: watch::Sender<bool>,
    wanted_frozen: bool,
    /// The strongest step that was taken.
    step: Option<StopMode>,
    started: Instant,
    containment: Containment,
    marker: String,
    lease: Lease,
    /// How many outputs were taken before this worker came, once that is known: the keeper counts
    /// from the beginning, the rest of the worker from when it came.
    before: Option<u64>,
}

impl Talk {
    async fn run(
        mut self,
        mut asked: watch::Receiver<Schedule>,
        mut tells: mpsc::Receiver<Told>,
        mut inputs: mpsc::Receiver<Vec<u8>>,
    ) {
        self.renew().await;
        let mut give_up = None;
        loop {
            let schedule = *asked.borrow_and_update();
            if schedule.frozen != self.wanted_frozen {
                self.wanted_frozen = schedule.frozen;
                self.tell(&Told::Freeze(schedule.frozen)).await;
            }
            let next = give_up.or(schedule.next(self.step)).filter(|_| self.exit.is_some());
            tokio::select! {
                said = self.lines.next_line() => match said {
                    Ok(Some(said)) => self.hear(&said).await,
                    Ok(None) | Err(_) => break,
                },
                told = tells.recv() => match told {
                    Some(told) => {
                        self.tell(&self.in_its_numbers(told)).await;
                    }
                    // The worker leaves the tree to the next one.
                    None => return,
                },
                Some(bytes) = inputs.recv() => {
                    let text = String::from_utf8_lossy(&bytes);
                    let input = Told::Input(text.trim_end_matches('\n').to_owned());
                    self.tell(&input).await;
                }
                Ok(()) = self.lease.heard.changed() => self.renew().await,
                () = wait_until(next), if next.is_some() => {
                    if give_up.is_some() {
                        break;
                    }
                    let now = Instant::now();
                    if let Some(step) = schedule.due(self.step, now) {
                        give_up = (step == StopMode::Kill).then(|| now + 2 * KILL_PATIENCE);
                        self.step = Some(step);
                        self.tell(&Told::Step(step)).await;
                    }
                }
                Ok(()) = asked.changed() => {}
            }
        }
        self.lost().await;
    }

    /// A failure shows as the end of what the keeper says.
    async fn tell(&mut self, told: &Told) {
        if let Ok(line) = line(told) {
            self.write.write_all(line.as_bytes()).await.ok();
        }
    }

    fn in_its_numbers(&self, told: Told) -> Told {
        match told {
            Told::Taken { number, memory } => {
                Told::Taken { number: self.before.unwrap_or(0) + number, memory }
            }
            other => other,
        }
    }

    async fn renew(&mut self) {
        let heard = *self.lease.heard.borrow_and_update();
        let passed = Timestamp(self.lease.clock.now()).since(heard);
        let left = self.lease.lasts.saturating_sub(passed);
        self.tell(&Told::Renew(left)).await;
    }

    async fn hear(&mut self, said: &str) {
        match serde_json::from_str(said) {
            Ok(Said::Output { number, output }) => {
                self.before.get_or_insert(number.saturating_sub(1));
                if let Some(queue) = &self.queue {
                    // There is room for all that a keeper has on its way; nobody may want it any more.
                    queue.send(output).await.ok();
                }
            }
            Ok(Said::Frozen(frozen)) => drop(self.frozen.send(frozen)),
            Ok(Said::Ended(exit)) => self.end(exit),
            Ok(Said::Hello(_) | Said::Failed(_)) | Err(_) => {
                tracing::warn!(said, "a keeper said something unexpected");
            }
        }
    }

    fn end(&mut self, exit: Exit) {
        self.queue = None;
        if let Some(report) = self.exit.take() {
            report.send(exit).ok();
        }
    }

    /// The keeper is gone, or doesn't do as it is told: does its work as well as it can be done from
    /// here.
    async fn lost(mut self) {
        if let Some(keeper) = &mut self.keeper {
            if self.exit.is_some() {
                keeper.start_kill().ok();
            }
            timeout(KILL_PATIENCE, keeper.wait()).await.ok();
        }
        if self.exit.is_none() {
            return;
        }
        let marker = self.marker.clone();
        let swept = tokio::task::spawn_blocking(move || strays::sweep_tree(&marker)).await;
        let (killed, left) = match swept {
            Ok(Ok(swept)) => (swept.killed, swept.left),
            Ok(Err(_)) | Err(_) => (0, 0),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let killed_by_us = self.step == Some(StopMode::Kill);
        self.end(Exit {
            ended: if killed_by_us { Ended::Signal(9) } else { Ended::Lost },
            duration: self.started.elapsed(),
            containment: self.containment,
            stopped: self.step,
            survivors_killed: count(killed),
            survivors_left: count(left),
        });
    }
}

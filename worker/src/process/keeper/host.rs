//! The keeper itself.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kapelle_runtime::clock::Clock;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::{Exit, Output, Process, StopLadder, StopMode, Supervisor};
use super::in_directory;
use super::wire::{Failure, Hello, Launch, Said, Told, VERSION, line};

/// What may be on its way to the worker at once.
const ON_THEIR_WAY_MAX: usize = 512;

/// What is held here beside; the rest stays where the process's own output is held.
const HELD_MAX: usize = 4_096;

/// How often it is looked whether it is over. The sleep of a runtime doesn't count while the machine
/// is suspended; the clock does.
const GLANCE: Duration = Duration::from_millis(250);

/// How long a tree may take to end that is killed.
const KILLED_WITHIN: Duration = Duration::from_secs(15);

/// Keeps what the worker at the other end of standard input wants to be started, with a socket in
/// `directory` for the next one.
pub(in super::super) fn main(directory: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.and_then(|runtime| runtime.block_on(run(directory)));
    if kept.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(directory: &Path) -> io::Result<()> {
    // What ends a worker's group or its terminal is not meant for its agents.
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        signal_hook::flag::register(signal as i32, Arc::new(AtomicBool::new(false)))?;
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let mut first = Connection::new(StdUnixStream::from(stdin))?;
    let launch = first.lines.next_line().await?.unwrap_or_default();
    let launch: Launch = serde_json::from_str(&launch)?;
    let listener = in_directory(directory, |socket| UnixListener::bind(socket))?;
    let clock = Clock::system();
    let supervisor = Supervisor::new("/proc/self/exe");
    let process = match supervisor.spawn(launch.spec()).await {
        Ok(process) => process,
        Err(error) => {
            first.say(&Said::Failed(Failure::from(error)));
            return first.finish().await;
        }
    };
    let now = clock.now();
    let mut keeper = Keeper {
        inputs: queue_inputs(&process),
        process,
        held: VecDeque::new(),
        said: 0,
        end_is_said: false,
        last: 0,
        drained: false,
        ended: None,
        frozen: false,
        memory: None,
        connection: None,
        started_at: now,
        lease_until: later(now, launch.lease),
        orphan_until: None,
        grace: launch.grace,
        clock,
    };
    keeper.meet(first);
    keeper.keep(listener).await;
    Ok(())
}

fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

/// Lines for the agent's standard input, which may read them as slowly as it likes.
fn queue_inputs(process: &Process) -> Option<Inputs> {
    let writer = process.stdin.clone()?;
    let (queue, mut queued) = mpsc::channel::<String>(64);
    #[expect(clippy::disallowed_methods, reason = "owned by the handle beside the queue")]
    let writing = tokio::spawn(async move {
        while let Some(line) = queued.recv().await {
            if writer.line(&line).await.is_err() {
                return;
            }
        }
    });
    Some(Inputs { queue, _writing: AbortOnDropHandle::new(writing) })
}

struct Inputs {
    queue: mpsc::Sender<String>,
    _writing: AbortOnDropHandle<()>,
}

/// A worker that is connected.
struct Connection {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: mpsc::Sender<String>,
    writing: AbortOnDropHandle<()>,
}

impl Connection {
    fn new(stream: StdUnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::of(UnixStream::from_std(stream)?))
    }

    #[expect(clippy::disallowed_methods, reason = "owned by the connection")]
    fn of(stream: UnixStream) -> Self {
        let (read, mut write) = stream.into_split();
        let (out, mut queued) = mpsc::channel::<String>(2 * ON_THEIR_WAY_MAX);
        let writing = tokio::spawn(async move {
            while let Some(line) = queued.recv().await {
                if write.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        Self { lines: BufReader::new(read).lines(), out, writing: AbortOnDropHandle::new(writing) }
    }

    /// Says something without waiting for who hears it. False when nobody does.
    fn say(&self, said: &Said) -> bool {
        line(said).is_ok_and(|line| self.out.try_send(line).is_ok())
    }

    async fn finish(self) -> io::Result<()> {
        drop(self.out);
        drop(tokio::time::timeout(KILLED_WITHIN, self.writing).await);
        Ok(())
    }
}

struct Keeper {
    process: Process,
    inputs: Option<Inputs>,
    /// What was printed and not taken, with its numbers.
    held: VecDeque<(u64, Output)>,
    /// How many of them were said to the worker that is connected.
    said: usize,
    /// The last number that was given.
    last: u64,
    /// The worker that is connected knows of the end.
    end_is_said: bool,
    /// Everything that was printed is held, or was taken.
    drained: bool,
    ended: Option<Exit>,
    frozen: bool,
    memory: Option<String>,
    connection: Option<Connection>,
    started_at: i64,
    lease_until: i64,
    orphan_until: Option<i64>,
    grace: Duration,
    clock: Clock,
}

enum Woken {
    Printed(Option<Output>),
    Ended(Exit),
    Frozen(bool),
    Came(UnixStream),
    Told(Option<String>),
    Glance,
}

impl Keeper {
    /// Keeps until it is over.
    async fn keep(mut self, listener: UnixListener) {
        let mut frozen = self.process.frozen();
        let mut glances = tokio::time::interval(GLANCE);
        glances.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let room = self.held.len() < HELD_MAX && self.ended.is_none();
            let woken = tokio::select! {
                woken = next(&mut self.process, self.drained), if room => woken,
                Ok(()) = frozen.changed() => Woken::Frozen(*frozen.borrow_and_update()),
                Ok((stream, _)) = listener.accept() => Woken::Came(stream),
                told = hear(&mut self.connection) => Woken::Told(told),
                _ = glances.tick() => Woken::Glance,
            };
            match woken {
                Woken::Printed(Some(output)) => {
                    self.last += 1;
                    self.held.push_back((self.last, output));
                }
                Woken::Printed(None) => self.drained = true,
                Woken::Ended(exit) => self.ended = Some(exit),
                Woken::Frozen(now) => {
                    self.frozen = now;
                    self.say(&Said::Frozen(now));
                }
                Woken::Came(stream) => self.meet(Connection::of(stream)),
                Woken::Told(None) => self.part(),
                Woken::Told(Some(line)) => match serde_json::from_str(&line) {
                    Ok(Told::Bye) => break,
                    Ok(told) => self.obey(told),
                    // Of a newer release.
                    Err(_) => {}
                },
                Woken::Glance => {
                    if self.is_over() {
                        break;
                    }
                }
            }
            self.say_what_is_held();
        }
        self.process.stop(StopLadder::KILL);
        drop(tokio::time::timeout(KILLED_WITHIN, self.process.wait()).await);
        if let Some(connection) = self.connection {
            drop(connection.finish().await);
        }
    }

    fn meet(&mut self, connection: Connection) {
        let running = u64::try_from(self.clock.now() - self.started_at).unwrap_or(0);
        connection.say(&Said::Hello(Hello {
            version: VERSION,
            containment: self.process.containment(),
            supervisor: self.process.supervisor_id(),
            running: Duration::from_millis(running),
            frozen: self.frozen,
            takes_lines: self.inputs.is_some(),
            memory: self.memory.clone(),
        }));
        self.connection = Some(connection);
        self.orphan_until = None;
        (self.said, self.end_is_said) = (0, false);
    }

    fn part(&mut self) {
        self.connection = None;
        self.orphan_until = Some(later(self.clock.now(), self.grace));
    }

    fn say(&mut self, said: &Said) {
        // Whoever doesn't listen is taken for gone, and hears it all when it comes back.
        if self.connection.as_ref().is_some_and(|connection| !connection.say(said)) {
            self.part();
        }
    }

    fn say_what_is_held(&mut self) {
        while self.said < self.held.len().min(ON_THEIR_WAY_MAX) {
            let Some(connection) = &self.connection else { return };
            let (number, output) = self.held[self.said].clone();
            if !connection.say(&Said::Output { number, output }) {
                return self.part();
            }
            self.said += 1;
        }
        // The end comes once all that was printed has been said, and to each worker once.
        if self.held.len() == self.said
            && !self.end_is_said
            && let Some(exit) = self.ended
        {
            self.end_is_said = true;
            self.say(&Said::Ended(exit));
        }
    }

    fn obey(&mut self, told: Told) {
        match told {
            Told::Taken { number, memory } => {
                while self.held.front().is_some_and(|(held, _)| *held <= number) {
                    self.held.pop_front();
                    self.said = self.said.saturating_sub(1);
                }
                if memory.is_some() {
                    self.memory = memory;
                }
            }
            Told::Input(line) => {
                if let Some(inputs) = &self.inputs {
                    // An agent that doesn't read its lines doesn't get more of them.
                    drop(inputs.queue.try_send(line));
                }
            }
            Told::Step(step) => self.process.stop(ladder(step)),
            Told::Freeze(frozen) => self.process.ask_to_freeze(frozen),
            Told::Renew(lasts) => self.lease_until = later(self.clock.now(), lasts),
            Told::Bye => {}
        }
    }

    /// Whether nobody is left to keep it for. A worker that is connected and whose lease has run out
    /// hears of the end.
    fn is_over(&self) -> bool {
        let now = self.clock.now();
        let is_orphan = self.orphan_until.is_some_and(|until| now >= until);
        let is_forfeit = now >= self.lease_until;
        if is_forfeit && self.ended.is_none() {
            self.process.stop(StopLadder::KILL);
        }
        is_orphan || (is_forfeit && self.connection.is_none())
    }
}

/// A step by itself; no other follows.
fn ladder(step: StopMode) -> StopLadder {
    let never = Duration::MAX;
    let at_once = Some(Duration::ZERO);
    match step {
        StopMode::Interrupt => {
            StopLadder { interrupt_after: at_once, terminate_after: None, kill_after: never }
        }
        StopMode::Terminate => {
            StopLadder { interrupt_after: None, terminate_after: at_once, kill_after: never }
        }
        StopMode::Kill => StopLadder::KILL,
    }
}

async fn next(process: &mut Process, drained: bool) -> Woken {
    if drained {
        Woken::Ended(process.wait().await)
    } else {
        Woken::Printed(process.output.recv().await)
    }
}

/// What the worker says; `None` when it is gone. Waits for ever while there is none.
async fn hear(connection: &mut Option<Connection>) -> Option<String> {
    match connection {
        Some(connection) => connection.lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

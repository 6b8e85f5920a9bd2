//! Supervised child processes whose whole tree ends, also when the worker is killed.
//!
//! An agent starts tools in sessions of their own, daemons, grandchildren that ignore signals. A
//! signal to its process group does not reach them, and nothing reaches them once the worker has
//! died. So the agent never is a child of the worker. The running executable starts itself twice
//! with a hidden first argument (see [`supervisor_main`]):
//!
//! ```text
//! worker ──control socket──┐ (its end held open = "keep running")
//!   └─ shim  __supervise   │ puts the next process into a PID namespace, or becomes subreaper
//!        └─ init  __init ──┘ first process of the namespace; reaps orphans, forwards signals
//!             └─ agent       in its own process group, without a controlling terminal
//! ```
//!
//! - The worker's end of the control socket is the lifeline. When it closes, because the worker
//!   asked for the kill or because it died in whatever way, the shim kills init, and the kernel
//!   kills all that is left in the namespace. The parent-death signal would not do here: it fires
//!   when the *thread* that spawned ends, and the threads of a runtime come and go. Between shim
//!   and init, which have one thread each, it is used.
//! - When the agent ends, init ends, and with it everything the agent left behind.
//! - [`Containment`] says by which means. Where the kernel refuses namespaces, the shim is a
//!   subreaper that hunts down its descendants; then a shim that is itself killed leaves them
//!   behind, and [`sweep_strays`] finds them by the mark in their environment.
//!
//! An agent that is to outlive its worker has somebody else hold the lifeline: see [`keeper`].
//!
//! How the agent ended comes as a report over the control socket, so that no exit code of the
//! agent can be mistaken for a failure of ours.
//!
//! Linux only. Not a sandbox: it ends processes, it does not hide files or the network from them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod control;
mod descendants;
mod init;
pub mod keeper;
mod namespace;
mod output;
mod shim;
mod stdin;
mod stop;
mod strays;
mod supervisor;
mod wire;

pub use control::{Process, Stopper};
pub use output::{GapReason, Output, OutputStream};
pub use stdin::StdinWriter;
pub use stop::{StopLadder, StopMode};
pub use strays::{Sweep, sweep_strays, sweep_strays_but};
pub use supervisor::Supervisor;

/// Environment variable that marks every process of a supervised tree; its value is
/// [`ProcessSpec::marker`].
pub const MARKER_VARIABLE: &str = "KAPELLE_SUPERVISED";

/// Output of one process that is kept when the caller sets no other limit, in bytes.
pub const DEFAULT_OUTPUT_LIMIT: usize = 8 * 1024 * 1024;

const SHIM_ROLE: &str = "__supervise";
const INIT_ROLE: &str = "__init";

/// Plays the hidden role named by the first argument, or returns `None` when there is none.
///
/// The executable handed to [`Supervisor::new`] must call this first thing in `main`, before it
/// starts a thread or reads its configuration. `args` are those of the process, its name included.
#[must_use]
pub fn supervisor_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<OsString> = args.into_iter().take(5).collect();
    let text = |index: usize| args.get(index).and_then(|arg| arg.to_str());
    if text(1) == Some(keeper::ROLE) {
        let directory = args.get(2).map(PathBuf::from);
        return Some(directory.map_or(ExitCode::from(2), |directory| keeper::main(&directory)));
    }
    let role = text(1).filter(|role| [SHIM_ROLE, INIT_ROLE].contains(role))?;
    let Some(Ok(containment)) = text(2).map(Containment::from_str) else {
        return Some(ExitCode::from(2));
    };
    if role == SHIM_ROLE {
        return Some(shim::main(containment, args.first().map_or(OsStr::new(""), |name| name)));
    }
    let id = |index: usize| text(index).and_then(|id| id.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (id(3), id(4)) else {
        return Some(ExitCode::from(2));
    };
    Some(init::main(containment, namespace::Owner { uid, gid }))
}

/// By what means a process tree is held together, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Containment {
    /// A PID namespace of its own. The kernel kills all of it when its first process ends.
    PidNamespace,
    /// The same inside a user namespace, for workers without privileges. The worker's own user
    /// and group keep their numbers; files of everyone else appear as owned by `nobody`.
    UserPidNamespace,
    /// No namespace: the shim adopts orphans and kills descendants until none is left. A tree
    /// outlives a shim that is killed itself, until [`sweep_strays`] runs.
    Subreaper,
}

impl Containment {
    /// All kinds, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::PidNamespace, Self::UserPidNamespace, Self::Subreaper];

    /// The name used on command lines and in reports: `pid_namespace`, `user_pid_namespace` or
    /// `subreaper`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PidNamespace => "pid_namespace",
            Self::UserPidNamespace => "user_pid_namespace",
            Self::Subreaper => "subreaper",
        }
    }
}

impl std::fmt::Display for Containment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the names that [`Containment::as_str`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a kind of containment: use pid_namespace, user_pid_namespace or subreaper")]
pub struct UnknownContainment;

impl FromStr for Containment {
    type Err = UnknownContainment;

    fn from_str(text: &str) -> Result<Self, UnknownContainment> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownContainment)
    }
}

/// What to run and how.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The program: a path, or a name looked up in the `PATH` of [`env`](Self::env).
    pub program: OsString,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The directory it starts in.
    pub cwd: PathBuf,
    /// Its whole environment; nothing of the worker's is inherited. [`MARKER_VARIABLE`] is added.
    pub env: BTreeMap<OsString, OsString>,
    /// What it reads on its standard input.
    pub stdin: Stdin,
    /// Names this tree in the environment of its processes, so that [`sweep_strays`] finds it
    /// after a crash. Begin it with something that is unique to the worker's project.
    pub marker: String,
    /// How much output is kept, in bytes; see [`Output`].
    pub output_limit: usize,
}

impl ProcessSpec {
    /// `program` without arguments, with an empty environment, closed input and the default
    /// output limit.
    pub fn new(
        program: impl Into<OsString>,
        cwd: impl Into<PathBuf>,
        marker: impl Into<String>,
    ) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            cwd: cwd.into(),
            env: BTreeMap::new(),
            stdin: Stdin::Closed,
            marker: marker.into(),
            output_limit: DEFAULT_OUTPUT_LIMIT,
        }
    }
}

/// What a process reads on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing: end of file at once.
    Closed,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// Lines that the caller writes while it runs; see [`Process::stdin`].
    Piped,
}

/// How the agent process itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Its supervisor was killed from outside before it could tell. The tree is gone, the cause
    /// and the exit code are unknown.
    Lost,
}

/// The end of a process tree. No process of it is alive, except those counted in
/// [`survivors_left`](Self::survivors_left).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How the agent ended.
    pub ended: Ended,
    /// Time from its start to its end, without our own overhead before and after.
    pub duration: Duration,
    /// What held the tree together.
    pub containment: Containment,
    /// The strongest step of a stop ladder that was taken, if the agent did not end before it.
    pub stopped: Option<StopMode>,
    /// Processes that outlived the agent and were killed.
    pub survivors_killed: u32,
    /// Processes that could not be killed: those in uninterruptible sleep, or of another user.
    pub survivors_left: u32,
}

impl Exit {
    /// Whether the agent was killed by a SIGKILL that was not ours. That mostly is the kernel
    /// running out of memory.
    #[must_use]
    pub fn probably_out_of_memory(&self) -> bool {
        self.ended == Ended::Signal(9) && self.stopped != Some(StopMode::Kill)
    }
}

/// Why a process could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The executable that supervises could not be started itself.
    #[error("cannot start the process supervisor {}", exe.display())]
    Supervisor {
        /// The executable that was tried.
        exe: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The supervisor ended without a word, or said something that is not understood. The
    /// executable does not call [`supervisor_main`], or something killed it.
    #[error("the process supervisor {} ended before it started {}", exe.display(), program.display())]
    SupervisorLost {
        /// The executable that supervises.
        exe: PathBuf,
        /// The program that was to be started.
        program: OsString,
    },
    /// The kernel refuses the kind of containment that was asked for.
    #[error("the kernel refuses {containment} containment: {step}")]
    Refused {
        /// The kind that was tried.
        containment: Containment,
        /// What was being done, such as `unshare` or `mount /proc`.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The working directory is missing, no directory, or not accessible.
    #[error("cannot start {} in the directory {}", program.display(), cwd.display())]
    WorkingDirectory {
        /// The program that was to be started.
        program: OsString,
        /// The directory.
        cwd: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program is missing, not executable, or the system refuses to start it.
    #[error("cannot start {}", program.display())]
    SpawnFailed {
        /// The program that was to be started.
        program: OsString,
        /// What the system said; its [`kind`](io::Error::kind) tells missing from forbidden.
        source: io::Error,
    },
    /// A pipe or a socket to the process could not be made.
    #[error("cannot set up the pipes of {}", program.display())]
    Pipes {
        /// The program that was to be started.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// The keeper of a process could not be started, or is not understood.
    #[error("cannot keep {}", program.display())]
    Keeper {
        /// The program that is kept.
        program: OsString,
        /// What went wrong.
        source: io::Error,
    },
    /// The process does not read its input any more.
    #[error("the process has closed its standard input")]
    StdinClosed,
    /// The running processes could not be listed.
    #[error("cannot list processes in /proc")]
    ListProcesses {
        /// What the system said.
        source: io::Error,
    },
}

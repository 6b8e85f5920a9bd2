//! Starting a supervised process from the worker's side.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::control::{Control, Process};
use super::wire::{self, Launch, Report};
use super::{Containment, Error, MARKER_VARIABLE, ProcessSpec, SHIM_ROLE, stdin};

/// How long a supervisor that could not start its process may take to end.
const FAILURE_PATIENCE: Duration = Duration::from_secs(2);

/// Starts processes under supervision.
#[derive(Debug)]
pub struct Supervisor {
    exe: PathBuf,
    required: Option<Containment>,
    settled: OnceLock<Containment>,
}

impl Supervisor {
    /// Supervises with `exe`, an executable whose `main` begins with
    /// [`supervisor_main`](super::supervisor_main): mostly [`std::env::current_exe`]. The
    /// strongest containment that the kernel allows is found at the first start.
    pub fn new(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), required: None, settled: OnceLock::new() }
    }

    /// Insists on one kind of containment instead: where it is refused, nothing is started.
    #[must_use]
    pub fn require(mut self, containment: Containment) -> Self {
        self.required = Some(containment);
        self
    }

    /// The containment that the kernel allowed; `None` before the first process has started.
    pub fn containment(&self) -> Option<Containment> {
        self.settled.get().copied()
    }

    /// Starts a process. It runs when this returns; dropping the [`Process`], or this future,
    /// kills its whole tree.
    ///
    /// # Errors
    /// [`Error::SpawnFailed`] and [`Error::WorkingDirectory`] when the fault lies in `spec`,
    /// [`Error::Refused`] when the kernel refuses the containment that is required, and others
    /// when supervision itself does not work.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<Process, Error> {
        let first = self.required.or(self.containment()).unwrap_or(Containment::PidNamespace);
        let mut kinds = Containment::ALL.into_iter().filter(|kind| *kind >= first).peekable();
        loop {
            let kind = kinds.next().unwrap_or(Containment::Subreaper);
            match self.start(kind, &spec).await {
                Err(Error::Refused { containment, step, source })
                    if self.required.is_none() && kinds.peek().is_some() =>
                {
                    tracing::debug!(%containment, step, %source, "containment is refused");
                }
                Err(error) => return Err(error),
                Ok(started) => {
                    // Only the first success is remembered: a later refusal may be a limit that
                    // was reached for the moment.
                    self.settled.get_or_init(|| kind);
                    return Ok(Process::new(started, spec));
                }
            }
        }
    }

    async fn start(&self, kind: Containment, spec: &ProcessSpec) -> Result<Started, Error> {
        let no_pipes = |source| Error::Pipes { program: spec.program.clone(), source };
        let (ours, theirs) = StdUnixStream::pair().map_err(no_pipes)?;
        let (agent_stdin, stdin) = stdin::open(&spec.stdin).map_err(no_pipes)?;
        wire::send_stdin(&ours, agent_stdin.as_fd()).map_err(no_pipes)?;
        drop(agent_stdin);
        ours.set_nonblocking(true).map_err(no_pipes)?;
        let socket = UnixStream::from_std(ours).map_err(no_pipes)?;
        let mut shim = self.spawn_shim(kind, spec, theirs.into())?;
        let (read, mut write) = socket.into_split();
        let mut reports = BufReader::new(read).lines();
        let launch = launch_line(spec).map_err(no_pipes)?;
        // A shim that refuses does not read all of this; the report below tells the truth.
        write.write_all(&launch).await.ok();
        let report = match reports.next_line().await {
            Ok(Some(line)) => wire::parse_report(&line),
            Ok(None) | Err(_) => None,
        };
        match report {
            Some(Report::Started) => {
                let started = Instant::now();
                let control =
                    Control { reports, requests: write, shim, containment: kind, started };
                Ok(Started { control, stdin })
            }
            report => {
                // Without an agent it ends by itself; a stranger that is no supervisor may not.
                drop((reports, write));
                if timeout(FAILURE_PATIENCE, shim.wait()).await.is_err() {
                    shim.kill().await.ok();
                }
                Err(self.failure(kind, spec, report))
            }
        }
    }

    fn spawn_shim(
        &self,
        kind: Containment,
        spec: &ProcessSpec,
        control: OwnedFd,
    ) -> Result<Child, Error> {
        Command::new(&self.exe)
            .args([SHIM_ROLE, kind.as_str()])
            .env_clear()
            .env(MARKER_VARIABLE, &spec.marker)
            .stdin(Stdio::from(control))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the worker's terminal is the worker's alone.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Supervisor { exe: self.exe.clone(), source })
    }

    fn failure(
        &self,
        containment: Containment,
        spec: &ProcessSpec,
        report: Option<Report>,
    ) -> Error {
        let program = spec.program.clone();
        match report {
            Some(Report::Refused { step, fault }) => {
                Error::Refused { containment, step, source: fault.into() }
            }
            Some(Report::BadDirectory(fault)) => {
                Error::WorkingDirectory { program, cwd: spec.cwd.clone(), source: fault.into() }
            }
            Some(Report::SpawnFailed(fault)) => {
                Error::SpawnFailed { program, source: fault.into() }
            }
            Some(
                Report::Started | Report::Frozen(_) | Report::Exited { .. } | Report::Gone { .. },
            )
            | None => Error::SupervisorLost { exe: self.exe.clone(), program },
        }
    }
}

/// A process that has just started, with our ends of everything.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) control: Control,
    pub(super) stdin: Option<pipe::Sender>,
}

fn launch_line(spec: &ProcessSpec) -> io::Result<Vec<u8>> {
    let mut env: Vec<_> =
        spec.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    env.retain(|(name, _)| name != MARKER_VARIABLE);
    env.push((MARKER_VARIABLE.into(), spec.marker.clone().into()));
    let launch = Launch {
        program: spec.program.clone(),
        args: spec.args.clone(),
        cwd: spec.cwd.clone().into_os_string(),
        env,
    };
    let mut line = serde_json::to_vec(&launch)?;
    line.push(b'\n');
    Ok(line)
}

//! What a worker and a keeper say to each other: lines of JSON. They may be of different releases,
//! since keepers outlive upgrades; so what is here is added to, and the first words have a version.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::wire::Fault;
use super::super::{Containment, Error, Exit, Output, ProcessSpec, Stdin, StopMode};

/// The version of what follows.
pub(super) const VERSION: u32 = 1;

/// The worker's first words to a keeper that it has started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    program: OsString,
    args: Vec<OsString>,
    cwd: PathBuf,
    env: Vec<(OsString, OsString)>,
    stdin: Stdin,
    marker: String,
    output_limit: usize,
    /// How long the tree may live without a renewal.
    pub(super) lease: Duration,
    /// How long it may live without a worker.
    pub(super) grace: Duration,
}

impl Launch {
    pub(super) fn new(spec: &ProcessSpec, lease: Duration, grace: Duration) -> Self {
        let env = spec.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self {
            program: spec.program.clone(),
            args: spec.args.clone(),
            cwd: spec.cwd.clone(),
            env: env.collect(),
            stdin: spec.stdin.clone(),
            marker: spec.marker.clone(),
            output_limit: spec.output_limit,
            lease,
            grace,
        }
    }

    pub(super) fn spec(&self) -> ProcessSpec {
        ProcessSpec {
            program: self.program.clone(),
            args: self.args.clone(),
            cwd: self.cwd.clone(),
            env: self.env.iter().cloned().collect(),
            stdin: self.stdin.clone(),
            marker: self.marker.clone(),
            output_limit: self.output_limit,
        }
    }
}

/// What a keeper says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// First, to each worker.
    Hello(Hello),
    /// First, when there is nothing to keep.
    Failed(Failure),
    /// Something that was printed.
    Output { number: u64, output: Output },
    /// Whether the tree stands still.
    Frozen(bool),
    /// The tree is gone, and everything that was printed has been said.
    Ended(Exit),
}

/// How the tree is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    pub(super) containment: Containment,
    pub(super) supervisor: Option<u32>,
    /// How long it has been running.
    pub(super) running: Duration,
    pub(super) frozen: bool,
    pub(super) takes_lines: bool,
    /// What the worker wanted to be remembered.
    pub(super) memory: Option<String>,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// What was printed up to this number is taken; what is to be remembered, if that is new.
    Taken { number: u64, memory: Option<String> },
    /// A line for the standard input.
    Input(String),
    /// A step of a stop ladder.
    Step(StopMode),
    /// Stand still, or go on.
    Freeze(bool),
    /// From now on, it may live for so long.
    Renew(Duration),
    /// Nobody needs anything of it any more.
    Bye,
}

/// Why nothing could be started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    kind: FailureKind,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum FailureKind {
    Program,
    Directory,
    Other,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, fault) = match error {
            Error::SpawnFailed { source, .. } => (FailureKind::Program, source),
            Error::WorkingDirectory { source, .. } => (FailureKind::Directory, source),
            other => {
                let words = kapelle_runtime::telemetry::Chain(&other).to_string();
                (FailureKind::Other, io::Error::other(words))
            }
        };
        Self { kind, fault: fault.into() }
    }
}

impl Failure {
    pub(super) fn into_error(self, spec: &ProcessSpec) -> Error {
        let program = spec.program.clone();
        let source = self.fault.into();
        match self.kind {
            FailureKind::Program => Error::SpawnFailed { program, source },
            FailureKind::Directory => {
                Error::WorkingDirectory { program, cwd: spec.cwd.clone(), source }
            }
            FailureKind::Other => Error::Keeper { program, source },
        }
    }
}

pub(super) fn line<T: Serialize>(said: &T) -> io::Result<String> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    Ok(line)
}

//! Workers, as the coordinator knows them.
//!
//! What a worker does inside is not here; see the crate `kapelle-worker`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, Fence, SessionEpoch, TaskId, Timestamp, WorkerId};
use crate::placement::{Constraint, LABELS_MAX, Labels, is_label, is_label_value};

/// The newest version of what coordinators and workers say to each other.
pub const PROTOCOL: u32 = 1;

/// The longest name of a worker.
pub const NAME_BYTES_MAX: usize = 63;

/// The most slots that a worker may offer.
pub const SLOTS_MAX: u32 = 100_000;

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name.
    pub worker: WorkerId,
    /// Whether it lives in the coordinator's own process and dies with it.
    pub embedded: bool,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// The agents it can run, by configured name.
    pub agents: Vec<Arc<str>>,
    /// What it says about its machine.
    #[serde(default)]
    pub labels: Labels,
    /// What it found of each agent's program. Only shown; what it can run is `agents`.
    #[serde(default)]
    pub programs: Vec<Program>,
    /// The repositories that it has a copy of, so that an attempt there starts soon.
    #[serde(default)]
    pub cached: Vec<Arc<str>>,
    /// Its own version. Only shown.
    #[serde(default)]
    pub build: String,
    /// The versions of the protocol that it speaks.
    #[serde(default)]
    pub protocol: ProtocolRange,
    /// The attempts that it holds, from before this registration.
    pub inventory: Vec<Held>,
}

/// What a worker found of an agent's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The agent's configured name.
    pub agent: Arc<str>,
    /// The version that the program says it has.
    pub version: Option<String>,
    /// Whether it can be used.
    pub state: ProgramState,
}

/// Whether an agent's program can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramState {
    /// It is there; nothing speaks against it.
    Installed,
    /// It is there, and says that nobody is logged in.
    LoggedOut,
    /// It is not there.
    Missing,
}

impl ProgramState {
    /// Its name, as shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::LoggedOut => "logged_out",
            Self::Missing => "missing",
        }
    }
}

/// A range of protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Default for ProtocolRange {
    /// What this build speaks.
    fn default() -> Self {
        Self { oldest: PROTOCOL, newest: PROTOCOL }
    }
}

impl ProtocolRange {
    /// Whether both know a common version.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub attempt: AttemptId,
    /// Under which grant.
    pub fence: Fence,
}

/// A registration that can't be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InvalidRegistration {
    /// The name can't be part of a subject.
    #[error(
        "`{name}` can't name a worker: 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-` or `_`, starting with a letter or digit"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// There is no version of the protocol that both speak.
    #[error(
        "the worker speaks versions {} to {} of the protocol, the coordinator version {PROTOCOL}; bring both to the same release",
        range.oldest,
        range.newest
    )]
    Protocol {
        /// What the worker speaks.
        range: ProtocolRange,
    },
    /// More slots than anybody has.
    #[error("{slots} slots are more than {SLOTS_MAX}")]
    Slots {
        /// As given.
        slots: u32,
    },
    /// A label that can't be one.
    #[error("the label `{label}` is malformed, or there are more than {LABELS_MAX}")]
    Label {
        /// Its name.
        label: String,
    },
}

impl Registration {
    /// That of a worker of another process with nothing special about it.
    #[must_use]
    pub fn new(worker: WorkerId, slots: u32, agents: Vec<Arc<str>>) -> Self {
        Self {
            worker,
            embedded: false,
            slots,
            agents,
            labels: Labels::new(),
            programs: Vec::new(),
            cached: Vec::new(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: ProtocolRange::default(),
            inventory: Vec::new(),
        }
    }

    /// Checks what the worker says of itself.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn validate(&self) -> Result<(), InvalidRegistration> {
        if !is_worker_name(&self.worker.0) {
            return Err(InvalidRegistration::Name { name: self.worker.0.clone() });
        }
        if !self.protocol.meets(ProtocolRange::default()) {
            return Err(InvalidRegistration::Protocol { range: self.protocol });
        }
        if self.slots > SLOTS_MAX {
            return Err(InvalidRegistration::Slots { slots: self.slots });
        }
        let malformed = |(index, (label, value)): &(usize, (&String, &String))| {
            *index >= LABELS_MAX || !is_label(label) || !is_label_value(value)
        };
        match self.labels.iter().enumerate().find(malformed) {
            Some((_, (label, _))) => Err(InvalidRegistration::Label { label: label.clone() }),
            None => Ok(()),
        }
    }

    /// Whether it has the agent, and labels that fit.
    #[must_use]
    pub fn satisfies(&self, agent: &str, needs: &[Constraint]) -> bool {
        self.agents.iter().any(|known| &**known == agent)
            && needs.iter().all(|constraint| constraint.fits(&self.labels))
    }
}

/// Whether the text may name a worker: it becomes one token of a subject.
#[must_use]
pub fn is_worker_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
        && name.bytes().next().is_some_and(plain)
}

/// What a worker is to do about new work.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Take it.
    #[default]
    Active,
    /// Take none until further notice.
    Cordoned,
    /// Take none, finish what it has, and leave.
    Draining,
}

impl Duty {
    /// Its name, as stored and shown. Once released, a name keeps its meaning.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

/// A worker with an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What it said of itself.
    pub registration: Registration,
    /// Its newest registration.
    pub session: SessionEpoch,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// What it does about new work.
    pub duty: Duty,
    /// Whether it has not been heard of for longer than a worker may be silent.
    pub suspect: bool,
    /// The tasks whose current attempt it holds.
    pub holds: BTreeSet<TaskId>,
}

impl Worker {
    /// How many more attempts it can take.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        if self.suspect || self.duty != Duty::Active {
            return 0;
        }
        let held = u32::try_from(self.holds.len()).unwrap_or(u32::MAX);
        self.registration.slots.saturating_sub(held)
    }
}

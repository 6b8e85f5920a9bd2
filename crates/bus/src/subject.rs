//! Every subject of the bus, in one place.
//!
//! A subject is formed from names that were checked before, because a dot or a star in a name
//! would make another subject of it. Who may use which subject is in `nats::permissions`.
//!
//! ```text
//!   <root>.work.<class>              offers, in a JetStream work queue
//!   <root>.rpc.<worker>.<verb>       worker asks coordinator
//!   <root>.output.<worker>           worker sends output, on a connection of its own
//!   <root>.worker.<worker>.poke      coordinator pokes worker
//!   <root>.join.<invitation>         who was invited asks to become a worker
//!   <root>.agent.<agent>.<verb>      anybody steers an agent; the coordinator answers
//!   <root>.broadcast.<verb>          the same for all agents, or some
//!   <root>.status.<agent>            how an agent is doing, from the coordinator
//!   <root>.event.<run>.<kind>        what has happened, from the coordinator; `fleet` instead of
//!                                    a run for what happens to workers
//! ```
//!
//! A breaking change of the contract gets another root.

use std::fmt;

use kapelle_domain::ids::{AttemptId, RunId, TaskId, WorkerId};
use kapelle_domain::worker::is_worker_name;

/// The longest name of an agent.
pub const AGENT_BYTES_MAX: usize = 160;

/// The inbox prefix of every coordinator, and therefore no name of a worker.
const COORDINATOR: &str = "coordinator";

/// Stands for the run in the subjects of events that belong to none.
const FLEET: &str = "fleet";

/// A name that can't be part of a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` can't be the name of {what}: it has {allowed}")]
pub struct InvalidName {
    /// The name as given.
    pub name: String,
    /// What it was to name.
    pub what: &'static str,
    /// The names that are allowed.
    pub allowed: &'static str,
}

/// The first token of every subject: two fleets on one NATS account have two roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(String);

impl Root {
    /// Checks a root.
    ///
    /// # Errors
    /// When it can't be the first token of a subject and part of a stream's name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        if is_token(&name, 32) {
            return Ok(Self(name));
        }
        let allowed =
            "1 to 32 lower-case letters, digits, `-` or `_`, and starts with a letter or digit";
        Err(InvalidName { name, what: "a root of subjects", allowed })
    }

    /// The root as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Root {
    fn default() -> Self {
        Self("orchestrator".to_owned())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a worker that was checked for its use in subjects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerName(WorkerId);

impl WorkerName {
    /// Checks a worker's name.
    ///
    /// # Errors
    /// When it can't be a token of a subject, or is the coordinator's.
    pub fn new(worker: &WorkerId) -> Result<Self, InvalidName> {
        if is_worker_name(&worker.0) && worker.0 != COORDINATOR {
            return Ok(Self(worker.clone()));
        }
        let allowed = "1 to 63 lower-case letters, digits, `-` or `_`, starts with a letter or \
                       digit, and is not `coordinator`";
        Err(InvalidName { name: worker.0.clone(), what: "a worker", allowed })
    }

    /// What stands in a subject for the name that a server fills in.
    pub(crate) fn filled_in_later(placeholder: &str) -> Self {
        Self(WorkerId(placeholder.to_owned()))
    }

    /// The worker.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.0
    }

    /// The prefix of the inboxes where it gets answers; nobody else may listen there.
    #[must_use]
    pub fn inbox(&self) -> String {
        format!("_INBOX_{}", self.0)
    }

    /// Whether a reply subject is one of its inboxes. An answer to any other could be a message
    /// in the coordinator's name to whoever listens there.
    #[must_use]
    pub fn owns_inbox(&self, reply: &str) -> bool {
        is_below(reply, &self.inbox())
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an agent, as people steer it: it stands for one attempt. It may have dots, as
/// work streams have, because it is never followed by more than one token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

impl AgentName {
    /// Checks an agent's name.
    ///
    /// # Errors
    /// When it can't be part of a subject.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let sound = name.len() <= AGENT_BYTES_MAX
            && name.split('.').all(|token| !token.is_empty() && token.bytes().all(is_name_byte));
        if sound {
            return Ok(Self(name));
        }
        let allowed = "1 to 160 letters, digits, `-`, `_` and single dots between them";
        Err(InvalidName { name, what: "an agent", allowed })
    }

    /// The name of the agent that makes an attempt: the program, the key of its task, and the
    /// numbers of run, task and attempt, such as `coder-1.2-42-3-1`.
    #[must_use]
    pub fn of(program: &str, key: &str, attempt: AttemptId) -> Self {
        /// What is left of a program or key that is longer.
        const SHOWN: usize = 40;
        let plain = |text: &str| -> String {
            let byte =
                |char: char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' };
            let text: String = text.chars().take(SHOWN).map(byte).collect();
            // Dots separate tokens, and no token is empty.
            let tokens = text.split('.').filter(|token| !token.is_empty());
            tokens.collect::<Vec<_>>().join(".")
        };
        let AttemptId { task: TaskId { run: RunId(run), index }, number } = attempt;
        Self(format!("{}-{}-{run}-{index}-{number}", plain(program), plain(key)))
    }

    /// The attempt that the name stands for, if it is a name that [`of`](Self::of) gives.
    #[must_use]
    pub fn attempt(&self) -> Option<AttemptId> {
        let mut numbers = self.0.rsplitn(4, '-');
        let mut next = || {
            let digits =
                numbers.next().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            digits?.parse::<u64>().ok()
        };
        let (number, index, run) = (next()?, next()?, next()?);
        let task = TaskId { run: RunId(run), index: u32::try_from(index).ok()? };
        Some(AttemptId { task, number: u32::try_from(number).ok()? })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! verbs {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its token in a subject.
            #[must_use]
            pub fn token(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The verb of a token.
            #[must_use]
            pub fn of(token: &str) -> Option<Self> {
                match token { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

verbs! {
    /// What a worker asks or reports.
    RpcVerb {
        /// Whether a coordinator is there.
        Hello = "hello",
        /// To open a session.
        Register = "register",
        /// A proof of life.
        Heartbeat = "heartbeat",
        /// To get no new work.
        Drain = "drain",
        /// To end the session.
        Leave = "leave",
        /// An attempt that was offered.
        Claim = "claim",
        /// That an agent runs.
        Started = "started",
        /// The end of an attempt.
        Finished = "finished",
        /// What is wanted of an attempt.
        Look = "look",
        /// What became of a command.
        Answered = "answered",
        /// That work in progress was kept.
        Snapshot = "snapshot",
    }
}

verbs! {
    /// What anybody may ask of agents.
    ControlVerb {
        /// To end.
        Stop = "stop",
        /// To listen to a person.
        Feedback = "feedback",
        /// To work on something else.
        Redirect = "redirect",
        /// To pause.
        Pause = "pause",
        /// To go on after a pause.
        Resume = "resume",
        /// A sign of life.
        Ping = "ping",
    }
}

impl ControlVerb {
    /// Whether it may be said to more than one agent.
    #[must_use]
    pub fn is_for_many(self) -> bool {
        match self {
            Self::Stop | Self::Feedback | Self::Pause | Self::Resume | Self::Ping => true,
            // One work stream has room for one.
            Self::Redirect => false,
        }
    }
}

/// Makes and reads the subjects below one root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subjects {
    root: Root,
}

impl Subjects {
    /// The subjects below `root`.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { root }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where a worker asks.
    #[must_use]
    pub fn rpc(&self, worker: &WorkerName, verb: RpcVerb) -> String {
        format!("{}.rpc.{worker}.{}", self.root, verb.token())
    }

    /// Everything that one worker may ask.
    #[must_use]
    pub fn rpc_of(&self, worker: &WorkerName) -> String {
        format!("{}.rpc.{worker}.*", self.root)
    }

    /// Everything that workers ask.
    #[must_use]
    pub fn rpc_all(&self) -> String {
        format!("{}.rpc.*.*", self.root)
    }

    /// Who asks what on a subject of [`rpc_all`](Self::rpc_all).
    #[must_use]
    pub fn read_rpc(&self, subject: &str) -> Option<(WorkerName, RpcVerb)> {
        let (worker, verb) = self.below(subject, "rpc")?.split_once('.')?;
        Some((WorkerName::new(&WorkerId(worker.to_owned())).ok()?, RpcVerb::of(verb)?))
    }

    /// Where a worker sends output.
    #[must_use]
    pub fn output(&self, worker: &WorkerName) -> String {
        format!("{}.output.{worker}", self.root)
    }

    /// All output.
    #[must_use]
    pub fn output_all(&self) -> String {
        format!("{}.output.*", self.root)
    }

    /// Whose output comes on a subject of [`output_all`](Self::output_all).
    #[must_use]
    pub fn read_output(&self, subject: &str) -> Option<WorkerName> {
        WorkerName::new(&WorkerId(self.below(subject, "output")?.to_owned())).ok()
    }

    /// Where a worker is poked.
    #[must_use]
    pub fn poke(&self, worker: &WorkerName) -> String {
        format!("{}.worker.{worker}.poke", self.root)
    }

    /// Everything that is for one worker.
    #[must_use]
    pub fn worker_of(&self, worker: &WorkerName) -> String {
        format!("{}.worker.{worker}.*", self.root)
    }

    /// Everything that is for workers.
    #[must_use]
    pub fn worker_all(&self) -> String {
        format!("{}.worker.*.*", self.root)
    }

    /// All offers.
    #[must_use]
    pub fn work_all(&self) -> String {
        format!("{}.work.*", self.root)
    }

    /// Where an invitation is handed in.
    #[must_use]
    pub fn join(&self, invitation: &str) -> String {
        format!("{}.join.{invitation}", self.root)
    }

    /// Where all invitations are handed in.
    #[must_use]
    pub fn join_all(&self) -> String {
        format!("{}.join.*", self.root)
    }

    /// Which invitation is handed in on a subject of [`join_all`](Self::join_all).
    #[must_use]
    pub fn read_join<'s>(&self, subject: &'s str) -> Option<&'s str> {
        self.below(subject, "join").filter(|invitation| is_token(invitation, 63))
    }

    /// Where agents are steered, one by one.
    #[must_use]
    pub fn agent_all(&self) -> String {
        format!("{}.agent.>", self.root)
    }

    /// Where one agent is steered.
    #[must_use]
    pub fn agent(&self, agent: &AgentName, verb: ControlVerb) -> String {
        format!("{}.agent.{agent}.{}", self.root, verb.token())
    }

    /// Where all agents are steered.
    #[must_use]
    pub fn broadcast_all(&self) -> String {
        format!("{}.broadcast.*", self.root)
    }

    /// Where all agents are told one thing.
    #[must_use]
    pub fn broadcast(&self, verb: ControlVerb) -> String {
        format!("{}.broadcast.{}", self.root, verb.token())
    }

    /// Which agent is told what, on a subject of [`agent_all`](Self::agent_all).
    #[must_use]
    pub fn read_agent(&self, subject: &str) -> Option<(AgentName, ControlVerb)> {
        let (agent, verb) = self.below(subject, "agent")?.rsplit_once('.')?;
        Some((AgentName::new(agent).ok()?, ControlVerb::of(verb)?))
    }

    /// What all agents are told, on a subject of [`broadcast_all`](Self::broadcast_all).
    #[must_use]
    pub fn read_broadcast(&self, subject: &str) -> Option<ControlVerb> {
        ControlVerb::of(self.below(subject, "broadcast")?)
    }

    /// Where one hears how an agent is doing.
    #[must_use]
    pub fn status(&self, agent: &AgentName) -> String {
        format!("{}.status.{agent}", self.root)
    }

    /// Where one hears how agents are doing.
    #[must_use]
    pub fn status_all(&self) -> String {
        format!("{}.status.>", self.root)
    }

    /// Where one hears of an event: of a run, or of a worker.
    ///
    /// # Errors
    /// When the kind of the event can't be a token of a subject.
    pub fn event(&self, run: Option<RunId>, kind: &str) -> Result<String, InvalidName> {
        if is_token(kind, 64) {
            let whose = run.map_or_else(|| FLEET.to_owned(), |run| run.to_string());
            return Ok(format!("{}.event.{whose}.{kind}", self.root));
        }
        let allowed = "1 to 64 lower-case letters, digits, `-` or `_`";
        Err(InvalidName { name: kind.to_owned(), what: "a kind of event", allowed })
    }

    /// Where one hears of everything that happens.
    #[must_use]
    pub fn event_all(&self) -> String {
        format!("{}.event.>", self.root)
    }

    fn below<'s>(&self, subject: &'s str, area: &str) -> Option<&'s str> {
        let rest = subject.strip_prefix(self.root.as_str())?.strip_prefix('.')?;
        rest.strip_prefix(area)?.strip_prefix('.')
    }
}

/// The prefix of the coordinator's inboxes.
#[must_use]
pub fn coordinator_inbox() -> String {
    format!("_INBOX_{COORDINATOR}")
}

/// The prefix of the inboxes of whoever hands an invitation in. No worker can have a name in
/// capital letters.
#[must_use]
pub fn guest_inbox(invitation: &str) -> String {
    format!("_INBOX_GUEST_{invitation}")
}

/// Whether a reply subject is an inbox of whoever hands this invitation in.
#[must_use]
pub fn is_guest_inbox(reply: &str, invitation: &str) -> bool {
    is_below(reply, &guest_inbox(invitation))
}

/// The reply subject that says of a message that a coordinator sent it. Nobody else may use it,
/// and nobody answers.
#[must_use]
pub fn coordinator_mark() -> String {
    format!("_INBOX_{COORDINATOR}.none")
}

/// Whether a message's reply subject says that a coordinator sent it.
#[must_use]
pub fn is_from_coordinator(reply: Option<&str>) -> bool {
    reply.is_some_and(|reply| is_below(reply, &coordinator_inbox()))
}

/// Whether a reply subject of a client that is not ours is an inbox. Answers to anything else
/// would let anybody publish in the coordinator's name.
#[must_use]
pub fn is_inbox(reply: &str) -> bool {
    is_below(reply, "_INBOX")
}

fn is_below(subject: &str, prefix: &str) -> bool {
    let rest = subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['*', '>']))
}

/// Whether a name is one lower-case token.
pub(crate) fn is_token(name: &str, bytes_max: usize) -> bool {
    let sound = |byte: u8| is_name_byte(byte) && !byte.is_ascii_uppercase();
    name.len() <= bytes_max
        && name.bytes().all(sound)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str) -> Result<WorkerName, InvalidName> {
        WorkerName::new(&WorkerId(name.to_owned()))
    }

    #[test]
    fn subjects_are_read_as_they_were_made() {
        let subjects = Subjects::default();
        let one = worker("box-1").unwrap();
        for &verb in RpcVerb::ALL {
            let subject = subjects.rpc(&one, verb);
            assert_eq!(subjects.read_rpc(&subject), Some((one.clone(), verb)), "{subject}");
        }
        assert_eq!(subjects.read_output(&subjects.output(&one)), Some(one));
        let agent = AgentName::new("coder-1.2-7f3a").unwrap();
        for &verb in ControlVerb::ALL {
            let subject = subjects.agent(&agent, verb);
            assert_eq!(subjects.read_agent(&subject), Some((agent.clone(), verb)), "{subject}");
            assert_eq!(subjects.read_broadcast(&subjects.broadcast(verb)), Some(verb));
        }
        assert_eq!(
            subjects.agent(&agent, ControlVerb::Stop),
            "orchestrator.agent.coder-1.2-7f3a.stop"
        );
        assert_eq!(subjects.broadcast(ControlVerb::Stop), "orchestrator.broadcast.stop");
        assert_eq!(subjects.read_join(&subjects.join("0a1b")), Some("0a1b"));
        for subject in ["orchestrator.join", "orchestrator.join.", "orchestrator.join.a.b"] {
            assert_eq!(subjects.read_join(subject), None, "{subject}");
        }
        assert_eq!(subjects.status(&agent), "orchestrator.status.coder-1.2-7f3a");
    }

    #[test]
    fn other_subjects_are_not_ours() {
        let subjects = Subjects::default();
        for subject in [
            "",
            "orchestrator",
            "orchestrator.rpc",
            "orchestrator.rpc.w1",
            "orchestrator.rpc.w1.unknown",
            "orchestrator.rpc.w1.claim.more",
            "orchestrator.rpc.W1.claim",
            "orchestrator.rpc.coordinator.claim",
            "orchestrator.rpc..claim",
            "other.rpc.w1.claim",
            "orchestratorx.rpc.w1.claim",
        ] {
            assert_eq!(subjects.read_rpc(subject), None, "{subject}");
        }
        for subject in
            ["orchestrator.agent.stop", "orchestrator.agent..stop", "orchestrator.agent.a.b"]
        {
            assert_eq!(subjects.read_agent(subject), None, "{subject}");
        }
    }

    #[test]
    fn names_that_would_make_other_subjects_are_refused() {
        for name in ["", "a.b", "a*", ">", "a b", "-a", "_a", "A", "ä", "a\r\nb", "coordinator"] {
            assert!(worker(name).is_err(), "{name:?}");
        }
        assert!(worker(&"a".repeat(63)).is_ok());
        assert!(worker(&"a".repeat(64)).is_err());
        for name in ["", ".", "a..b", ".a", "a.", "a.*", "a.>", "a b"] {
            assert!(AgentName::new(name).is_err(), "{name:?}");
        }
        assert!(Root::new("a.b").is_err());
        assert!(Subjects::default().event(Some(RunId(1)), "task.failed").is_err());
    }

    #[test]
    fn an_agent_is_named_after_its_attempt() {
        let attempt = AttemptId { task: TaskId { run: RunId(42), index: 3 }, number: 1 };
        for (program, key, name) in [
            ("coder", "1.2", "coder-1.2-42-3-1"),
            ("Claude Code", "a_b..c.", "Claude-Code-a-b.c-42-3-1"),
            ("", "", "--42-3-1"),
            ("ü.", "7-8-9", "--7-8-9-42-3-1"),
        ] {
            let agent = AgentName::of(program, key, attempt);
            assert!(AgentName::new(agent.as_str()).is_ok(), "{agent}");
            assert_eq!(agent.attempt(), Some(attempt), "{agent}");
            if !program.contains('ü') {
                assert_eq!(agent.as_str(), name);
            }
        }
        for name in ["coder", "coder-1.2-7f3a", "1-2-99999999999", "a-1-2-+3"] {
            let agent = AgentName::new(name).ok();
            assert_eq!(agent.and_then(|agent| agent.attempt()), None, "{name}");
        }
    }

    #[test]
    fn inboxes_belong_to_one() {
        let one = worker("w1").unwrap();
        for (reply, owned) in [
            ("_INBOX_w1.abc.def", true),
            ("_INBOX_w1", false),
            ("_INBOX_w1.", false),
            ("_INBOX_w1.*", false),
            ("_INBOX_w10.abc", false),
            ("_INBOX_w2.abc", false),
            ("_INBOX.abc", false),
            ("orchestrator.worker.w1.poke", false),
        ] {
            assert_eq!(one.owns_inbox(reply), owned, "{reply}");
        }
        assert!(is_from_coordinator(Some(&coordinator_mark())));
        assert!(!is_from_coordinator(None));
        assert!(!is_from_coordinator(Some("$JS.ACK.orchestrator-work.coder.1.2.3.4.5")));
        assert!(is_guest_inbox("_INBOX_GUEST_abc.1", "abc"));
        assert!(!is_guest_inbox("_INBOX_GUEST_abcd.1", "abc"));
        assert!(!is_guest_inbox("_INBOX_abc.1", "abc"));
        assert!(is_inbox("_INBOX.abc"));
        assert!(!is_inbox("_INBOX_w1.abc"));
        assert!(!is_inbox("orchestrator.worker.w1.poke"));
    }
}

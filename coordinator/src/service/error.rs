//! Why the service can't do what is asked: one vocabulary for HTTP, CLI and tools.

use kapelle_bus::Refusal;
use kapelle_domain::engine::Rejection;

use crate::dispatch::Stopped;

/// A refusal or failure, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// A stable name of the trouble, such as `unknown_task`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

/// Kinds of trouble, as callers must tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What is asked for doesn't exist.
    NotFound,
    /// What is asked makes no sense.
    Invalid,
    /// It makes sense, but not now.
    Conflict,
    /// The coordinator can't record anything at this moment, or is ending.
    Unavailable,
    /// Something of ours failed.
    Internal,
}

impl Error {
    /// What is asked for doesn't exist.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::NotFound, code, message: message.into(), hint: None }
    }

    /// What is asked makes no sense.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, code, message: message.into(), hint: None }
    }

    /// It makes sense, but not now.
    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Conflict, code, message: message.into(), hint: None }
    }

    /// Something of ours failed.
    pub(crate) fn internal(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Internal, code, message: message.into(), hint: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        let message = stopped.to_string();
        Self { kind: Kind::Unavailable, code: "stopped", message, hint: None }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => Self::from(rejection),
            Refusal::Unavailable { reason } => {
                let message = format!("nothing can be recorded at this moment: {reason}");
                Self { kind: Kind::Unavailable, code: "store_unavailable", message, hint: None }
            }
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        let (kind, code, hint) = match rejection {
            Rejection::UnknownRun { .. } => {
                (Kind::NotFound, "unknown_run", Some("`kapelle runs` lists the runs"))
            }
            Rejection::UnknownTask { .. } => {
                (Kind::NotFound, "unknown_task", Some("`kapelle status` lists the tasks"))
            }
            Rejection::InvalidPlan { .. } => (Kind::Invalid, "invalid_plan", None),
            Rejection::InvalidRegistration { .. } => (Kind::Invalid, "invalid_registration", None),
            Rejection::PreferOther { .. } => (Kind::Conflict, "prefer_other", None),
            Rejection::UnknownWorker { .. } => (Kind::NotFound, "unknown_worker", None),
            Rejection::SupersededSession { .. } => (Kind::Conflict, "superseded_session", None),
            Rejection::ObsoleteOffer { .. } => (Kind::Conflict, "obsolete_offer", None),
            Rejection::Taken { .. } => (Kind::Conflict, "taken", None),
            Rejection::Ineligible { .. } => (Kind::Conflict, "ineligible", None),
            Rejection::Fenced { .. } => (Kind::Conflict, "fenced", None),
            Rejection::OutOfPlace { .. } => (Kind::Conflict, "out_of_place", None),
            Rejection::TaskEnded { .. } => (Kind::Conflict, "task_ended", None),
            Rejection::Claimed { .. } => {
                (Kind::Conflict, "claimed", Some("`kapelle status` shows who does what"))
            }
            Rejection::RunOpen { .. } => {
                (Kind::Conflict, "run_open", Some("`kapelle stop` ends it first"))
            }
            Rejection::NothingToResume { .. } => (Kind::Conflict, "nothing_to_resume", None),
            Rejection::RunEnded { .. } => (Kind::Conflict, "run_ended", None),
            Rejection::NothingMatches { .. } => (Kind::Conflict, "nothing_matches", None),
            Rejection::AttemptOver { .. } => (Kind::Conflict, "attempt_over", None),
            Rejection::BadRedirect { .. } => (Kind::Conflict, "bad_redirect", None),
            Rejection::TextLength { .. } => (Kind::Invalid, "text_length", None),
            Rejection::TooManyCommands { .. } => (Kind::Conflict, "too_many_commands", None),
        };
        Self { kind, code, message, hint: hint.map(str::to_owned) }
    }
}

impl From<kapelle_store::Error> for Error {
    fn from(error: kapelle_store::Error) -> Self {
        let message = kapelle_runtime::telemetry::Chain(&error).to_string();
        Self::internal("store", message)
    }
}

impl From<kapelle_git::Error> for Error {
    fn from(error: kapelle_git::Error) -> Self {
        Self::conflict("repository", kapelle_runtime::telemetry::Chain(&error).to_string())
    }
}

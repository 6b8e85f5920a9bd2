//! What can go wrong in front of the service, how it is told, and which exit code it has.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use kapelle_bus::nats::join::JoinError;
use kapelle_runtime::{config, telemetry};
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::host;
use crate::output::{Canvas, Tone, sanitize};

/// What the service, or this program in its place, has to say about a failure (RFC 9457).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The status of HTTP; absent when the failure is our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What is wrong.
    pub detail: String,
    /// A stable name for programs.
    pub code: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What caused it, from the outside in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Names the request in the coordinator's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The coordinator refuses or fails.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// No coordinator answers.
    #[error("cannot reach the coordinator at {place}")]
    Unreachable {
        /// Its socket or address.
        place: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// The coordinator's answer breaks off.
    #[error("the coordinator at {place} ended before the answer was complete")]
    BrokenOff {
        /// Its socket or address.
        place: String,
    },
    /// The coordinator answers something that isn't understood.
    #[error("the coordinator at {place} gave an answer that is not understood")]
    Garbled {
        /// Its socket or address.
        place: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// `KAPELLE_URL` or the address made from it is none.
    #[error("{url:?} is not the address of a coordinator: {reason}")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client for HTTP can't be made.
    #[error("cannot set up the connection to {place}")]
    Connection {
        /// The socket or address.
        place: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// A coordinator can't be run in this process.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The state database can't be worked on.
    #[error("cannot work on the state database")]
    Store(#[from] kapelle_store::Error),
    /// There is no repository here, or git can't be used.
    #[error("cannot use {} as a project", path.display())]
    Project {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: kapelle_git::Error,
    },
    /// This machine has not become a worker.
    #[error("this machine can't join the fleet")]
    Join(#[source] Box<JoinError>),
    /// The configuration is wrong.
    #[error("the configuration is not valid")]
    Config(#[from] config::Error),
    /// There is no roadmap.
    #[error("there is no roadmap in {}", root.display())]
    NoRoadmap {
        /// The root of the project.
        root: PathBuf,
    },
    /// A file can't be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What was typed makes no sense.
    #[error("{message}")]
    Usage {
        /// Why.
        message: String,
        /// How to mend it.
        hint: Option<String>,
    },
    /// There is nothing that fits.
    #[error("{message}")]
    Nothing {
        /// What was looked for.
        message: String,
        /// What could be done instead.
        hint: Option<String>,
    },
    /// Another program that this one starts can't be started.
    #[error("cannot start {program}")]
    Start {
        /// Which.
        program: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system refuses something that the program needs to run.
    #[error("cannot {action}")]
    System {
        /// What.
        action: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Logging can't be set up.
    #[error("cannot set up logging")]
    Log(#[from] telemetry::Error),
    /// Standard output can't be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Standard input can't be read.
    #[error("cannot read the answer from the terminal")]
    Input(#[source] io::Error),
    /// Data has no JSON form.
    #[error("cannot write the result as JSON")]
    Encode(#[source] serde_json::Error),
}

/// Codes of the service that mean that nobody can do the work.
const UNPLACEABLE: [&str; 4] = ["no_agent", "no_worker", "unknown_agent", "unplaceable"];

/// Codes of the service that mean that no work is there to do something with.
const NOTHING: [&str; 2] = ["nothing_available", "nothing_matches"];

impl Error {
    /// What was typed makes no sense.
    pub(crate) fn usage(message: impl Into<String>, hint: &str) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.to_owned()) }
    }

    /// A function for `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// The code that the program ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(problem) if UNPLACEABLE.contains(&problem.code.as_str()) => {
                Exit::Unplaceable
            }
            Self::Refused(problem) if NOTHING.contains(&problem.code.as_str()) => Exit::NotFound,
            Self::Refused(problem) => match problem.status {
                Some(400 | 422) => Exit::Usage,
                Some(401 | 403) => Exit::Auth,
                Some(404) => Exit::NotFound,
                Some(503) => Exit::Unreachable,
                Some(_) | None => Exit::Failure,
            },
            Self::Unreachable { .. } | Self::BrokenOff { .. } => Exit::Unreachable,
            Self::Host(error) => error.exit(),
            Self::Join(error) => match **error {
                JoinError::Expired | JoinError::Unknown { .. } | JoinError::Refused { .. } => {
                    Exit::Auth
                }
                JoinError::Nats(_) | JoinError::NoCoordinator => Exit::Unreachable,
                JoinError::Unsigned(_) | JoinError::Nonsense { .. } => Exit::Failure,
            },
            Self::Store(kapelle_store::Error::Locked { .. }) => Exit::Unreachable,
            Self::Store(kapelle_store::Error::Missing { .. }) => Exit::NotFound,
            Self::Address { .. }
            | Self::Project { .. }
            | Self::Config(_)
            | Self::Log(_)
            | Self::Usage { .. } => Exit::Usage,
            Self::NoRoadmap { .. } | Self::Nothing { .. } => Exit::NotFound,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Garbled { .. }
            | Self::Connection { .. }
            | Self::Store(_)
            | Self::File { .. }
            | Self::Start { .. }
            | Self::System { .. }
            | Self::Output(_)
            | Self::Input(_)
            | Self::Encode(_) => Exit::Failure,
        }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(problem) => &problem.code,
            Self::Unreachable { .. } => "unreachable",
            Self::BrokenOff { .. } => "broken_off",
            Self::Garbled { .. } => "garbled",
            Self::Address { .. } => "bad_address",
            Self::Connection { .. } => "connection",
            Self::Host(error) => error.code(),
            Self::Store(kapelle_store::Error::Locked { .. }) => "in_use",
            Self::Store(_) => "store",
            Self::Join(_) => "join",
            Self::Project { .. } => "no_project",
            Self::Config(_) => "invalid_config",
            Self::NoRoadmap { .. } => "no_roadmap",
            Self::File { .. } => "file",
            Self::Usage { .. } => "usage",
            Self::Nothing { .. } => "nothing",
            Self::Start { .. } => "start",
            Self::System { .. } => "system",
            Self::Log(_) => "log",
            Self::Output(_) => "output",
            Self::Input(_) => "input",
            Self::Encode(_) => "encode",
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            // The service speaks of headers; here the token comes from the environment.
            Self::Refused(_) if self.exit() == Exit::Auth => {
                "KAPELLE_AUTH_TOKEN must hold the coordinator's token; `kapelle up` says where it is"
            }
            Self::Refused(problem) => return problem.hint.clone(),
            Self::Host(error) => return error.hint(),
            Self::Join(error) => error.hint(),
            Self::Usage { hint, .. } | Self::Nothing { hint, .. } => return hint.clone(),
            Self::Config(error) => return error.place().and_then(|place| place.hint.clone()),
            Self::Unreachable { .. } => "`kapelle up` starts a coordinator that stays",
            Self::BrokenOff { .. } => "`kapelle resume` goes on with what was interrupted",
            Self::Garbled { .. } => {
                "are both of the same version? `kapelle version` shows this one"
            }
            Self::Address { .. } => "for example: KAPELLE_URL=http://127.0.0.1:7400",
            Self::Project { .. } => {
                "go to a git repository, or name one with -C; `kapelle demo` needs none"
            }
            Self::NoRoadmap { .. } => {
                "write one, such as ROADMAP.md, or name it in kapelle.yaml: project.roadmap"
            }
            Self::Store(kapelle_store::Error::Locked { .. }) => {
                "`kapelle down` ends a coordinator that stays, Ctrl-C one that follows a run"
            }
            Self::Store(kapelle_store::Error::OlderSchema { .. }) => "kapelle store migrate",
            Self::Connection { .. }
            | Self::Store(_)
            | Self::File { .. }
            | Self::Start { .. }
            | Self::System { .. }
            | Self::Log(_)
            | Self::Output(_)
            | Self::Input(_)
            | Self::Encode(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// What caused it, from the outside in.
    fn causes(&self) -> Vec<String> {
        if let Self::Config(error) = self {
            // It has the line of the file with it; the hint follows on its own.
            let mut rendered = error.to_string();
            if let Some(source) = error.source() {
                rendered = format!("{rendered}: {source}");
            }
            if let Some(snippet) = error.place().and_then(|place| place.snippet.as_deref()) {
                rendered = format!("{rendered}\n{snippet}");
            }
            return vec![rendered];
        }
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        causes
    }

    /// The failure for programs.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => Problem { hint: self.hint(), ..(**problem).clone() },
            other => Problem {
                kind: "about:blank".to_owned(),
                title: other.code().replace('_', " "),
                status: None,
                detail: other.to_string(),
                code: other.code().to_owned(),
                hint: other.hint(),
                causes: other.causes(),
                request_id: None,
            },
        }
    }

    /// The failure for people: `error: …`, `caused by: …`, `hint: …`.
    #[must_use]
    pub fn render(&self, canvas: &Canvas) -> String {
        let mut text =
            format!("{} {}", canvas.paint(Tone::Bad, "error:"), sanitize(&self.to_string()));
        for cause in self.causes() {
            let label = canvas.paint(Tone::Bad, "caused by:");
            text.push_str(&format_line(&label, &cause));
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format_line(&canvas.paint(Tone::Live, "hint:"), &hint));
        }
        text
    }
}

fn format_line(label: &str, text: &str) -> String {
    format!("\n{label} {}", sanitize(text).replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Error {
        Error::Refused(Box::new(Problem {
            status: Some(status),
            code: code.to_owned(),
            detail: "there is no task \u{1b}[31mr-9/1".to_owned(),
            hint: Some("`kapelle status` lists the tasks".to_owned()),
            ..Problem::default()
        }))
    }

    #[test]
    fn the_kind_of_refusal_decides_the_exit_code() {
        let check = |status, code: &str, exit| assert_eq!(refused(status, code).exit(), exit);
        check(400, "bad_json", Exit::Usage);
        check(401, "token", Exit::Auth);
        check(404, "unknown_task", Exit::NotFound);
        check(409, "run_open", Exit::Failure);
        check(409, "nothing_available", Exit::NotFound);
        check(409, "nothing_matches", Exit::NotFound);
        check(422, "invalid_plan", Exit::Usage);
        check(422, "unknown_agent", Exit::Unplaceable);
        check(503, "stopped", Exit::Unreachable);
        check(500, "store", Exit::Failure);
    }

    #[test]
    fn people_are_told_what_why_and_how_to_mend_it() {
        let canvas = Canvas::plain();
        insta::assert_snapshot!(refused(404, "unknown_task").render(&canvas), @"
        error: there is no task r-9/1
        hint: `kapelle status` lists the tasks
        ");
        let io = io::Error::from(io::ErrorKind::PermissionDenied);
        insta::assert_snapshot!(Error::file("write", "kapelle.yaml")(io).render(&canvas), @"
        error: cannot write kapelle.yaml
        caused by: permission denied
        ");
    }

    #[test]
    fn programs_get_a_problem_object() {
        let problem = Error::usage("that is no id", "try r-1").problem();
        insta::assert_json_snapshot!(problem, @r#"
        {
          "type": "about:blank",
          "title": "usage",
          "detail": "that is no id",
          "code": "usage",
          "hint": "try r-1"
        }
        "#);
    }
}

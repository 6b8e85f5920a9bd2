//! The scripted agent: a real process that plays a script. It stands where an agent with a model
//! would stand, in demonstrations and in tests, and does on purpose what such agents do by
//! accident: flood, fork, hang, fail. It speaks [`agent_line`](crate::agent_line). How it is
//! supervised is the worker's business, as for any other agent.
//!
//! ```yaml
//! version: 1
//! steps:
//!   - think: "{{name}} needs a file"
//!   - write: {path: "src/{{stream}}.txt", content: "first try\n"}
//!   - when:
//!       attempt: 2
//!       then:
//!         - edit: {path: "src/{{stream}}.txt", find: first, replace: second}
//!       else:
//!         - wait: {for: feedback, timeout_ms: 5000}
//!   - run: {command: [cargo, test]}
//!   - usage: {input_tokens: 1200, output_tokens: 80}
//!   - commit: {message: "feat: {{name}}"}
//! streams:
//!   "2.1":
//!     - fail: {message: "this one is beyond me"}
//! ```
//!
//! [`Step`] lists all steps. A script that comes to its end has completed its task; a step that
//! does not succeed fails it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

mod inbox;
mod player;
mod script;
mod template;

pub use script::{
    Ambiguous, Ask, CommandLine, Commit, Delete, Edit, Exit, Fail, Flood, FloodStream, Fork,
    NoCondition, Run, Script, Step, Usage, Wait, When, Write,
};
pub use template::{Template, UnknownPlaceholder};

/// The hidden role that plays a script.
pub const ROLE: &str = "__scripted";

/// Exit code for a script that cannot be played.
const BAD_SCRIPT: u8 = 2;

/// Plays the script that is named behind [`ROLE`], or returns `None` when that is not the first
/// argument. `args` are those of the process, its name included.
///
/// What the script may refer to comes from the environment that the worker gives to every agent;
/// see `docs/agent-protocol.md`.
#[must_use]
pub fn scripted_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != ROLE {
        return None;
    }
    let code = match args.next().map(PathBuf::from).ok_or(Error::NoScript).and_then(load) {
        Ok(script) => player::play(&script),
        Err(error) => {
            complain(&error);
            BAD_SCRIPT
        }
    };
    Some(ExitCode::from(code))
}

fn load(path: PathBuf) -> Result<Script, Error> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Script::parse(&text).map_err(|source| Error::Invalid { path, source }),
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// Tells whoever reads standard error, if anybody does.
fn complain(error: &Error) {
    let mut stderr = io::stderr().lock();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut lead = "scripted agent";
    while let Some(error) = cause {
        write!(stderr, "{lead}: {error}").ok();
        lead = "";
        cause = error.source();
    }
    writeln!(stderr).ok();
}

/// Why a script cannot be played.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No script was named.
    #[error("no script: name one after {ROLE}")]
    NoScript,
    /// The file cannot be read.
    #[error("cannot read the script {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no script.
    #[error("cannot play the script {}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ScriptError,
    },
}

/// Why a text is no script.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// It is no YAML, or not of the form of a script. Displays the place of the mistake.
    #[error(transparent)]
    Malformed(Box<serde_saphyr::Error>),
    /// It is of a version that is not known here.
    #[error("version {found} is not known: write `version: {}`", script::VERSION)]
    Version {
        /// The version it names.
        found: u32,
    },
}

//! The `kapelle` program: commands in front of the service, and nothing that the service decides.
//!
//! Every command speaks HTTP to a coordinator ([`client`]): to the one at `KAPELLE_URL`, to the
//! one behind the project's socket, or to one that it runs itself for as long as it needs it
//! ([`host`]). What comes back is shown by pure renderings ([`render`]) on a [`output::Console`].

pub mod app;
pub mod args;
pub mod client;
pub mod commands;
pub mod error;
pub mod exit;
pub mod follow;
pub mod host;
pub mod interrupt;
pub mod joined;
pub mod output;
pub mod project;
pub mod render;
pub mod secret_file;
pub mod service_manager;
pub mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kapelle_runtime::clock::Clock;
use kapelle_runtime::identity::Identity;
use kapelle_runtime::telemetry::{self, Target};

use app::App;
use args::{Cli, Command};
use error::{Error, Problem};
use exit::Exit;
use output::{Console, to_json};

/// Runs the program with its arguments, its own name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Cli { global, command } = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let clock = Clock::system();
    let app = App {
        console: Console::new(global.settings(), &environment, clock.clone()),
        identity: Identity::new(clock.clone()),
        clock,
        directory: global.project.unwrap_or_else(|| PathBuf::from(".")),
        log_file: global.log_file.filter(|file| !file.as_os_str().is_empty()),
        environment,
    };
    match start(command, &app) {
        Ok(exit) => exit.into(),
        Err(error) => {
            app.console.fail(&error);
            error.exit().into()
        }
    }
}

fn start(command: Option<Command>, app: &App) -> Result<Exit, Error> {
    let stays =
        matches!(command, Some(Command::Up(_) | Command::Coordinator(_) | Command::Worker(_)));
    let target = match &app.log_file {
        Some(path) => Target::File(path.clone()),
        None if app.console.is_json() => Target::Json,
        None => Target::Human { color: app.console.err().color },
    };
    // Whoever looks at progress must not be disturbed by lines that say the same. What the NATS
    // library tells of itself we say better.
    let usual = if stays || app.log_file.is_some() { "info,async_nats=warn" } else { "off" };
    telemetry::install(&telemetry::Settings {
        target,
        filter: telemetry::filter_from(|name| app.variable(name), usual),
        clock: app.clock.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { action: "start the runtime", source })?;
    runtime.block_on(commands::run(command, app))
}

/// Tells what is wrong with the arguments, or the help that was asked for.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let wants_json = |argument: &OsString| {
        argument == "--json" || argument == "-ojson" || argument == "--output=json"
    };
    if error.use_stderr() && arguments.iter().any(wants_json) {
        let rendered = error.render().to_string();
        let mut lines = rendered.lines().filter(|line| !line.is_empty());
        let detail = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: "usage".to_owned(),
            detail,
            code: "usage".to_owned(),
            hint: Some("kapelle help".to_owned()),
            ..Problem::default()
        };
        if let Ok(json) = to_json(&problem, true) {
            // When nobody listens there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{json}");
        }
        return Exit::Usage.into();
    }
    // A closed pipe is the reader's choice.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
}

//! A coordinator in a process of its own, for work that is to outlive this terminal.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::app::App;
use crate::client::{Client, is_nobody_there};
use crate::error::Error;
use crate::host::Connection;
use crate::project::Project;

/// How long the new process may take until it answers.
const START_MAX_MS: i64 = 20_000;
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Connects to the coordinator of `project`; starts one in the background when none runs.
pub(super) async fn connect(app: &App, project: &Project) -> Result<Connection, Error> {
    let client = Client::socket(&project.socket())?.with_texts(app.texts());
    match client.health().await {
        Err(error) if is_nobody_there(&error) => start(app, project, &client).await?,
        health => drop(health?),
    }
    Ok(Connection { client, hosted: None })
}

async fn start(app: &App, project: &Project, client: &Client) -> Result<(), Error> {
    let log = project.state_directory().join("logs/background.log");
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    }
    let out = File::create(&log).map_err(Error::file("write", &log))?;
    let err = out.try_clone().map_err(Error::file("write", &log))?;
    let program = std::env::current_exe()
        .map_err(|source| Error::System { action: "find itself", source })?;
    let mut child = Command::new(&program)
        .arg("-C")
        .arg(project.root())
        .args(["up", "--until-idle", "--no-input", "--color", "never"])
        .args(app.log_file.iter().flat_map(|file| [OsStr::new("--log-file"), file.as_os_str()]))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // Ctrl-C in this terminal is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Start { program: program.display().to_string(), source })?;
    let began = app.clock.now();
    loop {
        match client.health().await {
            Ok(_) => return Ok(()),
            Err(error) if !is_nobody_there(&error) => return Err(error),
            Err(error) => {
                let ended = child.try_wait();
                let gone = matches!(ended, Ok(Some(_)) | Err(_));
                if gone || app.clock.now() - began > START_MAX_MS {
                    app.console.hint(&format!("what it said is in {}", log.display()));
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

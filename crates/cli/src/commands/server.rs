//! `kapelle up` and `down`: a coordinator that stays.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use crate::app::App;
use crate::client::{Client, is_nobody_there};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::{self, Hosted, How, Need};
use crate::interrupt::Interrupts;
use crate::output::Tone;
use crate::project::Project;

/// How often `down` looks whether the process has gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often `up --until-idle` looks whether there is still something to do.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// How many idle looks in a row end it.
const IDLE_LOOKS: u32 = 2;
/// The same before the first run, which somebody is about to submit.
const IDLE_LOOKS_AT_START: u32 = 60;

/// What `up` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle up
  KAPELLE__SERVER__LISTEN=127.0.0.1:7400 kapelle up   over TCP too, with a token

Other commands find it by themselves. Ctrl-C drains: what runs may finish; twice stops it now.")]
pub struct UpArgs {
    /// End when no run has been open for a while
    #[arg(long, hide = true)]
    until_idle: bool,
}

/// What `down` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle down                 what runs may finish
  kapelle stop --all && kapelle down")]
pub struct DownArgs {
    /// Return at once, without waiting until it has ended
    #[arg(long)]
    no_wait: bool,
}

impl UpArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let project = app.project().await?;
        let connection = app.connect_to(&project, Need::Work("up")).await?;
        let Some(hosted) = connection.hosted else {
            let health = connection.client.health().await?;
            return Err(host::Error::RunsAlready { pid: health.pid, role: health.role }.into());
        };
        greet(app, &project)?;
        let mut interrupts = Interrupts::listen()?;
        tokio::select! {
            () = interrupts.next() => {
                app.console.note("Draining: what runs may finish. Ctrl-C again stops it now.");
            }
            () = hosted.ended() => {}
            idle = idle(&connection.client), if self.until_idle => idle?,
        }
        end(&hosted, &mut interrupts).await
    }
}

pub(super) async fn end(hosted: &Hosted, interrupts: &mut Interrupts) -> Result<Exit, Error> {
    let ending = tokio::select! {
        ending = hosted.finish(How::Drain) => ending?,
        () = interrupts.next() => hosted.finish(How::Stop).await?,
    };
    Ok(if ending.failed { Exit::Failure } else { Exit::Ok })
}

pub(super) fn greet(app: &App, project: &Project) -> Result<(), Error> {
    let canvas = app.console.out();
    let mut text = format!(
        "{} {}\n  socket  {}\n",
        canvas.paint(Tone::Good, "Kapelle is up in"),
        project.root().display(),
        project.socket().display()
    );
    if let Some(address) = project.config().server.listen {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  address http://{address}\n  token   in {}",
            project.token_file().display()
        );
    }
    app.console.data(&text)
}

/// Returns when no run is open any more, or none has been opened for long after the start.
async fn idle(client: &Client) -> Result<(), Error> {
    let mut patience = IDLE_LOOKS_AT_START;
    loop {
        tokio::time::sleep(IDLE_EVERY).await;
        if !client.status().await?.open_runs.is_empty() {
            patience = IDLE_LOOKS;
        } else if patience == 0 {
            return Ok(());
        } else {
            patience -= 1;
        }
    }
}

impl DownArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let client = app.client().await?;
        match client.shutdown().await {
            Err(error) if is_nobody_there(&error) => {
                app.console.note("No coordinator is up.");
                return Ok(Exit::Ok);
            }
            result => result?,
        }
        if self.no_wait {
            return Ok(Exit::Ok);
        }
        app.console.note("Draining: waiting for what runs; `kapelle stop` ends it now.");
        loop {
            match client.health().await {
                Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
                // It has ended, or is about to and doesn't listen any more.
                Err(Error::Unreachable { .. } | Error::BrokenOff { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        app.console.note("Kapelle is down.");
        Ok(Exit::Ok)
    }
}

//! `kapelle status`.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::Format;

/// How often ages are brought up to date while somebody watches.
const REFRESH: Duration = Duration::from_secs(1);

/// What `status` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle status
  kapelle status -w            keep it on the screen
  kapelle status -q            the ids of what can be started
  kapelle status -o json | jq '.streams[] | select(.available)'")]
pub struct StatusArgs {
    /// Keep it up to date until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

impl StatusArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        app.with(Need::Read, async |client: &Client| {
            if self.watch {
                return watch(app, client).await;
            }
            let status = client.status().await?;
            app.console.show(&status)?;
            if let (Some(run), []) = (status.open_runs.first(), status.workers.as_slice()) {
                let id = &run.id;
                app.console.hint(&format!("nobody works on {id} now; kapelle resume {id} goes on"));
            }
            Ok(Exit::Ok)
        })
        .await
    }
}

async fn watch(app: &App, client: &Client) -> Result<Exit, Error> {
    let mut events = Box::pin(client.watch(None, None).await?);
    let mut tick = tokio::time::interval(REFRESH);
    let redraws = app.console.format() == Format::Table && app.console.out().width.is_some();
    let mut shown = None;
    loop {
        let status = client.status().await?;
        // Programs are told of changes only, people see time go by.
        if redraws || shown.as_ref() != Some(&status) {
            match app.console.format() {
                Format::Table if redraws => app.console.data("\x1b[H\x1b[2J")?,
                Format::Table | Format::Json | Format::Ndjson | Format::Name => {}
            }
            if app.console.is_json() {
                app.console.row(&status)?;
            } else {
                app.console.show(&status)?;
            }
            shown = Some(status);
        }
        if app.console.is_closed() {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            event = events.next() => match event {
                Some(Err(error)) => return Err(error),
                None => return Ok(Exit::Ok),
                // Many events come at once; one look at the whole is enough for all of them.
                Some(Ok(_)) => { tick.tick().await; }
            },
            _ = tick.tick(), if redraws => {}
        }
    }
}

//! `kapelle events`.

use clap::Args;
use futures_util::StreamExt as _;

use crate::app::App;
use crate::client::{Client, Watched};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::Format;
use crate::render::event_line;
use crate::view::EventView;

/// Events that are asked for at once.
const PAGE: u32 = 500;

/// What `events` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle events               all there are
  kapelle events -f            and those to come, until Ctrl-C
  kapelle events -f --run r-42 --json
  kapelle events --after 3.1200 -o ndjson

With --json each line is one event; its `id` is what --after takes.")]
pub struct EventsArgs {
    /// Go on with those that happen from now on
    #[arg(short, long)]
    follow: bool,
    /// Only those of one run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only those after this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

impl EventsArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        app.with(Need::Read, async |client: &Client| self.print(app, client).await).await
    }

    async fn print(&self, app: &App, client: &Client) -> Result<Exit, Error> {
        let run = self.run.as_deref();
        let mut after = self.after.clone();
        loop {
            let page = client.events(after.as_deref(), PAGE, run).await?;
            for event in &page.events {
                print(app, event)?;
            }
            let done = page.events.is_empty() || after.as_ref() == Some(&page.next);
            after = Some(page.next);
            if app.console.is_closed() {
                return Ok(Exit::Ok);
            }
            if done {
                break;
            }
        }
        if self.follow { follow(app, client, after, run).await } else { Ok(Exit::Ok) }
    }
}

async fn follow(
    app: &App,
    client: &Client,
    mut after: Option<String>,
    run: Option<&str>,
) -> Result<Exit, Error> {
    let mut stream = Box::pin(client.watch(after.as_deref(), run).await?);
    loop {
        match stream.next().await {
            Some(Ok(Watched::Event(event))) => {
                print(app, &event)?;
                after = Some(event.id);
            }
            Some(Ok(Watched::Reset)) => app
                .console
                .warn("the log is another one than before; what happened in between is not shown"),
            // Once more from where we are; if that fails too, the coordinator has ended.
            Some(Err(Error::BrokenOff { .. })) | None => {
                stream = Box::pin(client.watch(after.as_deref(), run).await?);
            }
            Some(Err(error)) => return Err(error),
        }
        if app.console.is_closed() {
            return Ok(Exit::Ok);
        }
    }
}

fn print(app: &App, event: &EventView) -> Result<(), Error> {
    match app.console.format() {
        Format::Json | Format::Ndjson => app.console.row(event),
        Format::Table => app.console.data(&(event_line(&app.console.out(), event) + "\n")),
        Format::Name => app.console.data(&format!("{}\n", event.id)),
    }
}

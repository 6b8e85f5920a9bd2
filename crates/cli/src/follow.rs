//! Follows a run until it ends, or until somebody has seen enough.
//!
//! Events say what changed, a fresh look at the run says how things stand; one line is printed for
//! each change, and on a terminal the running tasks are redrawn below. What Ctrl-C does depends on
//! where the coordinator is: elsewhere, the run goes on without us; in this process, it drains.

mod display;
mod picture;

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::App;
use crate::client::{Client, Watched};
use crate::error::Error;
use crate::host::{Connection, Hosted, How};
use crate::interrupt::Interrupts;
use crate::output::{Format, plural};
use crate::view::{EventView, RunDetail, StopRequest};
use display::Display;
use picture::Picture;

/// How often running lines are redrawn.
const REDRAW: Duration = Duration::from_millis(250);
/// How often the run is looked at anew when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look at a run of thousands of tasks takes long: this many times as long nobody looks again.
const LOOK_REST: u32 = 20;
/// How long a second Ctrl-C is waited for.
const SECOND_INTERRUPT: Duration = Duration::from_secs(2);
/// How often a broken event stream is taken up again before it is given up.
const RECONNECTS_MAX: u32 = 5;
/// How long between two of them.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// How long the last events of a run that has ended may be on their way.
const LAST_EVENTS: Duration = Duration::from_millis(300);
/// How long a task may be ready without any worker for it before we stop waiting.
const UNPLACEABLE_AFTER_MS: i64 = 10_000;

/// How following came to its end.
#[derive(Debug)]
pub enum Followed {
    /// The run has ended.
    Ended(Box<RunDetail>),
    /// No worker has an agent for what is left; these are the agents.
    Unplaceable(Vec<String>),
    /// We left; the run goes on.
    Detached,
    /// The run was told to stop.
    Stopped,
    /// The coordinator of this process has drained.
    Drained {
        /// Whether the run ended meanwhile; otherwise it can be resumed.
        ended: bool,
    },
}

/// Why nothing more will happen.
enum End {
    Run,
    Unplaceable(Vec<String>),
    Coordinator,
}

type Entries = Pin<Box<dyn Stream<Item = Result<Watched, Error>> + Send>>;

/// Watches events from before a run is submitted, so that none of it is missed.
pub struct Follower<'a> {
    app: &'a App,
    connection: &'a Connection,
    entries: Entries,
    /// The newest event seen, to go on from.
    last: Option<String>,
    reconnects: u32,
}

impl std::fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("last", &self.last).finish_non_exhaustive()
    }
}

impl<'a> Follower<'a> {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the coordinator can't be reached.
    pub async fn start(app: &'a App, connection: &'a Connection) -> Result<Self, Error> {
        let entries: Entries = Box::pin(connection.client.watch(None, None).await?);
        Ok(Self { app, connection, entries, last: None, reconnects: 0 })
    }

    fn client(&self) -> &'a Client {
        &self.connection.client
    }

    /// Follows the run.
    ///
    /// # Errors
    /// When the coordinator can't be reached any more.
    pub async fn follow(&mut self, run: &str) -> Result<Followed, Error> {
        let mut interrupts = Interrupts::listen()?;
        let mut picture = Picture::new(self.client().run(run).await?);
        let mut display = Display::new(&self.app.console);
        let hosted = self.connection.hosted.as_ref();
        // Ctrl-C must be heard whatever is being waited for.
        let end = tokio::select! {
            end = self.watch(&mut picture, &mut display) => Some(end?),
            () = ended(hosted) => Some(End::Coordinator),
            () = interrupts.next() => None,
        };
        match end {
            None => self.interrupted(&mut interrupts, picture, display).await,
            Some(end) => {
                display.finish();
                Ok(match end {
                    End::Run => Followed::Ended(Box::new(picture.into_detail())),
                    End::Unplaceable(agents) => Followed::Unplaceable(agents),
                    End::Coordinator => Followed::Drained { ended: picture.has_ended() },
                })
            }
        }
    }

    /// Shows what happens until nothing more will.
    async fn watch(
        &mut self,
        picture: &mut Picture,
        display: &mut Display<'_>,
    ) -> Result<End, Error> {
        let run = picture.run_id().to_owned();
        let mut redraw = tokio::time::interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stale = false;
        let (mut looked, mut rest) = (Instant::now(), REDRAW);
        loop {
            if picture.has_ended() {
                self.catch_up(picture, display).await?;
                return Ok(End::Run);
            }
            tokio::select! {
                entry = self.entries.next() => stale |= self.take(entry, picture, display).await?,
                // Events come in bursts; one look at the run is enough for all of them.
                _ = redraw.tick() => {
                    let pause = if stale { rest } else { rest.max(LOOK_EVERY) };
                    if looked.elapsed() >= pause {
                        let begun = Instant::now();
                        picture.look(self.client().run(&run).await?);
                        looked = Instant::now();
                        rest = looked.duration_since(begun).saturating_mul(LOOK_REST);
                        stale = false;
                    }
                    display.draw(picture);
                    if let Some(agents) = self.unplaceable(picture).await? {
                        return Ok(End::Unplaceable(agents));
                    }
                }
            }
        }
    }

    /// Tells what is still on its way of a run that has ended.
    async fn catch_up(&mut self, picture: &Picture, display: &Display<'_>) -> Result<(), Error> {
        while let Ok(Some(Ok(Watched::Event(event)))) =
            tokio::time::timeout(LAST_EVENTS, self.entries.next()).await
        {
            self.tell(&event, picture, display)?;
            if event.kind == "run_finished" && picture.concerns(&event) {
                break;
            }
        }
        Ok(())
    }

    /// Prints what an event says; whether the run must be looked at anew.
    async fn take(
        &mut self,
        entry: Option<Result<Watched, Error>>,
        picture: &Picture,
        display: &Display<'_>,
    ) -> Result<bool, Error> {
        match entry {
            Some(Ok(Watched::Event(event))) => {
                self.reconnects = 0;
                self.last = Some(event.id.clone());
                self.tell(&event, picture, display)
            }
            Some(Ok(Watched::Reset)) => Ok(true),
            Some(Err(Error::BrokenOff { .. })) | None => {
                self.reconnect().await?;
                Ok(true)
            }
            Some(Err(error)) => Err(error),
        }
    }

    fn tell(
        &self,
        event: &EventView,
        picture: &Picture,
        display: &Display<'_>,
    ) -> Result<bool, Error> {
        if !picture.concerns(event) {
            return Ok(false);
        }
        if self.app.console.format() == Format::Ndjson {
            self.app.console.row(event)?;
        }
        if let Some(line) = picture.line(&display.canvas(), event, display.is_live()) {
            display.line(&line);
        }
        Ok(true)
    }

    /// Takes up the event stream where it broke off.
    async fn reconnect(&mut self) -> Result<(), Error> {
        loop {
            self.reconnects += 1;
            match self.client().watch(self.last.as_deref(), None).await {
                Ok(entries) => {
                    self.entries = Box::pin(entries);
                    return Ok(());
                }
                Err(error) if self.reconnects >= RECONNECTS_MAX => return Err(error),
                Err(_) => tokio::time::sleep(RECONNECT_AFTER).await,
            }
        }
    }

    /// The agents that no worker has, when nothing can go on without them.
    async fn unplaceable(&self, picture: &Picture) -> Result<Option<Vec<String>>, Error> {
        let now = self.app.clock.now();
        let wanted = picture.waits_for_agents(now - UNPLACEABLE_AFTER_MS);
        if wanted.is_empty() {
            return Ok(None);
        }
        // It says so itself, and ends soon.
        if self.client().health().await?.is_draining() {
            return Ok(None);
        }
        let workers = self.client().workers().await?;
        let placeable = |agent: &String| {
            workers.iter().any(|worker| {
                worker.duty == crate::view::WorkerDuty::Active && worker.agents.contains(agent)
            })
        };
        Ok((!wanted.iter().any(placeable)).then_some(wanted))
    }

    async fn interrupted(
        &mut self,
        interrupts: &mut Interrupts,
        picture: Picture,
        display: Display<'_>,
    ) -> Result<Followed, Error> {
        match &self.connection.hosted {
            Some(hosted) => self.drain(hosted, interrupts, picture, display).await,
            None => self.detach(interrupts, &picture, display).await,
        }
    }

    /// Leaves the run to its coordinator, or stops it when Ctrl-C is pressed again.
    async fn detach(
        &self,
        interrupts: &mut Interrupts,
        picture: &Picture,
        display: Display<'_>,
    ) -> Result<Followed, Error> {
        display.finish();
        let run = picture.run_id();
        let console = &self.app.console;
        console.note(&format!(
            "\n{run} goes on without this terminal. Come back: kapelle resume {run}. \
             Stop it: kapelle stop {run}, or Ctrl-C again within 2 s."
        ));
        tokio::select! {
            () = interrupts.next() => {
                let reason = Some("Ctrl-C".to_owned());
                let request = StopRequest { id: Some(run.to_owned()), except: Vec::new(), reason };
                self.client().stop(&request).await?;
                Ok(Followed::Stopped)
            }
            () = tokio::time::sleep(SECOND_INTERRUPT) => Ok(Followed::Detached),
        }
    }

    /// Lets the running agents finish, or stops them when Ctrl-C is pressed again.
    async fn drain(
        &mut self,
        hosted: &Hosted,
        interrupts: &mut Interrupts,
        mut picture: Picture,
        mut display: Display<'_>,
    ) -> Result<Followed, Error> {
        let working = plural(picture.working(), "agent");
        display.line(&format!(
            "Nothing new is started; {working} at work may finish. Ctrl-C again stops them now."
        ));
        let mut drained = std::pin::pin!(hosted.finish(How::Drain));
        let mut redraw = tokio::time::interval(REDRAW);
        let mut watching = true;
        let ending = loop {
            tokio::select! {
                ending = &mut drained => break ending,
                () = interrupts.next() => {
                    display.line("Stopping the agents now.");
                    break hosted.finish(How::Stop).await;
                }
                entry = self.entries.next(), if watching => match entry {
                    Some(Ok(Watched::Event(event))) => {
                        self.tell(&event, &picture, &display)?;
                        // The coordinator may be too far gone to be asked.
                        picture.apply(&event);
                    }
                    Some(Ok(Watched::Reset)) => {}
                    Some(Err(_)) | None => watching = false,
                },
                _ = redraw.tick() => display.draw(&picture),
            }
        };
        display.finish();
        ending?;
        Ok(Followed::Drained { ended: picture.has_ended() })
    }
}

/// Returns when the coordinator of this process ends for another reason than us.
async fn ended(hosted: Option<&Hosted>) {
    match hosted {
        Some(hosted) => hosted.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

//! `kapelle run`, `parallel` and `batch`: starting work, and following it to its end.

mod background;
mod ending;

use clap::Args;
pub(super) use ending::tell;
use kapelle_domain::placement::{Constraint, MalformedConstraint};
use kapelle_runtime::config::{Config, Mode};

use crate::app::App;
use crate::client::is_cut_off;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::{Followed, Follower};
use crate::host::{Connection, How, Need};
use crate::output::Format;
use crate::view::{RunAccepted, RunRequest, Selection};

/// How work is to be done.
#[derive(Debug, Default, Clone, Args)]
pub struct Manner {
    /// Use this agent instead of the configured one
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// What workers must be like: gpu, 'memory_gb>=16'
    ///
    /// A constraint on their labels; may be given several times.
    #[arg(long, value_name = "CONSTRAINT", value_parser = constraint)]
    pub needs: Vec<String>,
    /// Leave out the checks
    #[arg(long)]
    pub no_verify: bool,
    /// Only say what would be run
    #[arg(long)]
    pub dry_run: bool,
    /// Start it in the background and return at once
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
}

/// Checked here so that a slip of the pen is said before anything is started.
fn constraint(text: &str) -> Result<String, MalformedConstraint> {
    text.parse::<Constraint>().map(|constraint| constraint.to_string())
}

const CONCURRENCY: std::ops::RangeInclusive<i64> = 1..=1_000;

/// What `run` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle run                  the next available work stream
  kapelle run 1.2
  kapelle run 1.2 1.3 --agent codex
  kapelle run --dry-run")]
pub struct RunArgs {
    /// Which work streams; without, as run.mode in kapelle.yaml says: the next one
    ids: Vec<String>,
    #[command(flatten)]
    manner: Manner,
}

/// What `parallel` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle parallel
  kapelle parallel -n 5")]
pub struct ParallelArgs {
    /// How many; run.concurrency in kapelle.yaml (3) without
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u32).range(CONCURRENCY))]
    count: Option<u32>,
    #[command(flatten)]
    manner: Manner,
}

/// What `batch` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle batch
  kapelle batch -n 3 --detach")]
pub struct BatchArgs {
    /// How many at once; run.concurrency in kapelle.yaml (3) without
    #[arg(short = 'n', long = "concurrency", value_name = "N", value_parser = clap::value_parser!(u32).range(CONCURRENCY))]
    concurrency: Option<u32>,
    #[command(flatten)]
    manner: Manner,
}

impl RunArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let wish = if self.ids.is_empty() { Wish::AsConfigured } else { Wish::Streams(self.ids) };
        start(app, wish, self.manner, None).await
    }
}

impl ParallelArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        start(app, Wish::Parallel(self.count), self.manner, None).await
    }
}

impl BatchArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        start(app, Wish::Batch(self.concurrency), self.manner, None).await
    }
}

/// What somebody wants to be run; what isn't said is as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// What `run.mode` says.
    AsConfigured,
    /// Exactly these.
    Streams(Vec<String>),
    /// Up to so many at once.
    Parallel(Option<u32>),
    /// Everything, up to so many at once.
    Batch(Option<u32>),
    /// What a goal was understood to mean, and how many at once.
    Goal(Selection, Option<u32>),
}

impl Wish {
    /// The command that says it.
    fn command(&self) -> &'static str {
        match self {
            Self::AsConfigured | Self::Streams(_) => "run",
            Self::Parallel(_) => "parallel",
            Self::Batch(_) => "batch",
            Self::Goal(..) => "goal",
        }
    }

    /// What to ask the service for. Without a project at hand the defaults hold.
    pub(super) fn select(self, config: Option<&Config>) -> (Selection, Option<u32>) {
        let run = config.map(|config| config.run.clone()).unwrap_or_default();
        let parallel = |count: Option<u32>| {
            let count = count.unwrap_or(run.concurrency);
            (Selection::Parallel { count }, Some(count))
        };
        match self {
            Self::Streams(ids) => (Selection::Streams { ids }, None),
            Self::Parallel(count) => parallel(count),
            Self::Batch(concurrency) => (Selection::Batch { exclude: Vec::new() }, concurrency),
            Self::Goal(select, concurrency) => (select, concurrency),
            Self::AsConfigured => match run.mode {
                Mode::Single => (Selection::Next {}, None),
                Mode::Parallel => parallel(None),
                Mode::Batch => (Selection::Batch { exclude: Vec::new() }, None),
            },
        }
    }
}

/// Starts work and follows it to its end, or leaves it to a coordinator in the background.
pub(super) async fn start(
    app: &App,
    wish: Wish,
    manner: Manner,
    goal: Option<String>,
) -> Result<Exit, Error> {
    let remote = app.remote()?;
    let project = if remote.is_none() { Some(app.project().await?) } else { None };
    let config = project.as_ref().map(|project| project.config());
    let dry_run = manner.dry_run || config.is_some_and(|config| config.run.dry_run);
    let detach = manner.detach;
    let command = wish.command();
    let request = request(app, wish.select(config), manner, goal, dry_run);
    let connection = match (remote, &project) {
        (None, Some(project)) if detach => background::connect(app, project).await?,
        (None, Some(project)) => {
            let need = if dry_run { Need::Read } else { Need::Work(command) };
            app.connect_to(project, need).await?
        }
        (Some(client), _) => Connection { client, hosted: None },
        (None, None) => app.connect(Need::Work(command)).await?,
    };
    if dry_run || detach {
        let result = submit_only(app, &connection, &request).await;
        return finish(connection, result).await;
    }
    let mut run = None;
    let result = submit_and_follow(app, &connection, &request, &mut run).await;
    take_over_when_cut_off(app, connection, result, run).await
}

fn request(
    app: &App,
    (select, concurrency): (Selection, Option<u32>),
    manner: Manner,
    goal: Option<String>,
    dry_run: bool,
) -> RunRequest {
    RunRequest {
        select,
        agent: manner.agent,
        needs: manner.needs,
        concurrency,
        no_verify: manner.no_verify,
        dry_run,
        goal,
        key: Some(app.identity.mint()),
    }
}

/// Ends a coordinator of this process, whatever came before. What came before matters more.
pub(super) async fn finish(
    connection: Connection,
    result: Result<Exit, Error>,
) -> Result<Exit, Error> {
    if let Some(hosted) = connection.hosted {
        let ending = hosted.finish(How::Drain).await;
        if result.is_ok() && ending?.failed {
            return Ok(Exit::Failure);
        }
    }
    result
}

async fn submit_only(
    app: &App,
    connection: &Connection,
    request: &RunRequest,
) -> Result<Exit, Error> {
    let accepted = connection.client.submit(request).await?;
    app.console.show(&accepted)?;
    if let Some(run) = &accepted.run {
        app.console
            .hint(&format!("follow it: kapelle resume {0}, stop it: kapelle stop {0}", run.id));
    }
    Ok(Exit::Ok)
}

/// How often a run is taken over. Each time another process may be faster, and end before us.
const TAKEOVERS_MAX: u32 = 20;

/// Whoever led may end before we have seen the end of our run. If the run isn't over, we go on
/// with it; else there is only its report left to show.
async fn take_over_when_cut_off(
    app: &App,
    mut connection: Connection,
    mut result: Result<Exit, Error>,
    run: Option<String>,
) -> Result<Exit, Error> {
    for _ in 0..TAKEOVERS_MAX {
        match (&result, &run) {
            (Err(error), Some(run)) if connection.hosted.is_none() && is_cut_off(error) => {
                connection = app.connect(Need::Work("run")).await?;
                result = take_over(app, &connection, run).await;
            }
            (Ok(_) | Err(_), _) => break,
        }
    }
    finish(connection, result).await
}

/// Follows a run on another connection than the one that it was started on.
async fn take_over(app: &App, connection: &Connection, run: &str) -> Result<Exit, Error> {
    let mut follower = Follower::start(app, connection).await?;
    follow(app, connection, &mut follower, run).await
}

/// `started` is the run, as soon as there is one.
async fn submit_and_follow(
    app: &App,
    connection: &Connection,
    request: &RunRequest,
    started: &mut Option<String>,
) -> Result<Exit, Error> {
    let mut follower = Follower::start(app, connection).await?;
    let accepted = connection.client.submit(request).await?;
    let Some(run) = &accepted.run else {
        app.console.show(&accepted)?;
        return Ok(Exit::Ok);
    };
    *started = Some(run.id.clone());
    announce(app, &accepted)?;
    let exit = follow(app, connection, &mut follower, &run.id).await?;
    if connection.hosted.is_some() && exit != Exit::Interrupted {
        follow_others(app, connection, &mut follower, run.submitted_at).await?;
    }
    Ok(exit)
}

fn announce(app: &App, accepted: &RunAccepted) -> Result<(), Error> {
    use crate::output::Show as _;
    match app.console.format() {
        Format::Name => app.console.show(accepted),
        Format::Table => {
            app.console.note(accepted.text(&app.console.err()).trim_end());
            Ok(())
        }
        Format::Json | Format::Ndjson => Ok(()),
    }
}

/// Follows a run and tells how it ended.
pub(super) async fn follow(
    app: &App,
    connection: &Connection,
    follower: &mut Follower<'_>,
    run: &str,
) -> Result<Exit, Error> {
    match follower.follow(run).await? {
        Followed::Ended(_) => {
            let report = connection.client.report(run).await?;
            tell(app, &report)
        }
        Followed::Unplaceable(agents) => {
            let agents = agents.join(", ");
            app.console.warn(&format!("{run}: no worker can run {agents}"));
            app.console.hint(&format!(
                "is the agent in kapelle.yaml, and its program installed? `kapelle doctor` looks; \
                 `kapelle stop {run}` gives it up"
            ));
            Ok(Exit::Unplaceable)
        }
        Followed::Detached => Ok(Exit::Interrupted),
        Followed::Stopped => {
            app.console.note(&format!("{run} was told to stop."));
            Ok(Exit::Interrupted)
        }
        Followed::Drained { ended: true } => {
            app.console.note(&format!("{run} has ended."));
            app.console.hint(&format!("kapelle report {run} tells it all"));
            Ok(Exit::Interrupted)
        }
        Followed::Drained { ended: false } => {
            app.console.hint(&format!("kapelle resume {run} goes on with the rest"));
            Ok(Exit::Interrupted)
        }
    }
}

/// Goes on with what other terminals have started here meanwhile: it lives in this process.
async fn follow_others(
    app: &App,
    connection: &Connection,
    follower: &mut Follower<'_>,
    since: i64,
) -> Result<(), Error> {
    loop {
        let open = connection.client.status().await?.open_runs;
        let Some(other) = open.iter().find(|run| run.submitted_at >= since) else {
            return Ok(());
        };
        app.console.note(&format!(
            "{} was started from another terminal and needs this process: following it. \
             Ctrl-C leaves it for `kapelle resume`.",
            other.id
        ));
        match follower.follow(&other.id).await? {
            Followed::Ended(_) => {}
            Followed::Unplaceable(_)
            | Followed::Detached
            | Followed::Stopped
            | Followed::Drained { .. } => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

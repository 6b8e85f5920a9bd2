//! `kapelle demo`: a whole run, with its ups and downs, in a throw-away repository.
//!
//! Everything is real but the agents: those play a script, so that neither a key nor a network is
//! needed. What the script holds in store is in `demo/project`; here it is set up, followed like
//! any other run, and told.

mod project;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kapelle_domain::roadmap::{Roadmap, Status};
use kapelle_git::Repository;

use super::run::{finish, follow};
use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::Follower;
use crate::host::{Connection, Need};
use crate::output::{Canvas, Format, Show as _, Tone, of_one_line, to_json};
use crate::project::STATE_DIRECTORY;
use crate::render::markdown;
use crate::view::{ReportView, RunAccepted, RunRequest, Selection};

/// The work stream whose agent waits for feedback, and what it is told.
const FEEDBACK: (&str, &str) = ("2.1", "Bravo");
/// How many agents work at once.
const CONCURRENCY: u32 = 3;
/// How often it is looked whether the agent waits for feedback.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long it is left waiting, so that one can see it.
const LEFT_WAITING: Duration = Duration::from_millis(1_500);

/// What `demo` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle demo
  kapelle demo --dir /tmp/kit

It needs git and a shell, but no network, no key and no agent program.")]
pub struct DemoArgs {
    /// Make the repository in DIR, which must be empty or not exist yet
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl DemoArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let repository = project::create(app, self.dir).await?;
        let root = repository.root().to_owned();
        introduce(app, &root);
        let project = project::open(app, &root)?;
        let connection = app.connect_to(&project, Need::Work("demo")).await?;
        let (result, played) = match play(app, &connection, &root).await {
            Ok((exit, played)) => (Ok(exit), played),
            Err(error) => (Err(error), None),
        };
        let exit = finish(connection, result).await;
        match played {
            Some(played) => tell(app, &repository, &played).await?,
            None => leave(app, &root),
        }
        exit
    }
}

/// Says what is going to happen.
fn introduce(app: &App, root: &Path) {
    if app.console.format() != Format::Table {
        app.console.note(&format!("the repository is {}", root.display()));
        return;
    }
    let (stream, text) = FEEDBACK;
    app.console.note(&format!(
        "A roadmap of {} work streams in a throw-away repository, up to {CONCURRENCY} agents at \
         once.\n\
         The agents only play a script; clones, processes, checks and merges are real.\n\n\
         Repository: {root}\n\
         Watch out for:\n\
         \x20 1.2  changes the same line as 1.1: a conflict, and the agent has to try again\n\
         \x20 1.3  makes a mistake: a check fails, and the next try is told why\n\
         \x20 {stream}  asks for advice, and this program gives it. From another terminal it would be:\n\
         \x20      kapelle -C {root} feedback {stream} {text}\n",
        project::STREAMS,
        root = root.display(),
    ));
}

/// Has the roadmap worked through.
async fn play(
    app: &App,
    connection: &Connection,
    root: &Path,
) -> Result<(Exit, Option<ReportView>), Error> {
    let client = &connection.client;
    let mut follower = Follower::start(app, connection).await?;
    let request = RunRequest {
        select: Selection::Batch { exclude: Vec::new() },
        agent: None,
        needs: Vec::new(),
        concurrency: Some(CONCURRENCY),
        no_verify: false,
        dry_run: false,
        goal: None,
        key: Some(app.identity.mint()),
    };
    let accepted = client.submit(&request).await?;
    let Some(run) = accepted.run.as_ref().map(|run| run.id.clone()) else {
        app.console.show(&accepted)?;
        return Ok((Exit::Failure, None));
    };
    announce(app, &accepted)?;
    let following = follow(app, connection, &mut follower, &run);
    tokio::pin!(following);
    let exit = tokio::select! {
        exit = &mut following => exit?,
        // Advice that doesn't reach the agent costs it some patience and nothing else.
        _ = advise(client, &run) => following.await?,
    };
    if exit == Exit::Interrupted {
        return Ok((exit, None));
    }
    let report = client.report(&run).await?;
    keep(app, root, &report)?;
    Ok((exit, Some(report)))
}

fn announce(app: &App, accepted: &RunAccepted) -> Result<(), Error> {
    match app.console.format() {
        Format::Name => app.console.show(accepted),
        Format::Table => {
            app.console.note(&accepted.text(&app.console.err()));
            Ok(())
        }
        Format::Json | Format::Ndjson => Ok(()),
    }
}

/// Tells the waiting agent what to do, as somebody at a second terminal would.
async fn advise(client: &Client, run: &str) -> Result<(), Error> {
    let (stream, text) = FEEDBACK;
    let task = format!("{run}/{stream}");
    while client.task(&task).await?.activity.is_none() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(LEFT_WAITING).await;
    client.feedback(&task, text).await?;
    Ok(())
}

fn report_file(extension: &str) -> PathBuf {
    Path::new(STATE_DIRECTORY).join("report").with_extension(extension)
}

/// Writes the report into files.
fn keep(app: &App, root: &Path, report: &ReportView) -> Result<(), Error> {
    let text = markdown(report, &Canvas { color: false, ..app.console.out() });
    let json = to_json(report, true).map_err(Error::Encode)?;
    for (extension, content) in [("md", text), ("json", json + "\n")] {
        let path = root.join(report_file(extension));
        std::fs::write(&path, content).map_err(Error::file("write", &path))?;
    }
    Ok(())
}

/// Tells what there was to see, and where it is.
async fn tell(app: &App, repository: &Repository, report: &ReportView) -> Result<(), Error> {
    if app.console.format() != Format::Table {
        return Ok(());
    }
    let root = repository.root();
    let commits = repository
        .newest_commits(project::STREAMS + 1)
        .await
        .map_err(|source| Error::Project { path: root.to_owned(), source })?;
    let canvas = app.console.out();
    let heading = |text: &str| canvas.paint(Tone::Strong, text);
    let mut lines = vec![String::new(), heading("What there was to see")];
    lines.extend(story::of(&canvas, report));
    lines.extend([String::new(), heading("git log --oneline")]);
    lines.extend(commits.iter().map(|(commit, subject)| {
        let commit = canvas.paint(Tone::Warn, commit.as_str().get(..7).unwrap_or_default());
        canvas.fit(&format!("  {commit} {subject}"))
    }));
    lines.extend([String::new(), heading("Where everything is")]);
    lines.extend(places(root));
    lines.extend([String::new(), heading("Go on")]);
    lines.extend(next(root));
    app.console.data(&(lines.join("\n") + "\n"))
}

fn places(root: &Path) -> Vec<String> {
    let read = |name: &str| std::fs::read(root.join(name)).unwrap_or_default();
    let complete = Roadmap::parse(&read(project::ROADMAP)).count(Status::Complete);
    let advice = String::from_utf8_lossy(&read(project::ADVICE)).into_owned();
    let mut lines = vec![
        format!("  repository  {}", root.display()),
        format!("  roadmap     {}: {complete} of {} complete", project::ROADMAP, project::STREAMS),
        format!("  report      {} and .json", report_file("md").display()),
        format!("  feedback    {} says \"{}\"", project::ADVICE, of_one_line(&advice)),
        format!("  script      {}: what the agents played", project::SCRIPT),
        format!("  state       {STATE_DIRECTORY}/: the database, and the agents' transcripts"),
    ];
    lines.extend(std::env::current_exe().map(|path| format!("  program     {}", path.display())));
    lines
}

fn next(root: &Path) -> Vec<String> {
    let root = root.display();
    [
        (format!("cd {root}"), ""),
        ("kapelle report".to_owned(), "every try of every work stream"),
        ("kapelle logs 1.3 --attempt 1".to_owned(), "what the agent with the mistake did"),
        ("kapelle events".to_owned(), "all that happened, in order"),
        ("kapelle roadmap graph".to_owned(), "what depends on what"),
        ("kapelle init".to_owned(), "the same for a project of yours; run it there"),
        (format!("rm -rf {root}"), "clears the demonstration away"),
    ]
    .map(|(command, what)| format!("  {command:<34}  {what}").trim_end().to_owned())
    .into()
}

/// Says what is left of a demonstration that didn't come to its end.
fn leave(app: &App, root: &Path) {
    let root = root.display();
    app.console
        .hint(&format!("`kapelle -C {root} resume` goes on, `rm -rf {root}` clears it away"));
}

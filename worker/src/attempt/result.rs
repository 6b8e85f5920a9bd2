//! What an agent left, and what our checks say of it.

use std::path::Path;
use std::time::Duration;

use kapelle_bus::freight::PROGRESS;
use kapelle_domain::attempt::{
    Check, FailureClass, Outcome, ProcessExit, Report, Verdict, WorkResult,
};
use kapelle_domain::roadmap::Roadmap;
use kapelle_domain::words::plural;
use kapelle_git::{
    AgentCommit, ChangedPath, Limits, NewCommit, SkipReason, Skipped, Snapshot, Unfiltered,
    Workspace,
};
use kapelle_runtime::telemetry::Chain;

use super::Desk;
use super::agent::{AgentEnd, Stopped, Word};
use crate::agent_line::{EndOutcome, FailureKind};
use crate::process::Ended;
use crate::verify::{Subject, Verifier, note, verdict_of};

/// The longest message of a result's commit that is taken from the task's title.
const SUBJECT_BYTES_MAX: usize = 100;

/// How many paths are named of what a result can't hold.
const LEFT_OUT_SHOWN: usize = 10;

/// The largest roadmap that is read.
const ROADMAP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a worker that is to stop at once tries to hand over what its agents have done.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);

/// The wait before a result is sent again, at first and at most.
const DELIVER_AGAIN: Duration = Duration::from_millis(500);
const DELIVER_AGAIN_MAX: Duration = Duration::from_secs(15);

/// How long a provider's pause is taken to be when nobody says.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// Reads and checks what is left in the workspace. Every process of the agent has ended.
pub(super) async fn of<B>(desk: &Desk<'_, B>, workspace: &Workspace, ended: AgentEnd) -> Report {
    let mut checks = Vec::new();
    if desk.grant.verify {
        checks.extend(ended.word.map(reported_check));
        checks.push(exit_check(&ended));
    }
    let snapshot = match snapshot(desk, workspace).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let summary = format!("what the agent left could not be read: {}", Chain(&error));
            return report(desk, ended, Some((failure_of(&error), summary)), checks, None);
        }
    };
    if ended.stopped.is_none() {
        // Whether or not results are verified: this one is not what the agent made.
        checks.extend(left_out(&snapshot.skipped));
        checks.extend(filters_check(&snapshot.unfiltered));
    }
    if desk.grant.verify && ended.stopped.is_none() {
        checks.extend(static_checks(desk, &ended, &snapshot));
        checks.extend(roadmap_check(desk, workspace));
        let worth_running = verdict_of(&checks) == Verdict::Pass;
        if worth_running {
            checks.extend(run_checks(desk, workspace, &snapshot).await);
        }
    }
    // What isn't done stays in the workspace; only what is to be integrated travels.
    let (outcome, _) = outcome_of(&ended, verdict_of(&checks), &checks);
    // With some failures the next attempt goes on from what is there.
    let travels = match outcome.failure_class() {
        None => outcome == Outcome::Completed,
        Some(FailureClass::RateLimit | FailureClass::Infrastructure) => true,
        Some(
            FailureClass::Application
            | FailureClass::Final
            | FailureClass::Integration
            | FailureClass::Uncounted,
        ) => false,
    };
    let name = if outcome == Outcome::Completed { "result-" } else { PROGRESS };
    let result = if travels { deliver(desk, &snapshot, name).await } else { Ok(None) };
    match result {
        Ok(result) => report(desk, ended, None, checks, result),
        Err(error) => {
            let summary = format!("the result could not be kept: {}", Chain(&error));
            report(desk, ended, Some((Outcome::Infrastructure, summary)), checks, None)
        }
    }
}

/// Lays a result where the coordinator finds it, however long the way there is cut off: the work is
/// done, and the coordinator keeps it even when it has given the attempt up. Gives up when the worker
/// ends.
async fn deliver<B>(
    desk: &Desk<'_, B>,
    snapshot: &Snapshot,
    kind: &str,
) -> Result<Option<WorkResult>, crate::carrier::Error> {
    let mut wait = DELIVER_AGAIN;
    loop {
        let kept = keep(desk, snapshot, kind).await;
        let Err(error) = &kept else { return kept };
        let pause = desk.orders.stop.run_until_cancelled(tokio::time::sleep(wait));
        if !error.is_transient() || pause.await.is_none() {
            return kept;
        }
        tracing::warn!(error = %Chain(error), "a result can't be sent now; it is tried again");
        wait = wait.saturating_mul(2).min(DELIVER_AGAIN_MAX);
    }
}

/// Hands over the work of an agent that was cut off because its worker ends: the next attempt goes on
/// from it. A worker that is to stop at once doesn't try for long.
pub(super) async fn handed_over<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
    ended: AgentEnd,
) -> Report {
    let kept = async { keep(desk, &snapshot(desk, workspace).await?, PROGRESS).await };
    let patience = async {
        desk.orders.stop.cancelled().await;
        tokio::time::sleep(HAND_OVER_MAX).await;
    };
    let kept = tokio::select! {
        kept = kept => kept.map_err(|error| Chain(&error).to_string()),
        () = patience => Err(format!("it took more than {HAND_OVER_MAX:?}")),
    };
    let cut_off = "its worker was shut down";
    let (summary, result) = match kept {
        Ok(None) => (format!("{cut_off}; nothing had been changed"), None),
        Ok(Some(work)) => (format!("{cut_off}; its work was handed over"), Some(work)),
        Err(reason) => (format!("{cut_off}; its work could not be handed over: {reason}"), None),
    };
    report(desk, ended, Some((Outcome::Interrupted, summary)), Vec::new(), result)
}

/// An agent can leave what can't be kept; that is its failure, not the machinery's.
fn failure_of(error: &kapelle_git::Error) -> Outcome {
    match error {
        kapelle_git::Error::TooLarge { .. } => Outcome::AgentFailed,
        _ => Outcome::Infrastructure,
    }
}

async fn snapshot<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
) -> Result<Snapshot, kapelle_git::Error> {
    let (limits, commit) = terms(desk);
    desk.project.repository.snapshot(workspace, &limits, &commit).await
}

/// What is there while the agent works.
pub(super) async fn snapshot_at_work<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
) -> Result<Snapshot, kapelle_git::Error> {
    let (limits, commit) = terms(desk);
    desk.project.repository.snapshot_at_work(workspace, &limits, &commit).await
}

/// What a snapshot may hold, and what its commit is called.
fn terms<B>(desk: &Desk<'_, B>) -> (Limits, NewCommit) {
    let workshop = desk.workshop;
    let bounds = &desk.project.settings.limits;
    let limits = Limits {
        files: bounds.workspace_files,
        file_bytes: bounds.workspace_bytes.0,
        total_bytes: bounds.workspace_bytes.0,
    };
    let title = kapelle_domain::prompt::head(&desk.grant.title, SUBJECT_BYTES_MAX);
    let commit = NewCommit {
        message: format!("{}: {title}\n\nWork of {}.\n", desk.grant.key, desk.grant.attempt),
        identity: workshop.identity.clone(),
        seconds: workshop.clock.now() / 1000,
    };
    (limits, commit)
}

/// Lays the result where the coordinator finds it; its name there begins with `kind`. `None` when
/// nothing changed.
async fn keep<B>(
    desk: &Desk<'_, B>,
    snapshot: &Snapshot,
    kind: &str,
) -> Result<Option<WorkResult>, crate::carrier::Error> {
    if snapshot.changed.is_empty() {
        return Ok(None);
    }
    let path = desk.workshop.results.join(format!("{}.bundle", desk.slug()));
    let name = format!("{kind}{}-{}", desk.slug(), desk.grant.fence);
    pack(desk, snapshot, &name, &path).await.map(Some)
}

/// Makes a bundle of a snapshot at `path`, and takes it, as `name`, to where the project is.
pub(super) async fn pack<B>(
    desk: &Desk<'_, B>,
    snapshot: &Snapshot,
    name: &str,
    path: &Path,
) -> Result<WorkResult, crate::carrier::Error> {
    snapshot.bundle(path).await?;
    let bundle_bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let sum = |count: fn(&kapelle_git::ChangedPath) -> Option<u64>| {
        snapshot.changed.iter().filter_map(count).fold(0, u64::saturating_add)
    };
    let bundle = match desk.workshop.source.send(name, path).await {
        None => path.to_string_lossy().into_owned(),
        Some(sent) => {
            // It is where the project is, or will be made anew: this copy serves nobody.
            drop(std::fs::remove_file(path));
            sent?
        }
    };
    Ok(WorkResult {
        commit: snapshot.commit.to_string(),
        base: snapshot.base.to_string(),
        bundle,
        bundle_bytes,
        files_changed: u32::try_from(snapshot.changed.len()).unwrap_or(u32::MAX),
        lines_added: sum(|path| path.added),
        lines_deleted: sum(|path| path.deleted),
    })
}

fn check(name: &str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { name: name.to_owned(), verdict, detail: detail.into(), took: Duration::ZERO }
}

/// What the agent says of its own work. That it is done is worth nothing without the others.
fn reported_check(word: Word) -> Check {
    let (verdict, detail) = match word.outcome {
        EndOutcome::Completed => (Verdict::Pass, "it says that it is done"),
        EndOutcome::Failed => (Verdict::Fail, "it says that it failed"),
        EndOutcome::Interrupted => (Verdict::Fail, "it says that it stopped before it was done"),
    };
    check("reported", verdict, detail)
}

fn exit_check(ended: &AgentEnd) -> Check {
    let (verdict, detail) = match ended.exit.ended {
        _ if ended.stopped.is_some() => (Verdict::Fail, "it was stopped".to_owned()),
        Ended::Code(0) => (Verdict::Pass, "exit code 0".to_owned()),
        Ended::Code(code) => (Verdict::Fail, format!("exit code {code}")),
        Ended::Signal(signal) => (Verdict::Fail, format!("ended by signal {signal}")),
        Ended::Lost => (Verdict::Unknown, "how it ended is not known".to_owned()),
    };
    check("exit code", verdict, detail)
}

/// What can be said of the result without running anything.
fn static_checks<B>(desk: &Desk<'_, B>, ended: &AgentEnd, snapshot: &Snapshot) -> Vec<Check> {
    let settings = &desk.project.settings.verify;
    let mut checks = Vec::new();
    if settings.require_changes {
        let roadmap = desk.project.settings.roadmap.as_deref();
        checks.push(changes_check(&snapshot.changed, roadmap, says_done(ended)));
    }
    if desk.project.settings.require_clean {
        checks.push(match &snapshot.agent_committed {
            AgentCommit::Clean => check("git clean", Verdict::Pass, "everything is committed"),
            AgentCommit::Uncommitted { paths } => {
                let named: Vec<String> =
                    paths.iter().take(10).map(|path| path.display().to_string()).collect();
                check("git clean", Verdict::Fail, format!("uncommitted: {}", named.join(", ")))
            }
            AgentCommit::AtWork | AgentCommit::Missing => check(
                "git clean",
                Verdict::Fail,
                "the repository of the workspace is gone or replaced",
            ),
        });
    }
    checks
}

/// What is in the tree and can't be in the result. Work that is lost is a failure; what may be
/// there for good reason is told.
fn left_out(skipped: &[Skipped]) -> Vec<Check> {
    let words = |lost: bool| {
        let some = skipped.iter().filter(|left| (left.reason == SkipReason::Submodule) == lost);
        let one = |left: &Skipped| format!("{} ({})", left.path.display(), why_left(left.reason));
        let paths: Vec<String> = some.map(one).collect();
        (!paths.is_empty()).then(|| format!("not part of the result: {}", listed(paths)))
    };
    let lost = words(true).map(|words| check("submodules", Verdict::Fail, words));
    lost.into_iter().chain(words(false).map(|words| note(&words))).collect()
}

/// Files that git would have passed through a program of the user's (git-lfs and its like).
fn filters_check(unfiltered: &[Unfiltered]) -> Option<Check> {
    let one =
        |file: &Unfiltered| format!("{} needs the filter `{}`", file.path.display(), file.filter);
    let paths: Vec<String> = unfiltered.iter().map(one).collect();
    let words =
        "filters are never run on what an agent leaves, so such files are for people to change";
    (!paths.is_empty())
        .then(|| check("filters", Verdict::Fail, format!("{}; {words}", listed(paths))))
}

fn listed(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(LEFT_OUT_SHOWN);
    words.truncate(LEFT_OUT_SHOWN);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

fn why_left(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::GitEntry => "a repository inside the tree",
        SkipReason::Special => "neither file, directory nor link",
        SkipReason::Submodule => {
            "it is written where a submodule belongs, which is another repository"
        }
        SkipReason::SubmoduleCheckout => "a submodule; it stays at the commit that it was at",
        SkipReason::TooDeep => "too many directories inside each other",
    }
}

/// What else may be there.
const NO_CHANGE: &str = "files that git ignores don't count unless the agent added them to git";

/// Whether the agent takes its work for done, as far as it says so.
fn says_done(ended: &AgentEnd) -> bool {
    let by_word = ended.word.is_none_or(|word| word.outcome == EndOutcome::Completed);
    by_word && ended.exit.ended == Ended::Code(0)
}

/// Whether there is anything that will be merged: what an agent does to the roadmap never is.
fn changes_check(changed: &[ChangedPath], roadmap: Option<&str>, says_done: bool) -> Check {
    let is_roadmap = |path: &Path| roadmap.is_some_and(|roadmap| path == Path::new(roadmap));
    let count = changed.iter().filter(|changed| !is_roadmap(&changed.path)).count();
    let (verdict, detail) = match (count, changed.is_empty()) {
        (0, true) if !says_done => {
            (Verdict::Fail, format!("the agent changed nothing; {NO_CHANGE}"))
        }
        (0, true) => (
            Verdict::Fail,
            format!(
                "the agent says that it is done, and changed nothing; {NO_CHANGE}; where no change \
                 can be right, set `require_changes: false` under `verify:`"
            ),
        ),
        (0, false) => (
            Verdict::Fail,
            "the agent changed nothing but the roadmap, where Kapelle itself marks what is done; \
             where that can be right, set `require_changes: false` under `verify:`"
                .to_owned(),
        ),
        (count, _) => (Verdict::Pass, plural(count, "file")),
    };
    check("changes", verdict, detail)
}

/// Where it is asked for: the agent must have ticked every task of its work stream in its copy of
/// the roadmap.
fn roadmap_check<B>(desk: &Desk<'_, B>, workspace: &Workspace) -> Option<Check> {
    let settings = &desk.project.settings;
    let path = settings.roadmap.as_ref().filter(|_| settings.verify.roadmap)?;
    let name = "roadmap tasks";
    let file = workspace.tree.join(path);
    // The agent may have put anything there; only a plain file of sane size is read.
    let plain = std::fs::symlink_metadata(&file)
        .is_ok_and(|meta| meta.is_file() && meta.len() <= ROADMAP_BYTES_MAX);
    let Some(bytes) = plain.then(|| std::fs::read(&file).ok()).flatten() else {
        return Some(check(name, Verdict::Fail, format!("{path} can't be read")));
    };
    let roadmap = Roadmap::parse(&bytes);
    let stream = roadmap.streams.iter().find(|stream| stream.id.as_str() == desk.grant.key);
    let Some(stream) = stream else {
        return Some(check(name, Verdict::Fail, format!("{} is gone from {path}", desk.grant.key)));
    };
    let open: Vec<&str> = stream
        .tasks
        .iter()
        .filter(|task| !task.done)
        .map(|task| task.text.as_str())
        .take(10)
        .collect();
    Some(if open.is_empty() {
        check(name, Verdict::Pass, "every task is ticked")
    } else {
        check(name, Verdict::Fail, format!("not ticked: {}", open.join("; ")))
    })
}

/// Runs the check commands where the agent worked: what it built is there, and the snapshot is
/// taken already. The merged tree is checked again in a clone that no agent has seen.
async fn run_checks<B>(
    desk: &Desk<'_, B>,
    workspace: &Workspace,
    snapshot: &Snapshot,
) -> Vec<Check> {
    match desk.project.repository.mend_clone(workspace, snapshot).await {
        Ok(true) => desk.transcript.say("the agent removed or replaced its `.git`; it is restored"),
        Ok(false) => {}
        Err(error) => return vec![check("workspace", Verdict::Unknown, Chain(&error).to_string())],
    }
    let transcript = desk.transcript.clone();
    let say = move |line: String| transcript.say(&line);
    let subject = Subject {
        tree: &workspace.tree,
        repository: &desk.project.repository,
        base: &workspace.base,
    };
    let settings = desk.project.settings.verify.clone();
    let verifier = Verifier { settings, ..desk.workshop.verifier.clone() };
    verifier.check(subject, &desk.marker(), say).await
}

fn report<B>(
    desk: &Desk<'_, B>,
    ended: AgentEnd,
    trouble: Option<(Outcome, String)>,
    checks: Vec<Check>,
    result: Option<WorkResult>,
) -> Report {
    let verdict = verdict_of(&checks);
    let (outcome, summary) = trouble.unwrap_or_else(|| outcome_of(&ended, verdict, &checks));
    desk.transcript.say(&summary);
    let exit = match ended.exit.ended {
        Ended::Code(code) => Some(ProcessExit { code: Some(code), signal: None }),
        Ended::Signal(signal) => Some(ProcessExit { code: None, signal: Some(signal) }),
        Ended::Lost => None,
    };
    Report { outcome, summary, exit, verdict, checks, result, usage: ended.usage }
}

fn outcome_of(ended: &AgentEnd, verdict: Verdict, checks: &[Check]) -> (Outcome, String) {
    match ended.stopped {
        Some(Stopped::TimedOut) => {
            return (Outcome::TimedOut, "the agent took longer than it may".to_owned());
        }
        Some(Stopped::Cancelled | Stopped::Abandoned) => {
            return (Outcome::Cancelled, "stopped by order".to_owned());
        }
        Some(Stopped::HandedOver) => {
            return (Outcome::Interrupted, "its worker was shut down".to_owned());
        }
        None => {}
    }
    let words =
        if ended.last_words.is_empty() { String::new() } else { format!(": {}", ended.last_words) };
    match ended.exit.ended {
        Ended::Code(0) if ended.word.is_some_and(|word| word.outcome != EndOutcome::Completed) => {
            (failure_by(ended), format!("the agent reported a failure{words}"))
        }
        Ended::Code(0) if verdict == Verdict::Pass => (Outcome::Completed, format!("done{words}")),
        Ended::Code(0) => {
            let failed: Vec<&str> = checks
                .iter()
                .filter(|check| check.verdict != Verdict::Pass)
                .map(|check| check.name.as_str())
                .collect();
            (Outcome::ChecksFailed, format!("not verified: {}", failed.join(", ")))
        }
        Ended::Code(code) => {
            (failure_by(ended), format!("the agent failed with exit code {code}{words}"))
        }
        Ended::Signal(_) if ended.exit.probably_out_of_memory() => (
            Outcome::Infrastructure,
            "the agent was killed, probably for want of memory".to_owned(),
        ),
        Ended::Signal(signal) => {
            (Outcome::AgentFailed, format!("the agent was ended by signal {signal}{words}"))
        }
        Ended::Lost => (Outcome::Infrastructure, "the agent's supervisor was killed".to_owned()),
    }
}

/// Whose failure it is, by the agent's own word.
fn failure_by(ended: &AgentEnd) -> Outcome {
    match ended.word.and_then(|word| word.blames) {
        Some(FailureKind::Infrastructure) => Outcome::Infrastructure,
        Some(FailureKind::RateLimited) => Outcome::RateLimited { retry_after: RATE_LIMIT_WAIT },
        Some(FailureKind::Application) | None => Outcome::AgentFailed,
    }
}

//! What integrated commits say: a conventional subject, and trailers that name where they came
//! from.

use kapelle_domain::ids::AttemptId;
use kapelle_domain::plan::TaskSpec;
use kapelle_domain::prompt::head;

/// The trailer that names the attempt; it tells a repeated integration that it has been done.
pub(super) const ATTEMPT: &str = "Kapelle-Attempt";

/// The trailer that names the task by its key, which is the id of its work stream.
pub(crate) const TASK: &str = "Kapelle-Task";

/// The longest subject; more is cut off in most views.
const SUBJECT_BYTES_MAX: usize = 100;

/// What is said of a result that the branch had already.
const NOTHING_NEW: &str = "The branch had these changes already.\n\n";

/// What names an attempt in a trailer. Numbers of runs begin anew with each database, and several
/// may share a branch; with the database's own name it is the only one.
pub(super) fn name(attempt: AttemptId, owner: &str) -> String {
    format!("{attempt}@{owner}")
}

pub(super) fn of(
    spec: &TaskSpec,
    (attempt, owner): (AttemptId, &str),
    title: &str,
    news: bool,
) -> String {
    let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject = format!("feat({}): {title}", spec.key);
    format!(
        "{}\n\n{}Kapelle-Run: {}\n{TASK}: {}\n{ATTEMPT}: {}\nKapelle-Agent: {}\n",
        head(&subject, SUBJECT_BYTES_MAX),
        if news { "" } else { NOTHING_NEW },
        attempt.task.run,
        spec.key,
        name(attempt, owner),
        spec.agent,
    )
}

//! What agents and users do to a repository while a run goes on: nothing of it may cost anybody
//! their work, or let in what was not verified.

use kapelle_tests::{Project, stream};

/// The user's repository, as an agent of these tests finds it.
const USERS: &str = "git -c user.name=U -c user.email=u@example.org -C \"$HOME/../project\"";

#[test]
fn a_commit_that_the_user_takes_back_does_not_come_back_with_a_result() {
    let agent = format!(
        "mkdir -p out; echo x > out/$KAPELLE_STREAM; case $KAPELLE_STREAM in \
         1.1) {USERS} reset --quiet --hard HEAD~1;; \
         1.2) {USERS} reset --quiet --soft $({USERS} commit-tree -m other HEAD^{{tree}});; esac"
    );
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &["1.1"])];
    let project = Project::with_streams(&streams, &agent, "");
    project.write("secret.txt", "taken back\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "secret"]);
    let finished = project.kapelle(&["batch"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // The second agent has rewritten the whole history, so that the first one's commit is in it.
    assert_eq!(project.integrated("main"), ["1.2"]);
    let files = project.git(&["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        ["kapelle.yaml", "out/1.1", "out/1.2", "plans/roadmap.md"]
    );
    let report = project.json(&["report", "--json"]);
    assert_eq!(report["run"]["head"], project.git(&["rev-parse", "main"]), "{report}");
}

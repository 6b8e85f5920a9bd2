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

#[test]
fn an_agent_without_its_git_leaves_the_users_repository_alone() {
    let reckless = "git reset -q --hard; git checkout -q -b strayed; git stash -q -u; \
                    git config user.name Stray; git commit -q --allow-empty -m stray";
    let agent = format!("rm -rf .git; mkdir -p sub && (cd sub; {reckless}); echo x > done.txt");
    // Each check finds the clone's repository, or none; the second one has lost it itself.
    let checks = format!(
        "verify:\n  checks:\n    - {{name: own, command: 'test \"$(git rev-parse --show-toplevel)\" = \
         \"$PWD\" && test -z \"$(git status --porcelain)\"'}}\n    \
         - {{name: reckless, command: 'rm -rf .git; cd sub; {reckless}; true'}}\n"
    );
    let project = Project::with_streams(&[stream("1.1", "One", &[])], &agent, &checks);
    project.write("notes.txt", "first\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "notes"]);
    project.write("notes.txt", "not committed\n");
    project.write("new.txt", "not even added\n");
    let head = project.git(&["rev-parse", "HEAD"]);
    // As from a hook, or from `git rebase --exec`.
    let misled = [("GIT_DIR", project.root().join(".git"))];
    let misled = misled.map(|(name, path)| (name, path.display().to_string()));
    let misled: Vec<(&str, &str)> =
        misled.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let finished = project.kapelle_with(&["run"], &misled);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.integrated("kapelle/r-1"), ["1.1"]);
    assert_eq!(project.git(&["status", "--porcelain"]), " M notes.txt\n?? new.txt");
    assert_eq!(project.read("notes.txt"), "not committed\n");
    assert_eq!(project.git(&["branch", "--show-current"]), "main");
    assert_eq!(project.git(&["rev-parse", "HEAD"]), head);
    let branches = project.git(&["for-each-ref", "--format=%(refname:short)"]);
    assert_eq!(branches.lines().collect::<Vec<_>>(), ["kapelle/r-1", "main"]);
    assert_eq!(project.git(&["config", "--local", "--default", "none", "user.name"]), "none");
}

#[test]
fn ticking_the_roadmap_is_not_the_work() {
    let agent = "sed -i 's/\\[ \\]/[x]/; s/⚪ Not Started/✅ Complete/' plans/roadmap.md";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(11), "{finished:?}");
    assert!(project.integrated("main").is_empty());
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("nothing but the roadmap"), "{why:?}");
}

#[test]
fn what_the_branch_had_already_counts_when_the_agent_made_it_too() {
    let agent = format!(
        "sed -i 's/old/new/' code.txt; cd \"$HOME/../project\"; sed -i 's/old/new/' code.txt; \
         {USERS} commit -qam 'the same by hand'"
    );
    let project = Project::with_streams(&[stream("1.1", "One", &[])], &agent, "");
    project.write("code.txt", "old\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "code"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.integrated("main"), ["1.1"]);
    let said = project.git(&["log", "-1", "--format=%b"]);
    assert!(said.contains("had these changes already"), "{said}");
    assert_eq!(project.git(&["diff", "--name-only", "HEAD~1"]), "plans/roadmap.md");
    assert!(project.read("plans/roadmap.md").contains("✅ Complete"));
}

#[test]
fn a_check_does_not_go_away_with_the_file_that_suggests_it() {
    let agent = "rm go.mod; echo x > out.txt; grep -q 'go.mod was there before' \
                 \"$KAPELLE_PROMPT_FILE\" && touch told; true";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    project.write("go.mod", "module example.org/x\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "go"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(11), "{finished:?}");
    assert!(project.integrated("main").is_empty());
    let report = project.json(&["report", "--json"]);
    let attempts = report["tasks"][0]["attempts"].as_array().expect("attempts");
    for attempt in attempts {
        let checks = attempt["checks"].as_array().expect("checks");
        let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] != "pass").collect();
        assert_eq!((failed.len(), &failed[0]["name"]), (1, &"go test".into()), "{report}");
    }
    let kept = project.root().join(".kapelle/kept/r-1-t0-2/tree/told");
    assert!(kept.exists(), "the next attempt is told: {report}");
}

#[test]
fn a_result_that_no_command_has_checked_is_marked_as_such() {
    let project = Project::with_streams(&[stream("1.1", "One", &[])], "echo x > out.txt", "");
    let finished = project.kapelle(&["run"]);
    let words = "no check command ran; add verify.checks to kapelle.yaml";
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains(&format!("warning: {words} (1.1)")), "{finished:?}");
    for arguments in [&["show", "1.1"][..], &["report"], &["report", "--markdown"]] {
        let told = project.kapelle(arguments);
        assert!(told.stdout.contains(words), "{arguments:?}: {told:?}");
    }
}

#[test]
fn work_in_a_submodule_is_not_lost_without_a_word() {
    let agent = "echo x > out.txt; case $KAPELLE_STREAM in \
                 1.1) mkdir -p vendor/lib; echo y > vendor/lib/new.c;; \
                 1.2) git init -q vendor/lib; echo y > vendor/lib/new.c;; esac";
    let streams = [stream("1.1", "Lost", &[]), stream("1.2", "Checked out", &[])];
    let project = Project::with_streams(&streams, agent, "");
    let entry = format!("160000,{},vendor/lib", project.git(&["rev-parse", "HEAD"]));
    project.git(&["update-index", "--add", "--cacheinfo", &entry]);
    project.git(&["commit", "--quiet", "-m", "submodule"]);
    std::fs::create_dir_all(project.root().join("vendor/lib")).expect("a directory");
    let lost = project.kapelle(&["run", "1.1"]);
    assert_eq!(lost.code, Some(11), "{lost:?}");
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("vendor/lib (it is written where a submodule belongs"), "{why:?}");
    let told = project.kapelle(&["run", "1.2"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let words = "not part of the result: vendor/lib (a submodule; it stays at the commit";
    assert!(told.stderr.contains(words), "{told:?}");
    assert_eq!(project.git(&["diff", "--name-only", "HEAD~1"]), "out.txt\nplans/roadmap.md");
}

#[test]
fn line_ends_of_an_agent_do_not_dirty_the_users_copy() {
    let agent = "printf 'a\\r\\nb\\r\\n' > $KAPELLE_STREAM.txt; printf 'x\\r\\n' > shared.txt";
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &["1.1"])];
    let project = Project::with_streams(&streams, agent, "");
    project.write(".gitattributes", "*.txt text\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "attributes"]);
    let finished = project.kapelle(&["batch"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert_eq!(project.integrated("main"), ["1.1", "1.2"]);
    assert_eq!(project.read("1.2.txt"), "a\nb\n");
}

#[test]
fn a_file_that_needs_a_filter_is_refused_with_words() {
    let agent = "echo x > out.txt; echo y > art.psd";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    project.write(".gitattributes", "*.psd filter=store\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "attributes"]);
    project.git(&["config", "filter.store.clean", "touch ran; cat"]);
    let finished = project.kapelle(&["run", "--no-verify"]);
    assert_eq!(finished.code, Some(11), "{finished:?}");
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("art.psd needs the filter `store`"), "{why:?}");
    assert!(!project.root().join("ran").exists());
}

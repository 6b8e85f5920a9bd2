//! Whole runs: what is started, verified, integrated, written down.

use kapelle_tests::{Project, living_in, stream};

const WRITE: &str = "mkdir -p out; echo \"$KAPELLE_STREAM_NAME\" > out/$KAPELLE_STREAM; echo done";

fn chain() -> Vec<String> {
    vec![
        stream("1.1", "First", &[]),
        stream("1.2", "Second", &["1.1"]),
        stream("1.3", "Third", &[]),
        stream("1.10", "Tenth", &["1.2", "1.3"]),
    ]
}

#[test]
fn a_batch_does_everything_in_order_and_keeps_the_roadmap_true() {
    let project = Project::with_streams(&chain(), WRITE, "");
    let finished = project.kapelle(&["batch", "-n", "2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let integrated = project.integrated("main");
    let position = |id: &str| integrated.iter().position(|key| key == id).expect(id);
    assert!(
        position("1.1") < position("1.2") && position("1.2") < position("1.10"),
        "{integrated:?}"
    );
    assert_eq!(integrated.len(), 4);
    assert_eq!(project.read("out/1.10"), "Tenth\n");
    assert_eq!(project.read("plans/roadmap.md").matches("✅ Complete").count(), 4);
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    let again = project.kapelle(&["batch"]);
    assert_ne!(again.code, Some(0), "nothing is left to do");
    assert!(again.stderr.contains("no work stream is available"), "{again:?}");
}

#[test]
fn one_run_does_one_stream_and_a_dry_run_none() {
    let project = Project::with_streams(&chain(), WRITE, "");
    let plan = project.kapelle(&["run", "--dry-run"]);
    assert_eq!((plan.code, project.integrated("main").len()), (Some(0), 0), "{plan:?}");
    assert_eq!(project.kapelle(&["run", "1.3"]).code, Some(0));
    assert_eq!(project.integrated("main"), ["1.3"]);
    let waits = project.kapelle(&["run", "1.10"]);
    assert!(waits.stderr.contains("it waits for 1.2"), "{waits:?}");
    let unknown = project.kapelle(&["run", "7.7"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
}

#[test]
fn what_the_program_logs_goes_where_it_is_wanted() {
    let project = Project::with_streams(&chain(), WRITE, "");
    let file = project.around().join("logs/kapelle.log");
    let path = file.to_str().expect("a path");
    let finished = project.kapelle_with(&["--log-file", path, "run"], &[("KAPELLE_LOG", "debug")]);
    assert!(finished.code == Some(0) && !finished.stderr.contains("DEBUG"), "{finished:?}");
    let lines = || {
        let text = std::fs::read_to_string(&file).expect("a log");
        let json = |line: &str| serde_json::from_str(line).expect("JSON");
        text.lines().map(json).collect::<Vec<serde_json::Value>>()
    };
    let first = lines();
    assert!(first.iter().any(|line| line["level"] == "DEBUG"), "{first:?}");
    // Also what the process in the background logs.
    let environment = [("KAPELLE_LOG", "debug"), ("KAPELLE_LOG_FILE", path)];
    let detached = project.kapelle_with(&["run", "--detach"], &environment);
    assert_eq!(detached.code, Some(0), "{detached:?}");
    project.wait_for("the second run", || (project.integrated("main").len() == 2).then_some(()));
    assert!(lines().len() > first.len());
    assert_eq!(project.kapelle(&["down"]).code, Some(0));
    let screen = project.kapelle_with(&["status", "--json"], &[("KAPELLE_LOG", "debug")]);
    let line = screen.stderr.lines().next().expect("a line");
    assert_eq!(serde_json::from_str::<serde_json::Value>(line).expect("JSON")["level"], "DEBUG");
}

#[test]
fn variables_do_what_options_do() {
    let project = Project::with_streams(&chain(), WRITE, "");
    let status = |variables: &[(&str, &str)]| {
        let finished = project.kapelle_with(&["status"], variables);
        assert_eq!(finished.code, Some(0), "{variables:?}: {finished:?}");
        finished.stdout
    };
    assert!(!status(&[("KAPELLE_ASCII", "")]).is_ascii());
    assert!(status(&[("KAPELLE_ASCII", "1")]).is_ascii());
    assert_eq!(status(&[("KAPELLE_OUTPUT", "name")]), "1.1\n1.3\n");
    assert!(status(&[("KAPELLE_LOG_FILE", "")]).contains("2 can start now"));
}

#[test]
fn a_check_that_is_only_a_warning_is_shown_and_does_not_count() {
    let checks =
        "verify: {checks: [{name: lint, command: 'echo too long; exit 3', severity: warning}]}\n";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], WRITE, checks);
    assert_eq!(project.kapelle(&["run"]).code, Some(0));
    for arguments in [&["show", "1.1"][..], &["report"]] {
        let shown = project.kapelle(arguments).stdout;
        assert!(shown.contains("! warning  lint") && shown.contains("too long"), "{shown}");
    }
}

#[test]
fn an_agent_that_says_done_and_changed_nothing_is_not_believed() {
    let project = Project::with_streams(&[stream("1.1", "Lie", &[])], "echo all done", "");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(11), "{finished:?}");
    assert!(project.integrated("main").is_empty());
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("changed nothing"), "{why:?}");
}

#[test]
fn an_agent_that_says_failed_and_changed_nothing_is_not_said_to_be_done() {
    let project =
        Project::with_streams(&[stream("1.1", "Fail", &[])], "echo I give up; exit 3", "");
    assert_ne!(project.kapelle(&["run"]).code, Some(0));
    let shown = project.kapelle(&["show", "1.1"]).stdout;
    assert!(shown.contains("the agent changed nothing"), "{shown}");
    assert!(!shown.contains("says that it is done"), "{shown}");
}

#[test]
fn a_file_that_an_agent_commits_although_it_is_ignored_is_integrated() {
    let agent =
        "mkdir dist && echo app > dist/app.js && git add -f dist/app.js && git commit -qm app";
    let project = Project::with_streams(&[stream("1.1", "Build", &[])], agent, "");
    project.write(".gitignore", "dist/\n");
    project.git(&["add", ".gitignore"]);
    project.git(&["commit", "-qm", "ignore what is built"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.git(&["show", "main:dist/app.js"]).trim(), "app");
}

#[test]
fn a_failed_check_is_told_to_the_next_attempt_which_mends_it() {
    let agent = "if grep -q 'wrong value' \"$KAPELLE_PROMPT_FILE\"; then echo right > value; else echo wrong > value; fi";
    let checks = "verify: {checks: [{name: value, command: 'grep -qx right value || { echo wrong value; exit 1; }'}]}\n";
    let project = Project::with_streams(&[stream("1.1", "Mend", &[])], agent, checks);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.read("value"), "right\n");
    let report = project.json(&["report", "--json"]);
    let attempts = report["tasks"][0]["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2, "{report}");
    assert_eq!(
        (&attempts[0]["outcome"], &attempts[1]["outcome"]),
        (&"checks_failed".into(), &"completed".into())
    );
}

#[test]
fn a_conflict_goes_back_and_is_resolved_on_what_was_merged_meanwhile() {
    let agent = "sleep 0.3; echo \"$KAPELLE_STREAM\" >> shared.txt";
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let project =
        Project::with_streams(&streams, agent, "retry: {app_attempts: 3, backoff_base: 10ms}\n");
    // The retry section stands twice; the later one is the test's own.
    let config = project
        .read("kapelle.yaml")
        .replace("retry: {backoff_base: 10ms, backoff_max: 50ms}\n", "");
    project.write("kapelle.yaml", &config);
    project.write("shared.txt", "0\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "shared"]);
    let finished = project.kapelle(&["parallel", "-n", "2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut lines: Vec<String> = project.read("shared.txt").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["0", "1.1", "1.2"]);
    let report = project.json(&["report", "--json"]);
    let attempts: Vec<usize> = report["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|task| task["attempts"].as_array().expect("attempts").len())
        .collect();
    assert_eq!(attempts.iter().sum::<usize>(), 3, "one of the two had to try again: {report}");
    let (key, reason) = refused(&report);
    assert!(reason.contains("merge conflict in shared.txt"), "{reason}");
    let why = project.kapelle(&["why", &key]);
    let says = "its result was not integrated: merge conflict in shared.txt";
    assert!(why.stdout.contains(says), "{why:?}");
}

/// The task whose first result was refused, and why; there must be exactly one.
fn refused(report: &serde_json::Value) -> (String, String) {
    let tasks = report["tasks"].as_array().expect("tasks").iter();
    let all: Vec<(String, String)> = tasks
        .flat_map(|task| {
            let key = task["task"]["key"].as_str().expect("a key");
            let attempts = task["attempts"].as_array().expect("attempts").iter();
            let reasons = attempts.filter_map(|attempt| {
                let reason = attempt["refused"].as_str()?;
                assert_eq!(
                    (&attempt["number"], &attempt["outcome"]),
                    (&1.into(), &"completed".into())
                );
                Some((key.to_owned(), reason.to_owned()))
            });
            reasons.collect::<Vec<_>>()
        })
        .collect();
    let [one] = all.as_slice() else { panic!("{all:?}: {report}") };
    one.clone()
}

#[test]
fn a_check_that_fails_on_the_merged_tree_is_told_with_its_attempt() {
    let checks = "verify: {checks: [{name: alone, command: 'test \"$(ls out | wc -l)\" = 1 || { echo too many; exit 1; }'}]}\n";
    let streams = [stream("1.1", "One", &[]), stream("1.2", "Two", &[])];
    let agent = format!("sleep 0.5; {WRITE}");
    let project = Project::with_streams(&streams, &agent, checks);
    let config = project.read("kapelle.yaml").replace("retry: {", "retry: {app_attempts: 1, ");
    project.write("kapelle.yaml", &config);
    project.git(&["commit", "--quiet", "-am", "config"]);
    let finished = project.kapelle(&["parallel", "-n", "2"]);
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let (key, reason) = refused(&project.json(&["report", "--json"]));
    assert!(reason.contains("after merging") && reason.contains("too many"), "{reason}");
    let why = project.kapelle(&["why", &key]);
    assert!(why.stdout.contains("its result was not integrated: after merging"), "{why:?}");
    for arguments in [&["report"][..], &["report", "--markdown"], &["show", &key]] {
        let told = project.kapelle(arguments);
        assert!(told.stdout.contains("not integrated: after merging"), "{told:?}");
    }
}

#[test]
fn a_dirty_working_copy_is_never_touched() {
    let project = Project::with_streams(&[stream("1.1", "One", &[])], WRITE, "");
    project.write(
        "plans/roadmap.md",
        &format!("{}\nA note of the user's.\n", project.read("plans/roadmap.md")),
    );
    let before = project.git(&["status", "--porcelain"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        (finished.stdout + &finished.stderr).contains("kapelle/r-1"),
        "it says where results are"
    );
    assert_eq!(project.git(&["status", "--porcelain"]), before);
    assert!(project.integrated("main").is_empty());
    assert_eq!(project.integrated("kapelle/r-1"), ["1.1"]);
}

#[test]
fn what_is_done_on_a_branch_is_not_done_again_before_it_is_merged() {
    let mut streams = chain();
    streams.truncate(3);
    let project = Project::with_streams(&streams, WRITE, "");
    project.write("notes.txt", "first\n");
    project.git(&["add", "-A"]);
    project.git(&["commit", "--quiet", "-m", "notes"]);
    project.write("notes.txt", "being written\n");
    let finished = project.kapelle(&["run", "1.1"]);
    let merge = "git merge kapelle/r-1";
    assert!(finished.code == Some(0) && finished.stderr.contains(merge), "{finished:?}");

    // The next run takes something else, and says why.
    project.git(&["checkout", "--quiet", "notes.txt"]);
    let plan = project.kapelle(&["batch", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("a plan");
    assert_eq!(plan["tasks"].as_array().map(Vec::len), Some(1), "{plan}");
    assert_eq!(plan["tasks"][0]["key"], "1.3", "{plan}");
    let unmerged = "done in kapelle/r-1, not merged yet";
    assert!(plan["notes"].to_string().contains(&format!("1.1: {unmerged}: {merge}")), "{plan}");
    let named = project.kapelle(&["run", "1.1"]);
    assert_ne!(named.code, Some(0), "{named:?}");
    assert!(named.stderr.contains(unmerged) && named.stderr.contains(merge), "{named:?}");
    let status = project.json(&["status", "--json"]);
    let stream = |id: &str| {
        let streams = status["streams"].as_array().expect("streams").iter();
        streams.clone().find(|stream| stream["id"] == id).expect(id).clone()
    };
    assert_eq!(stream("1.1")["unmerged_in"], "kapelle/r-1", "{status}");
    assert_eq!(stream("1.1")["available"], false, "{status}");
    assert_eq!(stream("1.2")["reason"], format!("it waits for 1.1 ({unmerged})"), "{status}");
    assert_eq!(status["recent_runs"][0]["unmerged"], true, "{status}");
    for id in ["1.1", "r-1/1.1"] {
        let why = project.kapelle(&["why", id]);
        assert!(why.stdout.contains(unmerged) && why.stdout.contains(merge), "{why:?}");
    }

    // Once it is merged its mark is here too; what it unblocks can start.
    project.git(&["merge", "--quiet", "--ff-only", "kapelle/r-1"]);
    let plan = project.json(&["run", "1.2", "--dry-run", "--json"]);
    assert_eq!(plan["tasks"][0]["key"], "1.2", "{plan}");
    assert!(project.kapelle(&["run", "1.1"]).stderr.contains("it is complete"));
    let report = project.json(&["report", "r-1", "--json"]);
    assert_eq!(report["run"]["unmerged"], false, "{report}");

    // When it is thrown away, the work is there to be done again.
    project.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    assert!(project.kapelle(&["run", "1.1"]).stderr.contains(unmerged));
    project.git(&["branch", "--quiet", "-D", "kapelle/r-1"]);
    let why = project.kapelle(&["why", "1.1"]);
    assert!(why.stdout.contains("it can be run again"), "{why:?}");
    assert_eq!(project.kapelle(&["run", "1.1"]).code, Some(0));
    assert_eq!(project.integrated("main"), ["1.1"]);
}

#[test]
fn a_branch_that_was_never_made_is_not_offered_for_a_merge() {
    let project = Project::with_streams(&[stream("1.1", "Fail", &[])], "exit 1", "");
    project.write("kapelle.yaml", &format!("{}\n# a note\n", project.read("kapelle.yaml")));
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(10), "{finished:?}");
    assert!(finished.stderr.contains("results go to the branch kapelle/r-1"), "{finished:?}");
    assert!(!(finished.stdout + &finished.stderr).contains("git merge"), "there is no branch");
}

#[test]
fn a_roadmap_that_is_edited_while_it_runs_stays_the_users() {
    let agent = "sleep 1; mkdir -p out; echo x > out/$KAPELLE_STREAM";
    let project = Project::with_streams(&[stream("1.1", "One", &[])], agent, "");
    let running = project.start(&["run"]);
    project.wait_for("an agent", || {
        (!living_in(&project.root().join(".kapelle/work")).is_empty()).then_some(())
    });
    let edited = format!("{}\nA note of the user's.\n", project.read("plans/roadmap.md"));
    project.write("plans/roadmap.md", &edited);
    let finished = running.wait();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.read("plans/roadmap.md"), edited);
    assert_eq!(project.integrated("kapelle/r-1"), ["1.1"]);
}

#[test]
fn a_stop_ends_agents_that_ignore_signals_with_all_they_started() {
    let agent = "trap '' TERM INT; (setsid sleep 600 &); sleep 600";
    let slow = "    stop_grace: 200ms\n    kill_grace: 200ms\n";
    let project = Project::with_streams(&[stream("1.1", "Stubborn", &[])], agent, "");
    let config = project.read("kapelle.yaml").replace("retry:", &format!("{slow}retry:"));
    project.write("kapelle.yaml", &config);
    project.git(&["commit", "--quiet", "-am", "config"]);
    let running = project.start(&["run"]);
    project.wait_for("the agent", || {
        (living_in(&project.root().join(".kapelle/work")).len() >= 2).then_some(())
    });
    let stopped = project.kapelle(&["stop", "r-1"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let finished = running.wait();
    assert_ne!(finished.code, Some(0), "{finished:?}");
    assert!(living_in(project.around()).is_empty(), "{:?}", living_in(project.around()));
    let runs = project.json(&["runs", "--json"]);
    assert!(runs.to_string().contains("cancelled"), "{runs}");
}

#[test]
fn an_agent_that_takes_too_long_is_ended() {
    let more = "timeouts: {attempt: 500ms}\n";
    let project = Project::with_streams(&[stream("1.1", "Slow", &[])], "sleep 600", more);
    let config = project.read("kapelle.yaml").replace("retry: {", "retry: {app_attempts: 1, ");
    project.write("kapelle.yaml", &config);
    project.git(&["commit", "--quiet", "-am", "config"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let report = project.json(&["report", "--json"]);
    assert_eq!(report["tasks"][0]["attempts"][0]["outcome"], "timed_out", "{report}");
}

#[test]
fn an_agent_can_be_required_to_tick_its_tasks() {
    let agent = "echo x > out; if grep -q 'not ticked' \"$KAPELLE_PROMPT_FILE\"; then sed -i 's/\\[ \\]/[x]/' plans/roadmap.md; fi";
    let project =
        Project::with_streams(&[stream("1.1", "Tick", &[])], agent, "verify: {roadmap: true}\n");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = project.json(&["report", "--json"]);
    assert_eq!(report["tasks"][0]["attempts"].as_array().map(Vec::len), Some(2), "{report}");
}

#[test]
fn the_demonstration_shows_what_it_promises() {
    let project = Project::bare_directory();
    let place = project.around().join("demo");
    let finished = project.kapelle(&["demo", "--dir", place.to_str().expect("a path")]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for words in
        ["merge conflict", "failed: average", "feedback \"Bravo\" was applied", "10 of 10 complete"]
    {
        assert!(finished.stdout.contains(words), "`{words}` is not in {}", finished.stdout);
    }
}

#[test]
fn an_agent_of_lines_gets_its_prompt_the_way_it_wants_it() {
    for (prompt, find) in [
        ("stdin", "read -r line; echo \"$line\""),
        ("argument", "echo \"$0\""),
        ("file", "cat \"$0\""),
    ] {
        let agent =
            format!("{find} > got; echo '{{\"kapelle\":1,\"type\":\"message\",\"text\":\"hi\"}}'");
        let project = Project::with_streams(&[stream("1.1", "Ask", &[])], &agent, "");
        let lines = format!("    prompt: {prompt}\n    protocol: lines\nretry:");
        let config = project.read("kapelle.yaml").replacen("retry:", &lines, 1);
        project.write("kapelle.yaml", &config);
        project.git(&["commit", "--quiet", "-am", "lines"]);
        let finished = project.kapelle(&["run"]);
        assert_eq!(finished.code, Some(0), "{prompt}: {finished:?}");
        let got = project.read("got");
        assert!(got.contains("# Work stream 1.1: Ask"), "{prompt}: {got}");
        if prompt == "stdin" {
            assert!(got.starts_with("{\"kapelle\":1,\"type\":\"prompt\",\"id\":0,"), "{got}");
        }
    }
}

#[test]
fn an_agent_that_reports_a_failure_has_failed_whatever_its_exit_code() {
    let agent = "echo x > file; echo '{\"kapelle\":1,\"type\":\"end\",\"outcome\":\"failed\",\"text\":\"beyond me\"}'";
    for verify in ["", "verify: {enabled: false}\n"] {
        let project = Project::with_streams(&[stream("1.1", "Fail", &[])], agent, verify);
        let lines = "    protocol: lines\nretry:";
        let config = project.read("kapelle.yaml").replacen("retry:", lines, 1);
        project.write("kapelle.yaml", &config);
        project.git(&["commit", "--quiet", "-am", "lines"]);
        let finished = project.kapelle(&["run"]);
        assert_eq!(finished.code, Some(10), "{finished:?}");
        assert!(project.integrated("main").is_empty());
        let report = project.json(&["report", "--json"]);
        let first = &report["tasks"][0]["attempts"][0];
        assert_eq!((&first["outcome"], &first["exit_code"]), (&"agent_failed".into(), &0.into()));
        let reported = "the agent reported a failure: beyond me";
        assert_eq!(first["summary"], reported, "{report}");
    }
}

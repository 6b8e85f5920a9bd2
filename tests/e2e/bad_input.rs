//! Bad input and bad days: each a clear error, and nothing lost.

use std::net::TcpListener;
use std::process::Command;

use kapelle_tests::{Finished, Project, living_in, stream};

const WRITE: &str = "mkdir -p out; echo x > out/$KAPELLE_STREAM";

fn one(agent: &str, more: &str) -> Project {
    Project::with_streams(&[stream("1.1", "One", &[])], agent, more)
}

/// The error says all of `words`, the exit code is not 0.
fn refused(finished: &Finished, words: &[&str]) {
    assert!(!matches!(finished.code, Some(0) | None), "{finished:?}");
    let all = format!("{}{}", finished.stdout, finished.stderr);
    for word in words {
        assert!(all.contains(word), "`{word}` is not in {finished:?}");
    }
}

#[test]
fn repositories_that_cannot_be_worked_in() {
    let none = Project::bare_directory();
    refused(&none.kapelle(&["run"]), &["not in a git repository", "git init"]);
    let bare = Project::bare_directory();
    bare.git(&["init", "--quiet", "--bare"]);
    refused(&bare.kapelle(&["run"]), &["bare repository"]);
    let empty = Project::bare_directory();
    empty.git(&["init", "--quiet"]);
    empty.write("plans/roadmap.md", &stream("1.1", "One", &[]));
    empty.write("kapelle.yaml", "version: 1\nagents: {a: {command: [\"true\"]}}\n");
    refused(&empty.kapelle(&["run"]), &["no commits yet"]);
}

#[test]
fn a_detached_head_is_worked_from_on_a_branch_of_its_own() {
    let project = one(WRITE, "");
    project.git(&["checkout", "--quiet", "--detach"]);
    let head = project.git(&["rev-parse", "HEAD"]);
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(format!("{}{}", finished.stdout, finished.stderr).contains("detached"), "{finished:?}");
    assert_eq!(project.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(project.integrated("kapelle/r-1"), ["1.1"]);
}

#[test]
fn a_missing_agent_program_fails_at_once_and_says_how_to_mend_it() {
    let project = one(WRITE, "");
    let config = project.read("kapelle.yaml").replace("[sh,", "[no-such-agent,");
    project.write("kapelle.yaml", &config);
    project.git(&["commit", "--quiet", "-am", "config"]);
    let finished = project.kapelle(&["run"]);
    refused(&finished, &["no-such-agent", "install it"]);
    let report = project.json(&["report", "--json"]);
    assert_eq!(
        report["tasks"][0]["attempts"].as_array().map(Vec::len),
        Some(1),
        "no retry can help"
    );
}

#[test]
fn an_agent_that_prints_a_gigabyte_is_read_in_bounded_space() {
    let project = one(&format!("yes | head -c 1000000000; {WRITE}"), "");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let logs = project.kapelle(&["logs", "1.1"]);
    assert!(logs.stdout.contains("were not kept"), "the gap is marked");
    let state = Command::new("du").args(["-sk", ".kapelle"]).current_dir(project.root()).output();
    let kib = String::from_utf8_lossy(&state.expect("du runs").stdout)
        .split('\t')
        .next()
        .map(str::to_owned);
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("a size");
    assert!(kib < 512 * 1024, "{kib} KiB are kept");
}

#[test]
fn an_agent_that_forks_and_exits_leaves_nothing_behind() {
    let project = one(&format!("(setsid sleep 600 & ) ; (sleep 600 &) ; {WRITE}"), "");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(living_in(project.around()).is_empty());
}

#[test]
fn an_agent_that_deletes_its_repository_loses_no_work() {
    let project = one(&format!("rm -rf .git; {WRITE}"), "");
    let finished = project.kapelle(&["run"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(project.read("out/1.1"), "x\n");
}

#[test]
fn a_corrupt_state_is_refused_and_left_as_it_is() {
    let project = one(WRITE, "");
    assert_eq!(project.kapelle(&["run"]).code, Some(0));
    let path = project.root().join(".kapelle/state.db");
    std::fs::write(&path, b"this is no database at all, not even a little").expect("a file");
    let before = std::fs::read(&path).expect("a file");
    refused(&project.kapelle(&["status"]), &["state.db"]);
    assert_eq!(std::fs::read(&path).expect("a file"), before, "nothing is deleted");
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let project = one(WRITE, "");
    let finished = project.kapelle_with(&["run"], &[("KAPELLE__SERVER__LISTEN", &address)]);
    refused(&finished, &[&address, "in use"]);
    assert!(project.integrated("main").is_empty());
}

#[test]
fn configurations_and_roadmaps_that_make_no_sense_are_located() {
    let project = one(WRITE, "");
    project.write("kapelle.yaml", "version: 1\nagnts: {}\n");
    refused(&project.kapelle(&["status"]), &["agnts", "kapelle.yaml:2:1", "agents"]);
    let project = one(WRITE, "");
    project.write("plans/roadmap.md", &stream("1.1", "One", &["9.9"]));
    refused(&project.kapelle(&["roadmap", "check"]), &["unknown-dependency", "9.9"]);
    let empty = one(WRITE, "");
    empty.write("plans/roadmap.md", "");
    refused(&empty.kapelle(&["run"]), &["no work stream is available"]);
}

/// A disk that fills up and one that can't be written: on file systems of their own where that is
/// allowed; the same errors are checked on the store itself in its own tests.
#[test]
fn a_disk_that_is_full_or_read_only_is_named_and_nothing_is_lost() {
    let project = one(WRITE, "");
    let state = project.root().join(".kapelle");
    std::fs::create_dir(&state).expect("a directory");
    let script = format!(
        "set -e\nmount -t tmpfs -o size=2m none {state}\nhead -c 3m /dev/zero > {state}/ballast 2>/dev/null || true\n\
         set +e; {program} run; full=$?\nrm {state}/ballast; mount -o remount,ro {state}\n\
         {program} run; readonly=$?\nmount -o remount,rw,size=64m {state}\n{program} run; echo codes $full $readonly $?",
        state = state.display(),
        program = program().display(),
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(project.root())
        .env("HOME", project.around().join("home"))
        .output()
        .expect("unshare runs");
    let finished = Finished::from(output);
    assert!(finished.stdout.contains("codes "), "no mount namespace could be made: {finished:?}");
    let codes: Vec<&str> =
        finished.stdout.lines().last().unwrap_or_default().split(' ').skip(1).collect();
    assert_eq!(codes.len(), 3, "{finished:?}");
    assert!(codes[0] != "0" && codes[1] != "0" && codes[2] == "0", "{finished:?}");
    assert!(
        finished.stderr.contains("disk is full") || finished.stderr.contains("No space left"),
        "{finished:?}"
    );
    assert!(finished.stderr.to_lowercase().contains("read-only"), "{finished:?}");
    assert_eq!(project.integrated("main"), ["1.1"]);
}

/// A look at a project that can't be written is a look all the same.
#[test]
fn a_project_on_a_read_only_file_system_is_looked_at() {
    let project = one(WRITE, "");
    assert_eq!(project.kapelle(&["run"]).code, Some(0));
    let script = format!(
        "set -e\nmount --bind {root} {root}\nmount -o remount,bind,ro {root}\ncd {root}\n\
         if touch here; then exit 9; fi\nexec {program} doctor",
        root = project.root().display(),
        program = program().display(),
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .env("HOME", project.around().join("home"))
        .output()
        .expect("unshare runs");
    let finished = Finished::from(output);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("can't be written: Read-only file system"), "{finished:?}");
    assert!(finished.stdout.contains("0 failures"), "{finished:?}");
}

#[test]
fn without_a_terminal_nothing_is_asked_and_what_was_chosen_is_said() {
    let project = Project::bare_directory();
    project.git(&["init", "--quiet"]);
    let bin = project.around().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    for name in ["codex", "gemini"] {
        // One that would wait for whoever is at the keyboard.
        let path = bin.join(name);
        std::fs::write(&path, "#!/bin/sh\nread line; echo '1.0'\n").expect("a program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("it may be run");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let finished = project.kapelle_with(&["init"], &[("PATH", &path)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for said in ["Nobody can be asked here", "create  kapelle.yaml", "Runs use codex"] {
        assert!(finished.stderr.contains(said), "`{said}` is not in {finished:?}");
    }
    assert!(project.read("kapelle.yaml").contains("agent: codex"));
    let again = project.kapelle_with(&["init"], &[("PATH", &path)]);
    assert!(again.stderr.contains("Everything is in place."), "{again:?}");
}

#[test]
fn a_picture_goes_to_standard_output_where_that_is_asked_for() {
    let project = one(WRITE, "");
    let drawn = project.kapelle(&["roadmap", "graph", "--svg", "-"]);
    assert_eq!(drawn.code, Some(0), "{drawn:?}");
    assert!(drawn.stdout.starts_with("<svg") && drawn.stdout.trim_end().ends_with("</svg>"));
    assert!(drawn.stdout.contains("0 of 1 work stream complete"), "{drawn:?}");
    assert!(!project.root().join("-").exists());
    project.kapelle(&["roadmap", "graph", "--svg", "drawn.svg"]);
    assert_eq!(project.read("drawn.svg"), drawn.stdout);
}

fn program() -> std::path::PathBuf {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/kapelle");
    std::env::var_os("KAPELLE_BIN").map_or(beside, Into::into)
}

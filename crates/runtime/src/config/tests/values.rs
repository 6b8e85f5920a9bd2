//! How single values are read, and which make sense.

use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn durations_are_read_and_written_for_people() {
    let check = |text: &str, millis: u64, written: &str| {
        let duration: HumanDuration = text.parse().expect(text);
        assert_eq!(duration, HumanDuration(Duration::from_millis(millis)), "{text}");
        assert_eq!(duration.to_string(), written);
        assert_eq!(written.parse(), Ok(duration), "what is written can be read");
    };
    check("30m", 1_800_000, "30m");
    check("500ms", 500, "500ms");
    check("1h30m", 5_400_000, "1h30m");
    check("90s", 90_000, "1m30s");
    check("1 hour 30 minutes", 5_400_000, "1h30m");
    check("7d", 604_800_000, "168h");
    check("0s", 0, "0s");
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in ["", "30", "m", "-5m", "1 month", "five minutes", "99999999999999999999h", "1h 30x"]
    {
        assert!(text.parse::<HumanDuration>().is_err(), "{text:?}");
    }
}

#[test]
fn sizes_are_read_and_written_for_people() {
    let check = |text: &str, bytes: u64, written: &str| {
        assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        assert_eq!(ByteSize(bytes).to_string(), written);
    };
    check("8MiB", 8 << 20, "8MiB");
    check("500 kB", 500_000, "500kB");
    check("1024", 1024, "1KiB");
    check("1025B", 1025, "1025B");
    check("0", 0, "0B");
    for text in ["", "MiB", "-1", "1.5GiB", "8 mib", "99999999999TiB"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_size_survives_being_written(bytes: u64) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }

    #[test]
    fn any_duration_survives_being_written(millis in 0..1_u64 << 48) {
        let duration = HumanDuration(Duration::from_millis(millis));
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }
}

#[test]
fn scalars_are_the_text_that_was_written() {
    let config = Sandbox::new()
        .project(
            "project: {name: 1.10}\nrun: {agent: no}\n\
             agents:\n  no: {command: [0x1F, yes, 1e3, ~x, 2026-01-01, 007, true]}\n  1.10: {command: [a]}\n",
        )
        .config();
    assert_eq!(config.project.name.as_deref(), Some("1.10"));
    assert_eq!(config.agents.keys().collect::<Vec<_>>(), ["1.10", "no"]);
    let expected = ["0x1F", "yes", "1e3", "~x", "2026-01-01", "007", "true"];
    assert_eq!(config.agents["no"].command, expected);
}

#[test]
fn anchors_and_merge_keys_work() {
    let config = Sandbox::new()
        .project("agents:\n  a: &a {command: [x], timeout: 5m}\n  b: {<<: *a, timeout: 6m}\n")
        .config();
    assert_eq!(config.agents["b"].command, ["x"]);
    assert_eq!(config.agents["b"].timeout, HumanDuration::from_mins(6));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_matter() {
    let sandbox = Sandbox::new().project("\u{feff}run:\r\n  concurrency: 4\r\n");
    assert_eq!(sandbox.config().run.concurrency, 4);
    let loaded = sandbox.load().expect("good file");
    let origins: Vec<_> = loaded
        .settings
        .iter()
        .filter(|setting| setting.origin != Origin::Default)
        .map(|setting| setting.origin.to_string())
        .collect();
    assert_eq!(origins, ["kapelle.yaml:2:16"]);
}

#[test]
fn checks_take_a_line_for_the_shell_or_a_program() {
    let config = Sandbox::new()
        .project(
            "verify:\n  checks:\n    - {name: test, command: cargo test && true}\n    \
             - {name: lint, command: [cargo, clippy], timeout: 5m, severity: warning}\n",
        )
        .config();
    let checks = config.verify.checks.expect("two checks");
    assert_eq!(checks[0].command, CommandLine::Shell("cargo test && true".into()));
    assert_eq!(checks[1].command, CommandLine::Argv(vec!["cargo".into(), "clippy".into()]));
    assert_eq!(checks[1].timeout, Some(HumanDuration::from_mins(5)));
    assert_eq!((checks[0].severity, checks[1].severity), (Severity::Error, Severity::Warning));
}

#[test]
fn no_checks_is_something_else_than_nothing_said() {
    assert_eq!(
        Sandbox::new().project("verify:\n  checks: []\n").config().verify.checks,
        Some(vec![])
    );
    assert_eq!(Sandbox::new().project("verify:\n  checks:\n").config().verify.checks, None);
}

#[test]
fn the_default_agent_is_the_named_or_the_only_one() {
    let check = |text: &str, expected: Option<&str>| {
        let config = Sandbox::new().project(text).config();
        assert_eq!(config.default_agent().map(|(name, _)| name), expected, "{text}");
    };
    check("", None);
    check("agents: {a: {command: [x]}}", Some("a"));
    check("agents: {a: {command: [x]}, b: {command: [x]}}", None);
    check("agents: {a: {command: [x]}, b: {command: [x]}}\nrun: {agent: b}", Some("b"));
}

#[test]
fn leftovers_fail_only_when_nobody_commits_them() {
    let check = |text: &str, expected: bool| {
        assert_eq!(Sandbox::new().project(text).config().require_clean(), expected, "{text}");
    };
    check("", false);
    check("run: {auto_commit: false}", true);
    check("run: {auto_commit: false}\nverify: {require_clean: false}", false);
    check("verify: {require_clean: true}", true);
}

#[test]
fn the_roadmap_is_the_configured_or_the_first_usual_one() {
    let sandbox = Sandbox::new();
    let root = &sandbox.options.project_root;
    let project = Project::default();
    assert_eq!(project.find_roadmap(root), None);
    std::fs::create_dir_all(root.join("docs/roadmap.md")).expect("a directory is no roadmap");
    assert_eq!(project.find_roadmap(root), None);
    std::fs::write(root.join("ROADMAP.md"), "").expect("write");
    assert_eq!(project.find_roadmap(root), Some("ROADMAP.md".into()));
    std::fs::create_dir(root.join("plans")).expect("create");
    std::fs::write(root.join("plans/roadmap.md"), "").expect("write");
    assert_eq!(project.find_roadmap(root), Some("plans/roadmap.md".into()));
    let configured = Project { roadmap: Some("other.md".into()), ..Project::default() };
    assert_eq!(configured.find_roadmap(root), Some("other.md".into()));
}

#[test]
fn the_token_comes_from_the_variable_or_the_file_and_is_never_shown() {
    let sandbox = Sandbox::new().file("project/token", "from-file\n");
    let root = &sandbox.options.project_root;
    let token = |server: &Server, variable: &str| {
        let environment = BTreeMap::from([("KAPELLE_AUTH_TOKEN".into(), variable.into())]);
        server.auth_token(root, &environment)
    };
    let none = Server::default();
    let with_file = Server { auth_token_file: Some("token".into()), ..Server::default() };
    let revealed = |server, variable| {
        let secret = token(server, variable).expect("readable");
        assert!(!format!("{secret:?}").contains("from-"));
        secret.map(|secret| secret.reveal().to_owned())
    };
    assert_eq!(revealed(&none, ""), None);
    assert_eq!(revealed(&none, "from-env").as_deref(), Some("from-env"));
    assert_eq!(revealed(&with_file, "").as_deref(), Some("from-file"));
    assert_eq!(revealed(&with_file, "from-env").as_deref(), Some("from-env"));

    let missing = Server { auth_token_file: Some("nowhere".into()), ..Server::default() };
    let error = token(&missing, "").expect_err("there is no such file");
    assert_eq!(error.to_string(), "cannot read nowhere");
}

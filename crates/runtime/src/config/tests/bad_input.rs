//! Whatever is in the files: a located error that helps, never a panic.

use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use std::fmt::Write as _;

fn check(text: impl AsRef<[u8]>, expected: &str) {
    let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
    assert_eq!(Sandbox::new().project(text).error().render(), expected, "{shown:.200}");
}

/// As [`check`], for the first line of the message alone.
fn check_line(text: &str, expected: &str) {
    assert_eq!(Sandbox::new().project(text).error().to_string(), expected, "{text}");
}

#[test]
fn an_unknown_key_is_shown_in_its_line_with_a_suggestion() {
    check(
        "version: 1\n\nagnts:\n  x: 1\n",
        "unknown key \"agnts\" in kapelle.yaml:3:1\n  |\n3 | agnts:\n  | ^^^^^\ndid you mean \"agents\"?",
    );
    check(
        "run:\n  concurency: 3\n",
        "unknown key \"run.concurency\" in kapelle.yaml:2:3\n  |\n2 |   concurency: 3\n  |   ^^^^^^^^^^\n\
         did you mean \"concurrency\"?",
    );
    check(
        "integrate: {colour: red}\n",
        "unknown key \"integrate.colour\" in kapelle.yaml:1:13\n  |\n1 | integrate: {colour: red}\n  |             ^^^^^^\n\
         known here: target, verify_merged, author_name, author_email",
    );
    check(
        "a.b[-1]: 1\n",
        "unknown key \"a.b[-1]\" in kapelle.yaml:1:1\n  |\n1 | a.b[-1]: 1\n  | ^^^^^^^\n\
         known here: version, project, run, agents, verify, integrate, retry, limits, timeouts, server, store, nats",
    );
}

#[test]
fn a_wrong_type_says_what_is_wanted_and_what_is_there() {
    check_line(
        "run: {concurrency: yes}",
        "run.concurrency: expected a number from 0 to 4294967295, found \"yes\", in kapelle.yaml:1:20",
    );
    check_line(
        "run:\n  concurrency: 2.7",
        "run.concurrency: expected a number from 0 to 4294967295, found \"2.7\", in kapelle.yaml:2:16",
    );
    check_line(
        "run: {auto_commit: no}",
        "run.auto_commit: expected true or false, found \"no\", in kapelle.yaml:1:20",
    );
    check_line("run: 3", "run: expected a map, found \"3\", in kapelle.yaml:1:6");
    check_line("run: [a]", "run: expected a map, found a list, in kapelle.yaml:1:6");
    check_line(
        "project: {name: {a: b}}",
        "project.name: expected text, found a map, in kapelle.yaml:1:17",
    );
    check_line(
        "agents: {x: {command: run it}}",
        "agents.x.command: expected a list, found \"run it\", in kapelle.yaml:1:23",
    );
    check_line(
        "agents:\n  x:\n    command:\n      - a\n      - [b]\n",
        "agents.x.command.1: expected text, found a list, in kapelle.yaml:5:9",
    );
    check_line(
        "agents: {x: {command: [a, ~]}}",
        "agents.x.command.1: expected text, found nothing, in kapelle.yaml:1:27",
    );
    check_line(
        "verify: {checks: [{name: a, command: {x: y}}]}",
        "verify.checks.0.command: expected a line for the shell, or a list of program and arguments, found map, in kapelle.yaml:1:38",
    );
    check_line(
        "run: {mode: [batch]}",
        "run.mode: expected a word, found a list, in kapelle.yaml:1:13",
    );
    check_line("run: {mode: paralel}", "run.mode: unknown value \"paralel\" in kapelle.yaml:1:13");
    check_line(
        "timeouts:\n  claim: 30\n",
        "timeouts.claim: \"30\" is not a duration; write a number with a unit, such as \"30s\", \"5m\" or \"1h30m\", in kapelle.yaml:2:10",
    );
    check_line(
        "limits: {output_bytes: much}",
        "limits.output_bytes: \"much\" is not a size; write a whole number with a unit, such as \"8MiB\" or \"500kB\", in kapelle.yaml:1:24",
    );
    check_line(
        "server: {listen: here}",
        "server.listen: \"here\" is not an address with a port, such as 127.0.0.1:7400, in kapelle.yaml:1:18",
    );
    check_line(
        "verify:\n  checks:\n    - command: x\n",
        "verify.checks.0.name is missing in kapelle.yaml:3:7",
    );
}

#[test]
fn an_agent_that_makes_no_sense_is_located() {
    check_line(
        "agents: {'a b': {command: [x]}}",
        "agents.a b: is not a name for an agent, in kapelle.yaml:1:17",
    );
    check_line(
        "agents:\n  x:\n    prompt: file\n",
        "agents.x.command: the driver `command` needs a program to start, in kapelle.yaml:3:5",
    );
    check_line(
        "agents: {x: {driver: scripted}}",
        "agents.x.script: the driver `scripted` needs a script, in kapelle.yaml:1:13",
    );
    check_line(
        "agents: {x: {command: [a], script: b}}",
        "agents.x.script: the driver `command` plays no script, in kapelle.yaml:1:36",
    );
    check_line(
        "agents: {x: {command: [a], script: b, driver: scripted}}",
        "agents.x.command: the driver `scripted` starts no program, in kapelle.yaml:1:23",
    );
    check_line(
        "agents: {x: {command: [a], env: {'A=B': c}}}",
        "agents.x.env: \"A=B\" cannot be the name of a variable, in kapelle.yaml:1:33",
    );
    check_line(
        "agents: {x: {command: [a], timeout: 0s}}",
        "agents.x.timeout: must be longer than zero, in kapelle.yaml:1:37",
    );
}

#[test]
fn sections_that_make_no_sense_are_located_too() {
    check_line("version: 2", "version: 2 is not a known version, in kapelle.yaml:1:10");
    check_line(
        "run: {concurrency: 0}",
        "run.concurrency: must be from 1 to 1000, in kapelle.yaml:1:20",
    );
    check_line("run: {agent: x}", "run.agent: there is no agent \"x\", in kapelle.yaml:1:14");
    check_line(
        "project: {roadmap: ../x.md}",
        "project.roadmap: must be a path inside the project, in kapelle.yaml:1:20",
    );
    check_line(
        "verify: {checks: [{name: a, command: x}, {name: a, command: y}]}",
        "verify.checks.1.name: there are two checks called \"a\", in kapelle.yaml:1:49",
    );
    check_line(
        "verify: {checks: [{name: a, command: []}]}",
        "verify.checks.0.command: there is nothing to run, in kapelle.yaml:1:38",
    );
    check_line(
        "integrate: {target: -f}",
        "integrate.target: \"-f\" cannot be a branch, in kapelle.yaml:1:21",
    );
    check_line(
        "integrate: {author_name: a}",
        "integrate.author_email: is missing beside author_name, in kapelle.yaml:1:12",
    );
    check_line(
        "retry: {app_attempts: 0}",
        "retry.app_attempts: must be at least 1, in kapelle.yaml:1:23",
    );
    check_line(
        "retry: {backoff_max: 500ms}",
        "retry.backoff_max: must not be less than backoff_base (1s), in kapelle.yaml:1:22",
    );
    check_line(
        "limits: {max_running: 0}",
        "limits.max_running: must be at least 1, in kapelle.yaml:1:23",
    );
    check_line(
        "timeouts: {heartbeat: 20s}",
        "timeouts.lease_ttl: must be at least twice the heartbeat, in kapelle.yaml:1:11",
    );
    check_line(
        "timeouts: {lease_lost_after: 1s}",
        "timeouts.lease_lost_after: must not be less than lease_ttl (30s), in kapelle.yaml:1:30",
    );
    check_line(
        "server: {listen: '0.0.0.0:80'}",
        "server.listen: other machines could reach 0.0.0.0:80, in kapelle.yaml:1:18",
    );
    check_line(
        "store: {url: 'postgres://x/y'}",
        "store.url: is not a database this program can use, in kapelle.yaml:1:14",
    );
}

#[test]
fn a_file_that_is_no_map_or_no_yaml_is_told_with_its_place() {
    let check = |text: &[u8], expected: &str| {
        let error = Sandbox::new().project(text).error();
        assert_eq!(error.to_string(), expected, "{}", String::from_utf8_lossy(text));
    };
    check(b"just words", "the file must be a map of sections, such as `run:`, in kapelle.yaml:1:1");
    check(b"- a\n- b\n", "the file must be a map of sections, such as `run:`, in kapelle.yaml:1:1");
    check(b"run: {mode: batch", "unclosed bracket '{', in kapelle.yaml:1:6");
    check(b"run: 'x", "unclosed quote, in kapelle.yaml:1:6");
    check(b"a: b: c\n", "mapping values are not allowed in this context, in kapelle.yaml:1:5");
    check(b"run: *nowhere", "reference to unknown value, in kapelle.yaml:1:6");
    check(b"version: 1\n---\nversion: 1\n", "a second document after `---`, in kapelle.yaml:3:1");
    check(b"run: 1\nrun: 2\n", "the key \"run\" is there twice, in kapelle.yaml:2:1");
    check(b"? [a, b]\n: c\n", "a key must be a word, in kapelle.yaml:1:3");
    check(b"version: 1\nrun:\n  \xff\xfe: 1\n", "the file is not UTF-8 text, in kapelle.yaml:3:3");
    check(b"\xef\xbb\xbf\xff", "the file is not UTF-8 text, in kapelle.yaml:1:1");
}

#[test]
fn bombs_and_giants_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").expect("a string takes everything");
    }
    let error = Sandbox::new().project(&bomb).error();
    assert!(error.to_string().starts_with("the document nests too deep or is too big"), "{error}");

    for deep in ["[".repeat(100_000), "a: {".repeat(50_000), "- ".repeat(100_000)] {
        let error = Sandbox::new().project(&deep).error();
        assert!(matches!(error, Error::Syntax { .. }), "{error}");
    }
    let error = Sandbox::new().project(vec![b'#'; 1024 * 1024 + 1]).error();
    assert_eq!(
        error.to_string(),
        "kapelle.yaml is larger than 1048576 bytes: that is no configuration"
    );
}

#[test]
fn files_without_content_are_as_good_as_none() {
    for text in ["", "\u{feff}", "\n\n", "# nothing\n", "---\n", "---\n...\n", "~", "{}", "null"] {
        assert_eq!(Sandbox::new().project(text).config(), Config::default(), "{text:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_a_missing_one() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.options.project_root.join("kapelle.yaml")).expect("create");
    let error = sandbox.error();
    assert_eq!(error.to_string(), "cannot read kapelle.yaml");
    assert!(error.render().starts_with("cannot read kapelle.yaml: "), "the cause is shown");
}

#[test]
fn variables_and_flags_are_named_in_their_errors() {
    let check = |sandbox: Sandbox, expected: &str| assert_eq!(sandbox.error().render(), expected);
    check(
        Sandbox::new().variable("KAPELLE__RUN__CONCURENCY", "3"),
        "unknown key \"run.concurency\" in KAPELLE__RUN__CONCURENCY\ndid you mean \"concurrency\"?",
    );
    check(
        Sandbox::new()
            .project("run: {concurrency: 3}")
            .variable("KAPELLE__RUN__CONCURRENCY", "few"),
        "run.concurrency: expected a number from 0 to 4294967295, found \"few\", in KAPELLE__RUN__CONCURRENCY",
    );
    check(
        Sandbox::new().variable("KAPELLE__RUN", "batch"),
        "run: expected a map, found \"batch\", in KAPELLE__RUN",
    );
    check(
        Sandbox::new().variable("KAPELLE__RUN", "batch").variable("KAPELLE__RUN__MODE", "batch"),
        "run: expected a map, found \"batch\", in KAPELLE__RUN",
    );
    check(
        Sandbox::new().flag("--mode", "run.mode", "bach"),
        "run.mode: unknown value \"bach\" in --mode\ndid you mean \"batch\"?",
    );
    check(
        Sandbox::new().flag("--set", "run..mode", "batch"),
        "unknown key \"run.\" in --set\nknown here: mode, concurrency, agent, auto_commit, dry_run, snapshot_every, needs",
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_an_error_only_when_it_is_a_setting() {
    use std::os::unix::ffi::OsStringExt as _;
    let garbage = || OsString::from_vec(vec![0xff, 0xfe]);
    let mut sandbox = Sandbox::new();
    sandbox.options.environment.insert("OTHER".into(), garbage());
    sandbox.options.environment.insert(garbage(), garbage());
    assert_eq!(sandbox.config(), Config::default());
    sandbox.options.environment.insert("KAPELLE__RUN__MODE".into(), garbage());
    let error = sandbox.error();
    assert_eq!(error.to_string(), "the value is not UTF-8 text, in KAPELLE__RUN__MODE");
}

#[test]
fn a_bad_value_is_an_error_even_where_a_stronger_layer_hides_it() {
    let error =
        Sandbox::new().project("run: {mode: bach}").flag("--mode", "run.mode", "batch").error();
    assert_eq!(error.to_string(), "run.mode: unknown value \"bach\" in kapelle.yaml:1:13");
}

#[test]
fn an_error_carries_its_parts_separately() {
    let error = Sandbox::new().project("version: 1\nrun:\n  mode: bach\n").error();
    let place = error.place().expect("it is in a file");
    let origin = Origin::File { file: "kapelle.yaml".into(), line: 3, column: 9 };
    assert_eq!((&place.origin, place.key.as_str()), (&origin, "run.mode"));
    assert_eq!(place.hint.as_deref(), Some("did you mean \"batch\"?"));
    assert_eq!(place.snippet.as_deref(), Some("  |\n3 |   mode: bach\n  |         ^^^^"));
}

#[test]
fn snippets_stay_readable_whatever_the_line_holds() {
    let long = format!("run: {{{}colour: 1}}", " ".repeat(5_000));
    let shown = Sandbox::new().project(&long).error().render();
    assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    assert!(shown.contains("\n  | ") && shown.contains("^^^^^^"), "{shown}");

    let escapes = "\"\\u001b[31mred\": \"x\"\n# \u{85}\n";
    let shown = Sandbox::new().project(escapes).error().render();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Sandbox::new().project(bytes).load();
    }

    #[test]
    fn anything_that_looks_like_yaml_never_panics(
        text in r#"([a-z]{1,3}: |- |  |\[|\]|\{|\}|"|'|\||>|&a |\*a|<<: |!![a-z]{1,4} |~|[0-9.e+-]{1,4}|\n|\r\n|\t|,|:|#|\u{85}|é){0,40}"#
    ) {
        let _ = Sandbox::new().project(text).load();
    }

    #[test]
    fn arbitrary_settings_never_panic(name in "[A-Z_.\\[\\]-]{0,12}", value in "\\PC{0,12}") {
        let sandbox = Sandbox::new()
            .variable(&format!("KAPELLE__{name}"), &value)
            .flag("--set", &name, &value);
        let _ = sandbox.load();
    }
}

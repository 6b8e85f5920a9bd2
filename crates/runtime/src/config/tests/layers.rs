//! Which layer wins, and what is remembered about it.

use super::*;
use pretty_assertions::assert_eq;

#[test]
fn without_any_layer_the_defaults_hold() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.config(), Config::default());
    assert!(sandbox.load().expect("defaults").settings.iter().all(|s| s.origin == Origin::Default));
}

#[test]
fn each_layer_beats_those_before_it() {
    let steps: [fn(Sandbox) -> Sandbox; 5] = [
        |sandbox| sandbox.user("run: {concurrency: 11}\n"),
        |sandbox| sandbox.project("run:\n  concurrency: 12\n"),
        |sandbox| sandbox.local("run:\n  concurrency: 13\n"),
        |sandbox| sandbox.variable("KAPELLE__RUN__CONCURRENCY", "14"),
        |sandbox| sandbox.flag("-n", "run.concurrency", "15"),
    ];
    let mut sandbox = Sandbox::new();
    for (step, expected) in steps.iter().zip(11..) {
        sandbox = step(sandbox);
        assert_eq!(sandbox.config().run.concurrency, expected);
    }
    sandbox = sandbox.flag("--concurrency", "run.concurrency", "16");
    assert_eq!(sandbox.config().run.concurrency, 16);
}

#[test]
fn maps_merge_deeply_and_lists_are_replaced() {
    let config = Sandbox::new()
        .project(
            "agents:\n  a:\n    command: [one, two, three]\n    env: {X: '1', Y: '1'}\n  b: {command: [b]}\n",
        )
        .local("agents:\n  a:\n    command: [four]\n    env: {Y: '2'}\n")
        .config();

    assert_eq!(config.agents.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.agents["a"].command, ["four"]);
    let env: Vec<_> = config.agents["a"].env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["X=1", "Y=2"]);
}

#[test]
fn an_empty_value_says_nothing() {
    let config = Sandbox::new()
        .user("run:\n  concurrency: 7\nproject:\n  name: mine\n")
        .project("run:\n  # concurrency: 9\nproject: ~\nagents:\n")
        .local("run:\n  concurrency:\nproject: {name: null}\n")
        .variable("KAPELLE__RUN__CONCURRENCY", "")
        .config();
    assert_eq!((config.run.concurrency, config.project.name.as_deref()), (7, Some("mine")));
}

#[test]
fn variables_nest_and_type_like_files() {
    let config = Sandbox::new()
        .project("agents: {claude: {command: [claude]}}\n")
        .variable("KAPELLE__RUN__MODE", "batch")
        .variable("KAPELLE__RUN__AUTO_COMMIT", "false")
        .variable("KAPELLE__TIMEOUTS__LEASE_TTL", "1m")
        .variable("KAPELLE__AGENTS__CLAUDE__MAX_PARALLEL", "2")
        .variable("KAPELLE__AGENTS__CLAUDE__COMMAND", "[claude, '-p', \"a b\"]")
        .variable("KAPELLE__AGENTS__CLAUDE__ENV__API_Base", "x")
        .variable("KAPELLE__PROJECT__NAME", "[not a list")
        .config();

    assert_eq!((config.run.mode, config.run.auto_commit), (Mode::Batch, false));
    assert_eq!(config.timeouts.lease_ttl, HumanDuration::from_mins(1));
    let claude = &config.agents["claude"];
    assert_eq!(claude.max_parallel, Some(2));
    assert_eq!(claude.command, ["claude", "-p", "a b"]);
    assert_eq!(claude.env.get("API_Base").map(String::as_str), Some("x"));
    assert_eq!(config.project.name.as_deref(), Some("[not a list"));
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    let config = Sandbox::new()
        .variable("KAPELLE_HOME", "/x")
        .variable("KAPELLE_AUTH_TOKEN", "s3cret")
        .variable("KAPELLE_LOG", "debug")
        .variable("PATH", "/bin")
        .config();
    assert_eq!(config, Config::default());
}

#[test]
fn every_setting_knows_its_origin() {
    let loaded = Sandbox::new()
        .user("project:\n  name: mine\n")
        .project(
            "version: 1\nrun:\n  mode: batch\nagents:\n  no:\n    command:\n      - x\n      - y\n",
        )
        .local("run:\n    mode: parallel\n")
        .variable("KAPELLE__TIMEOUTS__CLAIM", "90s")
        .flag("--dry-run", "run.dry_run", "true")
        .load()
        .expect("good layers");

    let check = |key: &str, expected: &str| {
        let setting = loaded.settings.iter().find(|setting| setting.key == key).expect(key);
        let origin = setting.origin.to_string();
        let origin = origin.rsplit('/').next().unwrap_or_default();
        assert_eq!(format!("{} ({origin})", setting.value), expected, "{key}");
    };
    check("version", "1 (kapelle.yaml:1:10)");
    check("project.name", "\"mine\" (config.yaml:2:9)");
    check("project.roadmap", "null (default)");
    check("run.mode", "\"parallel\" (kapelle.local.yaml:2:11)");
    check("run.dry_run", "true (--dry-run)");
    check("run.concurrency", "3 (default)");
    check("timeouts.claim", "\"1m30s\" (KAPELLE__TIMEOUTS__CLAIM)");
    check("agents.no.command", "[\"x\",\"y\"] (kapelle.yaml:7:7)");
    check("agents.no.timeout", "\"30m\" (default)");
    assert!(loaded.settings.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn the_users_directory_follows_xdg() {
    let check = |environment: &[(&str, &str)], expected: Option<&str>| {
        let environment =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(user_config_dir(&environment), expected.map(PathBuf::from));
    };
    check(&[], None);
    check(&[("HOME", "/home/u")], Some("/home/u/.config"));
    check(&[("HOME", "/home/u"), ("XDG_CONFIG_HOME", "/c")], Some("/c"));
    check(&[("HOME", "/home/u"), ("XDG_CONFIG_HOME", "relative")], Some("/home/u/.config"));
    check(&[("HOME", ""), ("XDG_CONFIG_HOME", "")], None);
}

#[test]
fn what_may_be_a_secret_is_not_told() {
    let loaded = Sandbox::new()
        .project("version: 1\nagents:\n  a:\n    command: [x]\n    env:\n      API_KEY: s3cret\n")
        .load()
        .expect("good layers");
    let setting = loaded.settings.iter().find(|setting| setting.key == "agents.a.env.API_KEY");
    assert_eq!(setting.expect("listed").value, "(hidden)");
    assert!(!format!("{:?}", loaded.settings).contains("s3cret"));
    assert_eq!(loaded.config.agents["a"].env["API_KEY"], "s3cret", "the agent gets it");
}

//! The generated schema and the file that `init` writes.

use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

/// `UPDATE_GOLDEN=1 cargo test -p kapelle-runtime` writes the file anew.
#[test]
fn the_schema_in_the_documents_is_the_schema_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kapelle.schema.json");
    let current = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &current).expect("write the golden file");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file");
    assert!(golden == current, "docs/kapelle.schema.json is stale; run with UPDATE_GOLDEN=1");
}

#[test]
fn the_schema_describes_every_key_and_allows_no_others() {
    fn walk(schema: &serde_json::Value, path: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            for (key, property) in properties {
                let described = property["description"].is_string();
                assert!(described, "{path}.{key} has no description");
            }
        }
    }
    let schema = schema();
    walk(&schema, "");
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        walk(definition, name);
    }
}

fn facts() -> Facts {
    let agent = |name: &str, command: &[&str], prompt| DetectedAgent {
        name: name.into(),
        command: command.iter().map(|&part| part.into()).collect(),
        prompt,
    };
    let check =
        |name: &str, command: &str| DetectedCheck { name: name.into(), command: command.into() };
    Facts {
        name: Some("demo".into()),
        roadmap: Some("plans/roadmap.md".into()),
        agents: vec![
            agent("claude", &["claude", "-p"], PromptDelivery::Stdin),
            agent("no", &["agent", "--message", "a: \"b\" #c"], PromptDelivery::Argument),
            agent("other", &["other"], PromptDelivery::File),
        ],
        checks: vec![
            check("fmt", "cargo fmt --check"),
            check("lint", "cargo clippy -- -D warnings"),
            check("test", "cargo test"),
            check("docs", "test ! -e 'x: {y}' # z"),
        ],
    }
}

#[test]
fn the_template_is_short_and_loads_to_what_was_found() {
    let text = template(&facts());
    assert!(text.lines().count() <= 30, "{text}");
    assert!(text.starts_with(&format!("# yaml-language-server: $schema={SCHEMA_FILE}\n")));

    let config = Sandbox::new().project(&text).config();
    assert_eq!(config.project.name.as_deref(), Some("demo"));
    assert_eq!(config.project.roadmap, Some("plans/roadmap.md".into()));
    assert_eq!(config.default_agent().map(|(name, _)| name), Some("claude"));
    assert_eq!(config.agents["no"].command, ["agent", "--message", "a: \"b\" #c"]);
    assert_eq!(config.agents["no"].prompt, PromptDelivery::Argument);
    assert_eq!(config.agents["other"].prompt, PromptDelivery::File);
    let commands: Vec<_> =
        config.verify.checks.expect("checks").into_iter().map(|c| c.command).collect();
    let expected: Vec<_> =
        facts().checks.into_iter().map(|check| CommandLine::Shell(check.command)).collect();
    assert_eq!(commands, expected);
}

#[test]
fn the_template_of_an_unknown_project_changes_nothing() {
    assert_eq!(Sandbox::new().project(template(&Facts::default())).config(), Config::default());
}

proptest! {
    #[test]
    fn whatever_was_found_survives_the_template(name in "\\PC{0,20}", command in "[^\0]{0,20}") {
        let facts = Facts {
            name: Some(name.clone()),
            agents: vec![DetectedAgent {
                name: "a".into(),
                command: vec!["x".into(), command.clone()],
                prompt: PromptDelivery::Stdin,
            }],
            ..Facts::default()
        };
        let config = Sandbox::new().project(template(&facts)).config();
        prop_assert_eq!(config.project.name, Some(name));
        prop_assert_eq!(&config.agents["a"].command[1], &command);
    }
}

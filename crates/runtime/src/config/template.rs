//! The short, commented `kapelle.yaml` that `init` writes for a project.

use std::fmt::Write as _;

use super::sections::agents::PromptDelivery;

/// What `init` has found out about the project.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The project's name.
    pub name: Option<String>,
    /// The roadmap, relative to the root.
    pub roadmap: Option<String>,
    /// Installed agents, the preferred one first.
    pub agents: Vec<DetectedAgent>,
    /// Commands that check the project.
    pub checks: Vec<DetectedCheck>,
}

/// An agent that is installed here.
#[derive(Clone, Debug)]
pub struct DetectedAgent {
    /// Its name in the configuration.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How it wants its prompt.
    pub prompt: PromptDelivery,
}

/// A check that fits the project.
#[derive(Clone, Debug)]
pub struct DetectedCheck {
    /// Its name in the configuration.
    pub name: String,
    /// A line for the shell.
    pub command: String,
}

/// A `kapelle.yaml` for a project: at most 30 lines with up to seven agents and checks.
/// It loads without errors, and says what the defaults are where they are likely to be changed.
#[must_use]
pub fn template(facts: &Facts) -> String {
    let mut text = String::from(
        "# yaml-language-server: $schema=.kapelle/kapelle.schema.json\n\
         # All settings and where they come from: kapelle config show --origin\n\
         # Settings of your own, not for the repository: kapelle.local.yaml\n\
         version: 1\n\n\
         project:\n",
    );
    optional(&mut text, "name", facts.name.as_deref(), "my-project");
    optional(&mut text, "roadmap", facts.roadmap.as_deref(), "plans/roadmap.md");
    text.push_str("\nrun:\n  concurrency: 3      # agents at work at once\n");
    let first_agent = facts.agents.first().map(|agent| agent.name.as_str());
    optional(&mut text, "agent", first_agent, "my-agent");
    text.push_str(
        "\nagents:               # a command gets its prompt by: stdin, argument, file\n",
    );
    if facts.agents.is_empty() {
        text.push_str("  # my-agent: { command: [my-agent, --quiet], prompt: stdin }\n");
    }
    for DetectedAgent { name, command, prompt } in &facts.agents {
        let command: Vec<String> = command.iter().map(|part| quote(part)).collect();
        let prompt = match prompt {
            PromptDelivery::Stdin => "stdin",
            PromptDelivery::Argument => "argument",
            PromptDelivery::File => "file",
        };
        let command = command.join(", ");
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "  {}: {{ command: [{command}], prompt: {prompt} }}", quote(name));
    }
    text.push_str("\nverify:\n");
    if facts.checks.is_empty() {
        text.push_str("  # checks: [{ name: test, command: make test }]\n");
    } else {
        text.push_str("  checks:             # in a clean process, after the agent has ended\n");
    }
    for DetectedCheck { name, command } in &facts.checks {
        let (name, command) = (quote(name), quote(command));
        let _ = writeln!(text, "    - {{ name: {name}, command: {command} }}");
    }
    text.push_str("\nintegrate:\n  target: auto        # the current branch when it is clean\n");
    text
}

/// `key: value`, or an example of it as a comment.
fn optional(text: &mut String, key: &str, value: Option<&str>, example: &str) {
    let _ = match value {
        Some(value) => writeln!(text, "  {key}: {}", quote(value)),
        None => writeln!(text, "  # {key}: {example}"),
    };
}

/// `text` as a YAML scalar: bare when it is plainly a word, else in double quotes.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    // Bare, these would be read as something other than text.
    let special = ["true", "false", "null"].contains(&text.to_lowercase().as_str());
    if word && !special {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        let unprintable =
            matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        if c == '"' || c == '\\' {
            quoted.extend(['\\', c]);
        } else if c.is_control() || unprintable {
            // All of these have at most four digits.
            let _ = write!(quoted, "\\u{:04x}", u32::from(c));
        } else {
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

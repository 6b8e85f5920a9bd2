//! The program about itself: completions, manual, schemas, version, help.

use std::fmt::Write as _;

use clap::{Args, CommandFactory as _, ValueEnum};
use serde::Serialize;

use crate::app::App;
use crate::args::Cli;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Canvas, Show, to_json};

/// What `completions` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle completions bash > ~/.local/share/bash-completion/completions/kapelle
  kapelle completions zsh > ~/.zfunc/_kapelle
  kapelle completions fish > ~/.config/fish/completions/kapelle.fish")]
pub struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

/// What `man` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle man | man -l -
  kapelle man run > kapelle-run.1")]
pub struct ManArgs {
    /// Of which command; of the program itself without
    command: Option<String>,
}

/// What `schema` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle schema config        JSON Schema of kapelle.yaml
  kapelle schema openapi       the HTTP service
  kapelle schema asyncapi      the control subjects on NATS")]
pub struct SchemaArgs {
    /// Of what
    of: Schema,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Schema {
    /// The configuration files.
    Config,
    /// The HTTP service.
    Openapi,
    /// The control subjects on NATS.
    Asyncapi,
}

/// What `version` takes.
#[derive(Debug, Args)]
pub struct VersionArgs {}

/// What `help` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle help run
  kapelle help exit-codes")]
pub struct HelpArgs {
    /// A command, or `exit-codes`
    topic: Vec<String>,
}

impl CompletionsArgs {
    pub(super) fn run(self, app: &App) -> Result<Exit, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kapelle", &mut script);
        app.console.data(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}

impl ManArgs {
    pub(super) fn run(self, app: &App) -> Result<Exit, Error> {
        let page = page(self.command.as_deref())?;
        app.console.data(&page)?;
        Ok(Exit::Ok)
    }
}

/// The manual page of the program, with its exit codes, or of a command.
fn page(command: Option<&str>) -> Result<String, Error> {
    let mut program = Cli::command();
    program.build();
    let mut page = Vec::new();
    let rendered = match command {
        None => clap_mangen::Man::new(program).render(&mut page),
        Some(name) => {
            let found = find(&program, &[name.to_owned()])?;
            let title = format!("kapelle-{name}");
            clap_mangen::Man::new(found).title(title).render(&mut page)
        }
    };
    rendered.map_err(Error::Output)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if command.is_none() {
        page.push_str(".SH \"EXIT STATUS\"\n");
        for exit in Exit::ALL {
            // Writing to a string cannot fail.
            let _ = writeln!(page, ".TP\n{}\n{}", exit.code(), exit.meaning());
        }
    }
    Ok(page)
}

impl SchemaArgs {
    pub(super) fn run(self, app: &App) -> Result<Exit, Error> {
        let text = match self.of {
            Schema::Config => {
                to_json(&kapelle_runtime::config::schema(), true).map_err(Error::Encode)?
            }
            Schema::Openapi => kapelle_coordinator::http::openapi(),
            Schema::Asyncapi => {
                to_json(&kapelle_bus::control::asyncapi::document(), true).map_err(Error::Encode)?
            }
        };
        app.console.data(&format!("{}\n", text.trim_end()))?;
        Ok(Exit::Ok)
    }
}

/// The version of the program.
#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

impl Show for Version {
    fn text(&self, _: &Canvas) -> String {
        format!("{} {}\n", self.name, self.version)
    }

    fn names(&self) -> Vec<String> {
        vec![self.version.to_owned()]
    }
}

impl VersionArgs {
    pub(super) fn run(self, app: &App) -> Result<Exit, Error> {
        let Self {} = self;
        app.console.show(&Version { name: "kapelle", version: env!("CARGO_PKG_VERSION") })?;
        Ok(Exit::Ok)
    }
}

impl HelpArgs {
    pub(super) fn run(self, app: &App) -> Result<Exit, Error> {
        if self.topic == ["exit-codes"] {
            app.console.data(&Exit::table())?;
            return Ok(Exit::Ok);
        }
        let mut program = Cli::command();
        program.build();
        let mut found = find(&program, &self.topic)?;
        let help = found.render_long_help();
        let help = if app.console.out().color { help.ansi().to_string() } else { help.to_string() };
        app.console.data(&help)?;
        Ok(Exit::Ok)
    }
}

/// The command that the words of `path` lead to.
fn find(program: &clap::Command, path: &[String]) -> Result<clap::Command, Error> {
    let mut found = program;
    for name in path {
        found = found.find_subcommand(name).ok_or_else(|| Error::Nothing {
            message: format!("there is no help on {name:?}"),
            hint: Some("kapelle help, kapelle help exit-codes".to_owned()),
        })?;
    }
    Ok(found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page_and_completions() {
        let program = Cli::command();
        for command in program.get_subcommands() {
            let page = page(Some(command.get_name())).expect("a page");
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(page(None).expect("a page").contains("EXIT STATUS"));
        let error = page(Some("nonsense")).expect_err("there is no such command");
        assert_eq!(error.exit(), Exit::NotFound);
    }
}

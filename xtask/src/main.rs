//! The automation of this repository: `cargo xtask help`.
//!
//! Everything a contributor or a build server runs is a command here, so that both run the same
//! thing. It knows the workspace only from outside (through cargo and the `kapelle` program) and
//! therefore still works when another crate does not compile.
#![expect(clippy::print_stdout, reason = "a command-line program reports on its standard output")]
#![expect(clippy::print_stderr, reason = "and says on its standard error why it failed")]

mod bench;
mod codegen;
mod dist;
mod layering;
mod subprocess;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Automation of this repository", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the tests need, then run every check and every test
    Test(test::Args),
    /// Check which crate may depend on which, and the rules on source files
    Layering,
    /// Write the files that are generated from the program
    Codegen(codegen::Args),
    /// Measure: `cargo xtask bench engine`
    Bench(bench::Args),
    /// Pack the release archive into target/dist
    Dist,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let workspace = Workspace::load()?;
    match &cli.command {
        Command::Test(args) => test::run(&workspace, args),
        Command::Layering => layering::run(&workspace),
        Command::Codegen(args) => codegen::run(&workspace, args),
        Command::Bench(args) => bench::run(&workspace, args),
        Command::Dist => dist::run(&workspace),
    }
}

//! `cargo xtask bench`: the measuring program of the `tests` package, optimized. What is measured
//! and how the numbers are shown is decided there.

use anyhow::Result;

use crate::subprocess;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure, and options of the measuring program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "engine")]
    arguments: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    subprocess::run(
        subprocess::cargo(&workspace.root)
            .args(["run", "--release", "--package", "kapelle-tests", "--bin", "bench", "--"])
            .args(&args.arguments),
    )
}

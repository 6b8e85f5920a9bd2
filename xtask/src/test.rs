//! `cargo xtask test`: the one command that says whether this tree is good.
//!
//! Steps run one after the other, cheapest first, and the first that fails ends it. Everything that
//! a step needs is provided or asked for in the first one ([`provision`]); no step leaves something
//! out because a machine lacks it, except the audit of dependencies, which says so.

mod dependencies;
mod provision;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;
use crate::{codegen, layering, subprocess};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what takes a minute: format, layering, clippy and unit tests
    #[arg(long)]
    quick: bool,
}

struct Step {
    name: &'static str,
    when: When,
    run: fn(&Workspace) -> Result<()>,
}

#[derive(PartialEq, Eq)]
enum When {
    Always,
    Quick,
    Full,
}

const STEPS: &[Step] = &[
    Step { name: "parts", when: When::Always, run: provision::run },
    Step { name: "format", when: When::Always, run: format },
    Step { name: "layering", when: When::Always, run: layering::run },
    Step { name: "clippy", when: When::Always, run: clippy },
    Step { name: "unit tests", when: When::Quick, run: unit_tests },
    Step { name: "build", when: When::Full, run: build },
    Step { name: "tests", when: When::Full, run: tests },
    Step { name: "documentation", when: When::Full, run: documentation },
    Step { name: "generated files", when: When::Full, run: generated_files },
    Step { name: "dependencies", when: When::Full, run: dependencies::run },
];

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let left_out = if args.quick { When::Full } else { When::Quick };
    let steps: Vec<_> = STEPS.iter().filter(|step| step.when != left_out).collect();
    let whole = Stopwatch::start();
    for (index, step) in steps.iter().enumerate() {
        println!("[{}/{}] {}", index + 1, steps.len(), step.name);
        let stopwatch = Stopwatch::start();
        let result = (step.run)(workspace);
        let took = Elapsed(stopwatch.elapsed());
        let end = if result.is_ok() { "passed" } else { "FAILED" };
        println!("[{}/{}] {}: {end} after {took}\n", index + 1, steps.len(), step.name);
        result.with_context(|| format!("the step `{}` failed", step.name))?;
    }
    println!("all {} steps passed in {}", steps.len(), Elapsed(whole.elapsed()));
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    subprocess::run(subprocess::cargo(&workspace.root).args(["fmt", "--all", "--check"]))
        .context("`cargo fmt --all` mends it")
}

fn clippy(workspace: &Workspace) -> Result<()> {
    subprocess::run(subprocess::cargo(&workspace.root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit_tests(workspace: &Workspace) -> Result<()> {
    subprocess::run(with_parts(subprocess::cargo(&workspace.root).args([
        "test",
        "--workspace",
        "--exclude",
        "kapelle-tests",
        "--lib",
        "--bins",
    ])))
}

/// Builds tests and programs in one go: a separate build of the program alone would select other
/// features of shared libraries and compile them a second time.
fn build(workspace: &Workspace) -> Result<()> {
    subprocess::run(subprocess::cargo(&workspace.root).args([
        "build",
        "--workspace",
        "--all-targets",
    ]))
}

fn tests(workspace: &Workspace) -> Result<()> {
    subprocess::run(with_parts(
        subprocess::cargo(&workspace.root)
            .args(["test", "--workspace", "--no-fail-fast"])
            // End-to-end tests start the real program.
            .env("KAPELLE_BIN", workspace.kapelle("debug")),
    ))
}

/// Tells tests where the parts are that don't lie on `PATH`.
fn with_parts(command: &mut Command) -> &mut Command {
    command
        .env(provision::NATS_SERVER_VARIABLE, provision::nats_server())
        .env(provision::PYTHON_VARIABLE, provision::interpreter())
}

fn documentation(workspace: &Workspace) -> Result<()> {
    subprocess::run(
        subprocess::cargo(&workspace.root)
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn generated_files(workspace: &Workspace) -> Result<()> {
    codegen::check(workspace, &workspace.kapelle("debug"))
}

/// How long a step takes; the only clock of this program.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "durations are shown, and decide nothing")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A duration as people say it: `0.4 s`, `3 min 07 s`.
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..60 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            seconds => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Elapsed;

    #[test]
    fn durations_are_readable() {
        for (millis, shown) in [
            (0, "0.0 s"),
            (412, "0.4 s"),
            (59_900, "59.9 s"),
            (60_000, "1 min 00 s"),
            (187_900, "3 min 07 s"),
        ] {
            assert_eq!(Elapsed(Duration::from_millis(millis)).to_string(), shown);
        }
    }
}

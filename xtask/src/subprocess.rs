//! Starting other programs and turning a bad end into an error that names the command.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command of the cargo that runs this program, so that one toolchain does everything.
pub(crate) fn cargo(directory: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(directory);
    command
}

/// Runs `command` with our own standard streams; any end but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    succeeded(command, status)
}

/// Runs `command` and returns what it wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    succeeded(command, output.status)?;
    Ok(output.stdout)
}

/// As [`capture`], for programs that answer in text; white space around the answer is removed.
pub(crate) fn capture_text(command: &mut Command) -> Result<String> {
    let bytes = capture(command)?;
    let text = String::from_utf8(bytes)
        .with_context(|| format!("`{}` did not answer in UTF-8", shown(command)))?;
    Ok(text.trim().to_owned())
}

/// The command as one would type it: the program without its directory, then the arguments.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

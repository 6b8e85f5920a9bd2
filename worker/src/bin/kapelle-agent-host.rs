//! Harness for the tests of this crate: an executable that has the hidden roles of `kapelle`, and
//! one more, a small worker that can be killed:
//!
//! ```text
//! kapelle-agent-host supervise <containment> <marker> <program> [<argument>…]
//! ```
//!
//! prints what the program prints, then how it ended.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use kapelle_worker::process::{Containment, Output, ProcessSpec, Supervisor, supervisor_main};
use kapelle_worker::scripted::scripted_main;

fn main() -> ExitCode {
    let role = supervisor_main(std::env::args_os()).or_else(|| scripted_main(std::env::args_os()));
    if let Some(code) = role {
        return code;
    }
    match supervise(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn supervise(args: Vec<OsString>) -> Result<(), Box<dyn std::error::Error>> {
    let [role, containment, marker, program, args @ ..] = args.as_slice() else {
        return Err("usage: supervise <containment> <marker> <program> [<argument>…]".into());
    };
    if role != "supervise" {
        return Err(format!("no such role: {}", role.display()).into());
    }
    let containment: Containment = containment.to_string_lossy().parse()?;
    let marker = marker.to_string_lossy();
    let mut spec = ProcessSpec::new(program, std::env::current_dir()?, marker);
    spec.args = args.to_vec();
    spec.env.insert("PATH".into(), std::env::var_os("PATH").unwrap_or_default());
    let supervisor = Supervisor::new(std::env::current_exe()?).require(containment);
    let mut process = supervisor.spawn(spec).await?;
    while let Some(output) = process.output.recv().await {
        if let Output::Line { text, .. } = output {
            writeln!(io::stdout(), "{text}")?;
        }
    }
    writeln!(io::stdout(), "{:?}", process.wait().await)?;
    Ok(())
}

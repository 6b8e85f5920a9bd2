//! The `kapelle` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Processes of ours that have another role are this very program, started again.
    let role = kapelle_worker::process::supervisor_main(std::env::args_os())
        .or_else(|| kapelle_worker::scripted::scripted_main(std::env::args_os()));
    role.unwrap_or_else(|| kapelle_cli::main(std::env::args_os()))
}

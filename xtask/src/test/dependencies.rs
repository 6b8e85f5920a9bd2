//! What cargo-deny says about our dependencies: licenses, bans, sources and known weaknesses, by the
//! rules of `deny.toml`.
//!
//! The only step that may be left out, and it says so: the tool takes as long to build as the
//! product, and the list of weaknesses can only be had over the network.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::subprocess;
use crate::workspace::Workspace;

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    if !succeeds(Command::new("cargo-deny").arg("--version")) {
        println!("NOT RUN: cargo-deny is missing; get it by `cargo install --locked cargo-deny`");
        return Ok(());
    }
    let check = ["deny", "--all-features", "check", "--hide-inclusion-graph"];
    let cargo = || subprocess::cargo(&workspace.root);
    subprocess::run(cargo().args(check).args(["bans", "licenses", "sources"]))?;
    if !succeeds(cargo().args(["deny", "fetch", "db"])) {
        println!("NOT RUN: known weaknesses; their list cannot be fetched from this machine");
        return Ok(());
    }
    subprocess::run(cargo().args(check).arg("advisories"))
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

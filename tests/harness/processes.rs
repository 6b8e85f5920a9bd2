//! Looking at processes through `/proc`, and ending them.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All processes, with their parents.
fn all() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name may hold anything but ends with the last parenthesis.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// All descendants of a process.
pub fn descendants(root: i32) -> Vec<i32> {
    let all = all();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(all.iter().filter(|(_, above)| *above == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Kills a process and all its descendants, as a machine that loses power would.
pub fn kill_tree(root: i32) {
    let below = descendants(root);
    for pid in std::iter::once(root).chain(below) {
        // Some die with their parents before their turn comes.
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
}

/// The states of the processes that work in `directory` or below it, as the kernel names them.
pub fn states_in(directory: &Path) -> Vec<char> {
    let state = |(pid, _): (i32, PathBuf)| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    let agents = living_in(directory).into_iter().filter(|(_, cwd)| cwd.ends_with("tree"));
    agents.filter_map(state).collect()
}

/// The processes that work in `directory` or below it.
pub fn living_in(directory: &Path) -> Vec<(i32, PathBuf)> {
    all()
        .into_iter()
        .filter_map(|(pid, _)| Some((pid, fs::read_link(format!("/proc/{pid}/cwd")).ok()?)))
        .filter(|(_, cwd)| cwd.starts_with(directory))
        .collect()
}

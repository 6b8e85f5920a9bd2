//! Finding and killing the processes of a tree by walking `/proc`, for the containment without a
//! namespace.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// Rounds of [`kill_all`], each [`ROUND`] long: about five seconds. Only a process that the kernel
/// cannot kill outlives them.
const ROUNDS: u32 = 2_500;
const ROUND: Duration = Duration::from_millis(2);

/// Rounds of [`freeze_all`]: a signal takes effect when the process is scheduled next.
const FREEZE_ROUNDS: u32 = 500;

/// What [`kill_all`] did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Killed {
    pub(super) killed: u32,
    pub(super) left: u32,
}

/// A process as `/proc/<pid>/stat` describes it.
#[derive(Debug)]
struct Entry {
    pid: Pid,
    parent: i32,
    zombie: bool,
    stopped: bool,
}

/// Kills and reaps the descendants of this process until there are none. It must be a subreaper,
/// so that nobody can leave the tree.
pub(super) fn kill_all() -> Killed {
    let mut seen = HashSet::new();
    for _ in 0..ROUNDS {
        // Nobody can be a descendant of a subreaper that has no child.
        if !reap() {
            return Killed { killed: count(seen.len()), left: 0 };
        }
        // Those that fork faster than they are found lose all the same: each round kills every
        // process that could fork, and the children of the dead become ours.
        for pid in living_descendants() {
            if kill_process(pid, Signal::KILL).is_ok() {
                seen.insert(pid);
            }
        }
        if reap() {
            thread::sleep(ROUND);
        }
    }
    let left = count(living_descendants().len());
    Killed { killed: count(seen.len()).saturating_sub(left), left }
}

/// Stops the descendants of this process where they stand. Whether all of them are: a tree that
/// forks without end may get away for a while.
pub(super) fn freeze_all() -> bool {
    for _ in 0..FREEZE_ROUNDS {
        let running: Vec<Pid> = descendants()
            .into_iter()
            .filter(|entry| !entry.stopped)
            .map(|entry| entry.pid)
            .collect();
        if running.is_empty() {
            return true;
        }
        for pid in running {
            // It may have ended meanwhile.
            kill_process(pid, Signal::STOP).ok();
        }
        thread::sleep(ROUND);
    }
    false
}

/// Lets the descendants of this process go on.
pub(super) fn thaw_all() {
    for entry in descendants() {
        kill_process(entry.pid, Signal::CONT).ok();
    }
}

/// Processes that are visible besides this one. Meant for the first process of a namespace with
/// its own `/proc`.
pub(super) fn count_others() -> u32 {
    let own = getpid();
    count(entries().filter(|entry| entry.pid != own && !entry.zombie).count())
}

/// Reaps what has ended; whether there are children still.
fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn living_descendants() -> Vec<Pid> {
    descendants().into_iter().map(|entry| entry.pid).collect()
}

fn descendants() -> Vec<Entry> {
    let entries: BTreeMap<i32, Entry> =
        entries().map(|entry| (entry.pid.as_raw_nonzero().get(), entry)).collect();
    let own = getpid().as_raw_nonzero().get();
    let descends = |entry: &Entry| {
        let mut parent = entry.parent;
        // A walk longer than the list would be a cycle, which pids read at different moments
        // can seem to form.
        for _ in 0..entries.len() {
            if parent == own {
                return true;
            }
            match entries.get(&parent) {
                Some(next) => parent = next.parent,
                None => return false,
            }
        }
        false
    };
    let living: Vec<i32> = entries
        .iter()
        .filter(|(_, entry)| !entry.zombie && descends(entry))
        .map(|(pid, _)| *pid)
        .collect();
    let mut entries = entries;
    living.iter().filter_map(|pid| entries.remove(pid)).collect()
}

fn entries() -> impl Iterator<Item = Entry> {
    pids().into_iter().flatten().filter_map(|pid| {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name stands in parentheses and may hold any character.
        let after_name = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let (zombie, stopped) = (matches!(state, "Z" | "X"), matches!(state, "T" | "t"));
        Some(Entry { pid, parent: fields.next()?.parse().ok()?, zombie, stopped })
    })
}

/// The numbers of all processes that are visible.
pub(super) fn pids() -> io::Result<impl Iterator<Item = Pid>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(number)
    }))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

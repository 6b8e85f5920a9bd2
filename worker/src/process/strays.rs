//! Processes that outlived their worker and their supervisor, found by the mark in their
//! environment.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::{Error, MARKER_VARIABLE, descendants};

/// Rounds of a sweep: about five seconds.
const ROUNDS: u32 = 500;
const ROUND: Duration = Duration::from_millis(10);

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Processes that were killed.
    pub killed: usize,
    /// Processes that were still there at the end.
    pub left: usize,
}

/// Kills every process whose [`marker`](super::ProcessSpec::marker) begins with `prefix`, and
/// waits until they are gone. Blocks for up to some five seconds; run it before the first attempt
/// starts, and never while one with the same prefix is running.
///
/// Processes that cleared or overwrote their environment are not found, nor those of other users.
/// Processes that carry the same mark as the caller are spared: a Kapelle that runs inside an
/// attempt must not end that attempt.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn sweep_strays(prefix: &str) -> Result<Sweep, Error> {
    sweep_strays_but(prefix, &[])
}

/// The same, but for the trees with these markers, which may be running.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn sweep_strays_but(prefix: &str, spared: &[String]) -> Result<Sweep, Error> {
    let is_spared = |mark: &[u8]| spared.iter().any(|spared| spared.as_bytes() == mark);
    sweep(|mark| mark.starts_with(prefix.as_bytes()) && !is_spared(mark))
}

/// The same for one tree, whose marker is known in full.
pub(super) fn sweep_tree(marker: &str) -> Result<Sweep, Error> {
    sweep(|mark| mark == marker.as_bytes())
}

fn sweep(is_stray: impl Fn(&[u8]) -> bool) -> Result<Sweep, Error> {
    let own_mark = marker_of(getpid());
    let is_stray = |mark: &[u8]| is_stray(mark) && own_mark.as_deref() != Some(mark);
    let mut seen = HashSet::new();
    let mut left = 0;
    for round in 0..ROUNDS {
        if round > 0 {
            thread::sleep(ROUND);
        }
        left = 0;
        for pid in descendants::pids().map_err(|source| Error::ListProcesses { source })? {
            if kill_if_stray(pid, &is_stray) {
                seen.insert(pid);
                left += 1;
            }
        }
        if left == 0 {
            break;
        }
    }
    Ok(Sweep { killed: seen.len().saturating_sub(left), left })
}

/// Whether `pid` is a stray, which has been sent SIGKILL. The descriptor is opened before the
/// environment is read, so that the signal cannot reach another process that got the number since.
fn kill_if_stray(pid: Pid, is_stray: &impl Fn(&[u8]) -> bool) -> bool {
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    marker_of(pid).is_some_and(|mark| is_stray(&mark))
        && pidfd_send_signal(descriptor, Signal::KILL).is_ok()
}

/// The mark in the environment of `pid`. A process that has ended has none.
fn marker_of(pid: Pid) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(MARKER_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

//! Entering the namespaces of a [`Containment`], in the two halves the kernel demands: the shim
//! makes them, and init, the first process inside, furnishes them.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{getegid, geteuid};

use super::Containment;

/// User and group of the worker, as the agent is to see them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    pub(super) fn current() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }
}

/// The step that the kernel refused, and its words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) step: &'static str,
    pub(super) source: io::Error,
}

fn refused<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Refusal {
    move |source| Refusal { step, source: source.into() }
}

/// Makes the namespaces. The next child of this process will be the first inside.
pub(super) fn create(containment: Containment, owner: Owner) -> Result<(), Refusal> {
    let pid_and_mounts = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match containment {
        Containment::PidNamespace => unshare(pid_and_mounts).map_err(refused("unshare")),
        Containment::UserPidNamespace => {
            unshare(CloneFlags::CLONE_NEWUSER | pid_and_mounts)
                .map_err(refused("unshare with a user namespace"))?;
            // Root inside, because init has to mount and keeps its capabilities through exec
            // only as root. `furnish` turns root back into the owner.
            map_user(Owner { uid: 0, gid: 0 }, owner)
        }
        Containment::Subreaper => Ok(()),
    }
}

/// Makes the inside true to itself: a `/proc` that shows the processes of this namespace (tools
/// that look up their own number there would find a stranger in the old one), and the owner's
/// identity.
pub(super) fn furnish(containment: Containment, owner: Owner) -> Result<(), Refusal> {
    if containment == Containment::Subreaper {
        return Ok(());
    }
    // Mounts of the host keep arriving, ours do not leave.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(refused("making mounts private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(refused("mounting /proc"))?;
    if containment == Containment::UserPidNamespace && (owner.uid, owner.gid) != (0, 0) {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(refused("unshare of the inner user"))?;
        map_user(owner, Owner { uid: 0, gid: 0 })?;
    }
    Ok(())
}

/// Lets the ids `outside` appear as `inside`.
fn map_user(inside: Owner, outside: Owner) -> Result<(), Refusal> {
    // Without privileges outside, the kernel takes a group map only from those who gave this up.
    fs::write("/proc/self/setgroups", "deny").map_err(refused("denying setgroups"))?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", inside.uid, outside.uid))
        .map_err(refused("mapping the user"))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", inside.gid, outside.gid))
        .map_err(refused("mapping the group"))
}

//! The outer half of the supervisor: watches the worker's lifeline, and sees to it that nothing
//! of the tree is alive when it reports so. It reads nothing from the control socket and obeys
//! nobody: signals other than SIGKILL are blocked. It also is where the tree loses what the worker
//! may have inherited from others: open files, a signal mask, core dumps.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::close;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal as Kill, WaitOptions, getpid, kill_process, set_child_subreaper,
    setrlimit, wait,
};

use super::descendants::{self, Killed};
use super::namespace::{self, Owner, Refusal};
use super::wire::{Report, send_report};
use super::{Containment, INIT_ROLE};

/// Runs the shim; its standard input is the control socket.
pub(super) fn main(containment: Containment, name: &OsStr) -> ExitCode {
    close_inherited_files();
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return ExitCode::FAILURE;
    };
    match run(containment, name, &control) {
        Ok(killed) => {
            send_report(&control, &Report::Gone { killed: killed.killed, left: killed.left });
            ExitCode::SUCCESS
        }
        Err(Refusal { step, source }) => {
            send_report(&control, &Report::Refused { step: step.to_owned(), fault: source.into() });
            ExitCode::FAILURE
        }
    }
}

fn run(containment: Containment, name: &OsStr, control: &UnixStream) -> Result<Killed, Refusal> {
    let step = |step| move |source: io::Error| Refusal { step, source };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|errno| step("forbidding core dumps")(errno.into()))?;
    SigSet::empty().thread_set_mask().map_err(|errno| step("unblocking signals")(errno.into()))?;
    let owner = Owner::current();
    namespace::create(containment, owner)?;
    if containment == Containment::Subreaper {
        set_child_subreaper(Some(getpid()))
            .map_err(|errno| step("becoming subreaper")(errno.into()))?;
    }
    let init = Command::new("/proc/self/exe")
        .arg0(name)
        .args([INIT_ROLE, containment.as_str(), &owner.uid.to_string(), &owner.gid.to_string()])
        .spawn()
        .map_err(step("starting init"))?;
    let init = Pid::from_child(&init);
    // Not before: a child inherits the mask.
    let signals = take_signals().map_err(step("blocking signals"))?;
    outlive(init, control, &signals).map_err(step("waiting for init"))?;
    Ok(match containment {
        // The kernel lets init be reaped only after everything in its namespace is.
        Containment::PidNamespace | Containment::UserPidNamespace => Killed::default(),
        Containment::Subreaper => descendants::kill_all(),
    })
}

/// Closes files that this process was started with besides the standard three. They come from
/// whoever started the worker, without having been marked as not for its children.
fn close_inherited_files() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    // Nothing has been opened yet but the listing itself, which is closed when collected.
    let numbers: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        close(number).ok();
    }
}

/// Blocks every signal, and returns where the end of children is announced.
fn take_signals() -> io::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Returns when init has ended; kills it when the lifeline is cut.
fn outlive(init: Pid, control: &UnixStream, signals: &SignalFd) -> io::Result<()> {
    let mut held = true;
    loop {
        // Before the first wait too: what ended before signals were blocked was not announced.
        while signals.read_signal()?.is_some() {}
        while let Ok(Some((ended, _))) = wait(WaitOptions::NOHANG) {
            if ended == init {
                return Ok(());
            }
        }
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::RDHUP),
        ];
        // A cut lifeline stays readable; once seen, only the signals matter.
        match poll(&mut fds[..if held { 2 } else { 1 }], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if held && !fds[1].revents().is_empty() {
            held = false;
            kill_process(init, Kill::KILL).ok();
        }
    }
}

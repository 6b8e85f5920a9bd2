//! The inner half of the supervisor: first process of the namespace, parent of the agent. It
//! reaps orphans, forwards signals to the agent's process group, reports how the agent ended, and
//! ends at that moment, which ends everything else in the namespace.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal as Send, WaitOptions, WaitStatus, getpid, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, setsid, wait,
};

use super::namespace::{self, Owner, Refusal};
use super::wire::{self, Launch, Report, Request, send_report};
use super::{Containment, descendants};

/// Runs init; its standard input is the control socket, its output is the agent's.
pub(super) fn main(containment: Containment, owner: Owner) -> ExitCode {
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return ExitCode::FAILURE;
    };
    let report = match run(containment, owner, &control) {
        Ok(Some(report)) => report,
        Ok(None) => return ExitCode::FAILURE,
        Err(Refusal { step, source }) => {
            Report::Refused { step: step.to_owned(), fault: source.into() }
        }
    };
    send_report(&control, &report);
    ExitCode::SUCCESS
}

/// The last word to the worker, or `None` when the lifeline was cut.
fn run(
    containment: Containment,
    owner: Owner,
    control: &UnixStream,
) -> Result<Option<Report>, Refusal> {
    let step = |step| move |source: io::Error| Refusal { step, source };
    namespace::furnish(containment, owner)?;
    // After `furnish`: a change of identity may clear it. A shim that died before this is noticed
    // too: then the worker cuts the lifeline.
    set_parent_process_death_signal(Some(Send::KILL))
        .map_err(|errno| step("setting the parent death signal")(errno.into()))?;
    setsid().map_err(|errno| step("leaving the terminal")(errno.into()))?;
    if containment == Containment::Subreaper {
        set_child_subreaper(Some(getpid()))
            .map_err(|errno| step("becoming subreaper")(errno.into()))?;
    }
    let Ok((stdin, launch)) = wire::receive_launch(control) else { return Ok(None) };
    stop_ignoring_signals().map_err(step("taking signals"))?;
    let agent = match start(launch, stdin) {
        Ok(agent) => agent,
        Err(report) => return Ok(Some(report)),
    };
    // Not before: a child inherits the mask.
    let signals = take_signals().map_err(step("blocking signals"))?;
    send_report(control, &Report::Started);
    let Some(status) =
        accompany(agent, control, &signals).map_err(step("waiting for the agent"))?
    else {
        return Ok(None);
    };
    let survivors = match containment {
        Containment::PidNamespace | Containment::UserPidNamespace => descendants::count_others(),
        // Counted by the shim, which kills them.
        Containment::Subreaper => 0,
    };
    let (code, signal) = (status.exit_status(), status.terminating_signal());
    Ok(Some(Report::Exited { code, signal, survivors }))
}

/// Whoever started the worker may have had it ignore signals, as `nohup` does, and what is ignored
/// stays so across programs. What is handled does not: it is back at its default in the agent.
fn stop_ignoring_signals() -> io::Result<()> {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        signal_hook::flag::register(signal as i32, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Blocks every signal, and returns where those that matter are announced.
fn take_signals() -> io::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let watched: SigSet = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    Ok(SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Starts the agent in a process group of its own. The control socket does not reach it: one copy
/// is closed on exec, and its own input takes the place of the other.
fn start(launch: Launch, stdin: OwnedFd) -> Result<Pid, Report> {
    let cwd = Path::new(&launch.cwd);
    match cwd.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(Report::BadDirectory(io::Error::from(Errno::NOTDIR).into()));
        }
        Err(source) => return Err(Report::BadDirectory(source.into())),
    }
    Command::new(&launch.program)
        .args(launch.args)
        .env_clear()
        .envs(launch.env)
        .current_dir(cwd)
        .stdin(Stdio::from(stdin))
        .process_group(0)
        .spawn()
        .map(|child| Pid::from_child(&child))
        .map_err(|source| Report::SpawnFailed(source.into()))
}

/// How the agent ended, or `None` when the lifeline was cut before.
fn accompany(
    agent: Pid,
    control: &UnixStream,
    signals: &SignalFd,
) -> io::Result<Option<WaitStatus>> {
    loop {
        // Before the first wait too: what ended before signals were blocked was not announced.
        while let Some(signal) = signals.read_signal()? {
            if let Ok(number) = i32::try_from(signal.ssi_signo) {
                forward(agent, number);
            }
        }
        if let Some(status) = reap(agent) {
            return Ok(Some(status));
        }
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !fds[1].revents().is_empty() {
            let Some(request) = wire::receive_request(control)? else { return Ok(None) };
            match request {
                Request::Interrupt => forward(agent, Signal::SIGINT as i32),
                Request::Terminate => forward(agent, Signal::SIGTERM as i32),
                Request::Freeze => {
                    send_report(control, &Report::Frozen(descendants::freeze_all()));
                }
                Request::Thaw => {
                    descendants::thaw_all();
                    send_report(control, &Report::Frozen(false));
                }
            }
        }
    }
}

/// Passes SIGINT and SIGTERM on to the agent's whole group: some agents are a pair of processes
/// of which the first swallows the signal. A stopped process is continued, so that it can act.
fn forward(agent: Pid, number: i32) {
    let signal = match number {
        number if number == Signal::SIGINT as i32 => Send::INT,
        number if number == Signal::SIGTERM as i32 => Send::TERM,
        _ => return,
    };
    kill_process_group(agent, signal).ok();
    descendants::thaw_all();
}

/// Reaps whatever has ended; the agent's status if it is among them.
fn reap(agent: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Ok(Some((ended, how))) = wait(WaitOptions::NOHANG) {
        if ended == agent {
            status = Some(how);
        }
    }
    status
}

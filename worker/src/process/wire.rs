//! What travels over the control socket between the worker, the shim and init.
//!
//! Worker to init: one byte that carries the agent's standard input as a file descriptor, one
//! line with the [`Launch`], then single bytes of [`Request`]. End of file means: kill everything.
//! Shim and init to worker: lines of [`Report`]. All three are the same executable, so the format
//! has no version.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// What init starts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) cwd: OsString,
    pub(super) env: Vec<(OsString, OsString)>,
}

/// What init is to do with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGINT to its process group.
    Interrupt,
    /// SIGTERM to its process group.
    Terminate,
    /// Stop every process of the tree where it stands.
    Freeze,
    /// Let them go on.
    Thaw,
}

impl Request {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Interrupt => b'i',
            Self::Terminate => b't',
            Self::Freeze => b'f',
            Self::Thaw => b'c',
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Interrupt, Self::Terminate, Self::Freeze, Self::Thaw];
        all.into_iter().find(|request| request.to_byte() == byte)
    }
}

/// What shim and init tell the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The containment cannot be had; the agent was not started.
    Refused { step: String, fault: Fault },
    /// The working directory cannot be used.
    BadDirectory(Fault),
    /// The program cannot be started.
    SpawnFailed(Fault),
    /// The agent runs.
    Started,
    /// Every process of the tree is stopped, or none is any more.
    Frozen(bool),
    /// The agent ended by itself or by a signal; `survivors` processes are still alive.
    Exited { code: Option<i32>, signal: Option<i32>, survivors: u32 },
    /// Nothing of the tree is left but `left` processes that cannot be killed.
    Gone { killed: u32, left: u32 },
}

/// An I/O error on its way between processes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fault {
    errno: Option<i32>,
    message: String,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self { errno: error.raw_os_error(), message: error.to_string() }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        fault.errno.map_or_else(|| Self::other(fault.message), Self::from_raw_os_error)
    }
}

/// Sends `stdin` along with the first byte of the conversation. Does not block: nothing else has
/// been written to the socket before.
pub(super) fn send_stdin(control: &UnixStream, stdin: BorrowedFd<'_>) -> io::Result<()> {
    let fds = [stdin];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[IoSlice::new(b"k")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the worker's opening words: the agent's standard input and what to start.
pub(super) fn receive_launch(control: &UnixStream) -> io::Result<(OwnedFd, Launch)> {
    let stdin = receive_stdin(control)?;
    // The worker sends nothing after the line before it has the answer, so that the reader's
    // buffer holds no request when it is dropped.
    let mut line = Vec::new();
    BufReader::new(control).read_until(b'\n', &mut line)?;
    Ok((stdin, serde_json::from_slice(&line)?))
}

fn receive_stdin(control: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        control.as_fd(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// The next request, or `None` at the end of file. Bytes that mean nothing are skipped.
pub(super) fn receive_request(mut control: &UnixStream) -> io::Result<Option<Request>> {
    let mut byte = [0];
    loop {
        if control.read(&mut byte)? == 0 {
            return Ok(None);
        }
        if let Some(request) = Request::from_byte(byte[0]) {
            return Ok(Some(request));
        }
    }
}

/// Tells the worker. It may be dead; then nobody is left to care.
pub(super) fn send_report(mut control: &UnixStream, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        control.write_all(&line).ok();
    }
}

/// One report from the line that carried it.
pub(super) fn parse_report(line: &str) -> Option<Report> {
    serde_json::from_str(line).ok()
}

//! A process that outlives the worker that started it, and waits for the next one.
//!
//! A supervised tree ends with whoever holds its lifeline. So that agents outlive a crash, a restart
//! or an upgrade of their worker, somebody else holds it: the keeper, the same executable in one
//! more hidden role, one for each agent.
//!
//! ```text
//! worker ──socket──> keeper ──lifeline──> shim, init, agent
//!           ^           |  what was printed and not taken yet; what the worker wants remembered
//!   next worker ────────'  by the socket in the attempt's directory
//! ```
//!
//! - What the agent prints is numbered, and kept until the worker says that it has taken it. The
//!   next worker gets what the last one had not taken: at worst the last line twice, never a gap.
//! - The keeper keeps nobody's secret and decides nothing, but for one thing: when it is over. Its
//!   tree is killed when the lease runs out that the worker renews with each heartbeat that was
//!   answered, by a clock that counts while the machine is suspended, or when no worker has come
//!   back within the grace for orphans. So no agent outlives its lease, whoever else is frozen.
//! - Who comes last is heard; an earlier connection is closed.
//!
//! Where an agent is to die with its worker, none of this is used.

mod host;
mod link;
mod wire;

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

pub(super) use host::main;
pub use link::{Adopted, Keeping, Lease, Link, adopt, start};

/// The role's name.
pub(super) const ROLE: &str = "__keep";

/// The socket in the attempt's directory.
const SOCKET: &str = "keeper";

/// A connection to the keeper of the attempt with this directory, if it lives.
#[must_use]
pub fn connect(directory: &Path) -> Option<UnixStream> {
    in_directory(directory, |socket| UnixStream::connect(socket)).ok()
}

/// Uses the path of the socket in `directory`. A path that is too long for a socket is shortened by
/// way of the open directory.
fn in_directory<T>(directory: &Path, using: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let open = std::fs::File::open(directory)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(SOCKET);
    using(&short)
}

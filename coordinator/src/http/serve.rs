//! The sockets that requests come through: taking them, serving on them, and leaving them.
//!
//! Taking is apart from serving, so that whoever starts a coordinator knows that it can be
//! reached, and as what, before anything else depends on it.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Draining;

/// Connections at once; further ones wait in the backlog. More than there can be event streams,
/// so that these alone can't shut everybody else out.
const CONNECTIONS_MAX: usize = 256;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// How long the head of a request may take to arrive, and a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// How long open requests may go on once the server drains.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The longest path that fits in the address of a Unix socket, in bytes, without its final zero.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Why there is no socket to serve on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for the socket can't be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The path is too long for a socket, and this system has no way around that.
    #[error(
        "{} is too long for a socket: at most {SOCKET_PATH_MAX} bytes; move the project to a \
         shorter path",
        path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Something that isn't a socket is where it should be.
    #[error("{} is in the way: it isn't a socket; move it elsewhere", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// Somebody answers there already.
    #[error("another coordinator answers on {}; `kapelle stop` ends its work", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// A socket on which nobody answers, which isn't the caller's to replace.
    #[error("nobody answers on {}, and it isn't ours to replace", path.display())]
    Abandoned {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody listens on the port already.
    #[error(
        "the port of {address} is in use by another program; stop that, or set `server.listen` \
         to another port"
    )]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Other machines would reach the address, which nobody said is meant.
    #[error(
        "other machines could reach {address}; use 127.0.0.1, or set `server.allow_remote: true` \
         if that is meant"
    )]
    Remote {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// By the processes of this user, over the socket with this path.
    Unix(PathBuf),
    /// By whoever has the token.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

/// What to do with a socket on which nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Replace it: the caller holds the project's lock, so whoever made it is gone.
    Replace,
    /// Leave it: whoever made it may only just be starting.
    Keep,
}

/// Who may be able to reach a TCP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine only.
    Loopback,
    /// Any machine; somebody said that this is meant.
    Anywhere,
}

/// A path of a socket, in a form that fits in an address however long it is. It is good for as
/// long as this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// What the path leads through, if it had to be shortened.
    _directory: Option<File>,
}

impl SocketPath {
    /// Finds such a form of `path`.
    ///
    /// # Errors
    /// [`Error::PathTooLong`] where the system can't shorten it, [`Error::Directory`] when the
    /// directory that it is in can't be opened.
    pub fn new(path: &Path) -> Result<Self, Error> {
        if path.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name), true) =
            (path.parent(), path.file_name(), cfg!(target_os = "linux"))
        else {
            return Err(Error::PathTooLong { path: path.to_owned() });
        };
        let directory = File::open(parent)
            .map_err(|source| Error::Directory { path: parent.to_owned(), source })?;
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path: short, _directory: Some(directory) })
    }

    /// The path to bind or connect to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A socket that is taken; clients can connect, and are answered from [`Bound::serve`] on.
#[derive(Debug)]
pub struct Bound {
    listening: Listening,
    address: Address,
}

#[derive(Debug)]
enum Listening {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

/// Takes the Unix socket `path`, for this user alone. Its directory is made when it is missing;
/// the socket is removed when it isn't served any more.
///
/// # Errors
/// When somebody answers there, when what is there isn't ours to replace, or when the system
/// refuses.
pub async fn bind_unix(path: &Path, stale: Stale) -> Result<Bound, Error> {
    let address = Address::Unix(path.to_owned());
    if let Some(parent) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|source| Error::Directory { path: parent.to_owned(), source })?;
    }
    let reachable = SocketPath::new(path)?;
    make_way(path, reachable.path(), stale).await?;
    let listen = || {
        let socket = UnixSocket::new_stream()?;
        socket.bind(reachable.path())?;
        // Nobody can connect before `listen`, so nobody can before the mode is right.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let file = SocketFile::new(path)?;
        Ok((socket.listen(BACKLOG)?, file))
    };
    match listen() {
        Ok((listener, file)) => Ok(Bound { listening: Listening::Unix(listener, file), address }),
        Err(source) => Err(Error::Listen { address, source }),
    }
}

/// Sees to it that nothing is at `path`, unless somebody needs it.
async fn make_way(path: &Path, reachable: &Path, stale: Stale) -> Result<(), Error> {
    let refused = |source| Error::Listen { address: Address::Unix(path.to_owned()), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(Error::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    }
    match UnixStream::connect(reachable).await {
        // A full backlog is somebody, too.
        Ok(_) => Err(Error::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(Error::InUse { path: path.to_owned() })
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match stale {
            Stale::Replace => fs::remove_file(path).map_err(refused),
            Stale::Keep => Err(Error::Abandoned { path: path.to_owned() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// Takes the TCP `address`. Port 0 means any free one; [`Bound::address`] has it.
///
/// # Errors
/// When others could reach it and `reach` doesn't say that they may, when the port is in use, or
/// when the system refuses.
pub async fn bind_tcp(address: SocketAddr, reach: Reach) -> Result<Bound, Error> {
    if reach == Reach::Loopback && !address.ip().is_loopback() {
        return Err(Error::Remote { address });
    }
    let refused = |source: io::Error| match source.kind() {
        ErrorKind::AddrInUse => Error::PortInUse { address },
        _ => Error::Listen { address: Address::Tcp(address), source },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok(Bound { listening: Listening::Tcp(listener), address: Address::Tcp(address) })
}

impl Bound {
    /// Where clients reach it; the port is the real one.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Answers with `router` until `shutdown`; then takes no more connections, ends event streams
    /// and waits, and lets requests in progress finish within ten seconds.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let router = router.layer(Extension(Draining(shutdown.clone())));
        match self.listening {
            Listening::Unix(listener, file) => {
                let connections = accept(listener, router, &shutdown).await;
                // Who comes now should find nobody rather than wait for somebody who leaves.
                drop(file);
                drain(connections).await;
            }
            Listening::Tcp(listener) => drain(accept(listener, router, &shutdown).await).await,
        }
    }
}

async fn accept<L: Listener>(
    mut listener: L,
    router: Router,
    shutdown: &CancellationToken,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return connections,
            Some(ended) = connections.join_next() => note_end(ended),
            (stream, _) = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(answer(stream, router.clone(), shutdown.clone()));
            }
        }
    }
}

async fn answer<S>(stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients leave as they like; that is no trouble of ours.
        tracing::debug!(%error, "a connection broke");
    }
}

async fn drain(mut connections: JoinSet<()>) {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    };
    if tokio::time::timeout(DRAIN_WITHIN, all).await.is_err() {
        tracing::warn!(open = connections.len(), "requests didn't end in time; they are dropped");
        connections.shutdown().await;
    }
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a defect of the program");
    }
}

/// Removes the socket when it isn't served any more, unless another took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket can't be removed");
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

//! One run of the git program, hardened the same way every time.
//!
//! Two settings exist. [`Git::isolated`] sees only the repository's own
//! configuration and is for everything that needs no file of the user's working
//! copy. [`Git::for_user`] also sees the user's configuration, because line-end
//! conversion, filters and identity live there; it is only ever pointed at the
//! user's own working copy, never at a tree that an agent wrote.
//!
//! Children are in a process group of their own (a terminal's Ctrl-C is for us
//! to handle, not for git in the middle of a checkout) and die when the future
//! that waits for them is dropped.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::Error;

/// Settings that hold for every run, against anything a configuration file says.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.quotePath=false",
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
    // A commit must never be durable before the objects it names.
    "core.fsync=committed",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
    "log.showSignature=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "safe.bareRepository=explicit",
    "submodule.recurse=false",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "advice.detachedHead=false",
];

const STDERR_TAIL_BYTES: usize = 4 * 1024;
/// More than the listing of any tree that Kapelle can reasonably serve.
const STDOUT_LIMIT_BYTES: u64 = 512 * 1024 * 1024;
/// Bounds one allocation of a git process that reads objects made by others.
const UNTRUSTED_ALLOCATION: &str = "1g";

#[derive(Debug)]
pub(crate) struct Git {
    command: Command,
    action: &'static str,
    directory: PathBuf,
    input: Option<Vec<u8>>,
    stdout_limit: u64,
}

impl Git {
    /// Git on the repository at `git_dir`, without a working tree and without
    /// anyone's personal or system-wide configuration. `action` completes the
    /// sentence "git failed while …".
    pub(crate) fn isolated(action: &'static str, git_dir: &Path) -> Result<Self, Error> {
        let mut git = Self::bare(action, git_dir)?;
        git.command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_DIR", git_dir);
        Ok(git)
    }

    /// Git in the user's own directory, with the user's configuration.
    pub(crate) fn for_user(action: &'static str, directory: &Path) -> Result<Self, Error> {
        let mut git = Self::bare(action, directory)?;
        for name in ["HOME", "XDG_CONFIG_HOME"] {
            if let Some(value) = env::var_os(name) {
                git.command.env(name, value);
            }
        }
        Ok(git)
    }

    fn bare(action: &'static str, directory: &Path) -> Result<Self, Error> {
        let path = absolute_search_path();
        let mut command = Command::new(find_git(&path)?);
        command
            .env_clear()
            .env("PATH", &path)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_NO_LAZY_FETCH", "1")
            .current_dir(directory)
            .kill_on_drop(true)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        let directory = directory.to_owned();
        Ok(Self { command, action, directory, input: None, stdout_limit: STDOUT_LIMIT_BYTES })
    }

    /// A setting for this run only; must come before the subcommand.
    pub(crate) fn setting(mut self, setting: &str) -> Self {
        self.command.arg("-c").arg(setting);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn work_tree(self, tree: &Path) -> Self {
        self.env("GIT_WORK_TREE", tree)
    }

    /// Bounds memory, for runs that read objects somebody else made.
    pub(crate) fn reads_untrusted_objects(self) -> Self {
        self.env("GIT_ALLOC_LIMIT", UNTRUSTED_ALLOCATION)
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Sends standard output elsewhere; then none of it is returned.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Runs to the end; a failing exit code is for the caller to judge.
    pub(crate) async fn run(mut self) -> Result<Finished, Error> {
        let mut child = self.spawn()?;
        // The command owns our copy of a piped standard input; a writer would never
        // learn that git is gone while it lives.
        drop(self.command);
        let feed = write_all(child.stdin.take(), self.input.unwrap_or_default());
        let stdout = read_bounded(child.stdout.take(), self.stdout_limit);
        let stderr = read_tail(child.stderr.take());
        let io = |source| Error::io(self.action, &self.directory, source);
        let ((), stdout, stderr) = tokio::try_join!(feed, stdout, stderr).map_err(io)?;
        let status = child.wait().await.map_err(io)?;
        let Some(stdout) = stdout else {
            return Err(Error::TooLarge {
                what: "output bytes of git",
                path: self.directory,
                size: self.stdout_limit + 1,
                limit: self.stdout_limit,
            });
        };
        Ok(Finished { action: self.action, code: status.code(), stdout, stderr })
    }

    /// Runs to the end and demands success; gives standard output.
    pub(crate) async fn output(self) -> Result<Vec<u8>, Error> {
        self.run().await?.success()
    }

    fn spawn(&mut self) -> Result<Child, Error> {
        tracing::trace!(command = ?self.command.as_std(), "git");
        self.command.spawn().map_err(|source| Error::io(self.action, &self.directory, source))
    }
}

/// A git process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    action: &'static str,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn success(self) -> Result<Vec<u8>, Error> {
        if self.code == Some(0) { Ok(self.stdout) } else { Err(self.into_error()) }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::from_stderr(self.action, self.code, self.stderr)
    }
}

/// Runs blocking file work where it stops nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                Err(Error::io(action, Path::new("."), io::Error::from(io::ErrorKind::Interrupted)))
            }
        },
    }
}

/// `PATH` without relative entries: git must not come from a tree we work in.
fn absolute_search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let entries = env::split_paths(&path).filter(|entry| entry.is_absolute());
    env::join_paths(entries).unwrap_or_default()
}

fn find_git(path: &OsStr) -> Result<PathBuf, Error> {
    let runnable = |file: &PathBuf| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path).map(|dir| dir.join("git")).find(runnable).ok_or(Error::GitMissing)
}

async fn write_all(
    stdin: Option<tokio::process::ChildStdin>,
    bytes: Vec<u8>,
) -> Result<(), io::Error> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(&bytes).await {
        // Git may have stopped early; its exit code and standard error say why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// All output, or `None` when there is more than `limit` bytes of it. Reads on
/// to the end either way, so that the child never blocks on a full pipe.
async fn read_bounded(
    stream: Option<impl AsyncRead + Unpin>,
    limit: u64,
) -> Result<Option<Vec<u8>>, io::Error> {
    let mut bytes = Vec::new();
    let Some(mut stream) = stream else { return Ok(Some(bytes)) };
    (&mut stream).take(limit).read_to_end(&mut bytes).await?;
    let rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok((rest == 0).then_some(bytes))
}

async fn read_tail(stream: Option<impl AsyncRead + Unpin>) -> Result<String, io::Error> {
    let mut tail = Vec::new();
    let Some(mut stream) = stream else { return Ok(String::new()) };
    while stream.read_buf(&mut tail).await? > 0 {
        if tail.len() > 2 * STDERR_TAIL_BYTES {
            tail.drain(..tail.len() - STDERR_TAIL_BYTES);
        }
    }
    let start = tail.len().saturating_sub(STDERR_TAIL_BYTES);
    Ok(String::from_utf8_lossy(&tail[start..]).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{Git, find_git};
    use crate::Error;

    #[test]
    fn a_missing_git_is_said_so() {
        for path in ["", "/nonexistent", "/dev"] {
            assert!(matches!(find_git(OsStr::new(path)), Err(Error::GitMissing)), "{path:?}");
        }
    }

    #[tokio::test]
    async fn output_is_bounded_and_errors_keep_their_tail() {
        let git = || Git::isolated("testing", std::path::Path::new("/")).unwrap();
        let mut short = git().arg("version");
        short.stdout_limit = 5;
        let result = short.output().await;
        assert!(matches!(result, Err(Error::TooLarge { limit: 5, .. })), "{result:?}");
        match git().arg("no-such-command").output().await {
            Err(Error::Git { code: Some(1), stderr, .. }) => {
                assert!(stderr.contains("no-such-command"), "{stderr}");
            }
            other => panic!("{other:?}"),
        }
    }
}

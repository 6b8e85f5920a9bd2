//! Whether the agent committed its work: found by reading its git directory as
//! plain files, since running git on it could run what it planted there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use super::{AgentCommit, Limits};
use crate::beneath::{self, path_of};
use crate::command::{Git, blocking};
use crate::diff::records;
use crate::names::ObjectFormat;
use crate::{CommitId, Error, RefName, Repository, TreeId, Workspace};

const COMPARING: &str = "comparing a snapshot with the agent's own commit";
const REF_BYTES: u64 = 4 * 1024;
const CONFIG_BYTES: u64 = 1024 * 1024;
const PACKED_REFS_BYTES: u64 = 1024 * 1024;
const MAX_SYMBOLIC_STEPS: usize = 5;
const MAX_OBJECT_FILES: usize = 50_000;

impl Repository {
    /// Compares the agent's HEAD with `snapshot`. Trouble with what the agent left
    /// is an answer, [`AgentCommit::Missing`], not an error.
    pub(super) async fn agent_commit(
        &self,
        workspace: &Workspace,
        snapshot: &TreeId,
        limits: &Limits,
    ) -> Result<AgentCommit, Error> {
        let (read, format) = (workspace.clone(), self.format);
        let Some(head) = blocking(COMPARING, move || Ok(head_of(&read, format))).await? else {
            return Ok(AgentCommit::Missing);
        };
        let inspect = workspace.directory.join("inspect");
        let result = workspace.directory.join("result/objects");
        self.fresh_bare_repository(&inspect, "refs/heads/none", &[result]).await?;
        if head != workspace.base {
            let (from, to) = (workspace.git_dir.clone(), inspect.join("objects"));
            let bytes = limits.total_bytes;
            let copied = move || Ok(copy_objects(&from, &to, bytes).is_some());
            if !blocking(COMPARING, copied).await? {
                return Ok(AgentCommit::Missing);
            }
        }
        let compared = Git::isolated(COMPARING, &inspect)?
            .reads_untrusted_objects()
            .args(["diff-tree", "-r", "-z", "--name-only", "--no-renames"])
            .arg(format!("{head}^{{tree}}"))
            .args([snapshot.as_str(), "--"])
            .run()
            .await?;
        crate::remove_tree(&inspect).await?;
        if compared.code != Some(0) {
            return Ok(AgentCommit::Missing);
        }
        let paths: Vec<_> = records(&compared.stdout).map(path_of).collect();
        Ok(if paths.is_empty() { AgentCommit::Clean } else { AgentCommit::Uncommitted { paths } })
    }
}

fn head_of(workspace: &Workspace, format: ObjectFormat) -> Option<CommitId> {
    let tree = beneath::open_root(&workspace.tree).ok()?;
    let pointer = beneath::read_small(tree.as_fd(), b".git", REF_BYTES)?;
    let target = pointer.trim_ascii().strip_prefix(b"gitdir: ")?;
    if target != workspace.git_dir.as_os_str().as_encoded_bytes() {
        return None;
    }
    let git_dir = beneath::open_root(&workspace.git_dir).ok()?;
    if leads_elsewhere(git_dir.as_fd()) {
        return None;
    }
    let mut name = "HEAD".to_owned();
    for _ in 0..MAX_SYMBOLIC_STEPS {
        let value = read_ref(git_dir.as_fd(), &name)?;
        match value.strip_prefix("ref: ") {
            Some(next) => name = RefName::new(next).ok()?.to_string(),
            None => {
                return CommitId::new(value)
                    .ok()
                    .filter(|id| id.as_str().len() == format.hex_len());
            }
        }
    }
    None
}

/// Whether git would take references or files from somewhere else.
fn leads_elsewhere(git_dir: BorrowedFd<'_>) -> bool {
    let shared = beneath::kind_at(git_dir, b"commondir") != Ok(None);
    let config = beneath::read_small(git_dir, b"config", CONFIG_BYTES).unwrap_or_default();
    let work_tree = |line: &str| {
        let line = line.trim_start().to_ascii_lowercase();
        line.strip_prefix("worktree").is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    shared || String::from_utf8_lossy(&config).lines().any(work_tree)
}

fn read_ref(git_dir: BorrowedFd<'_>, name: &str) -> Option<String> {
    let loose = beneath::open_parent(git_dir, name.as_bytes())
        .ok()
        .and_then(|(at, file)| beneath::read_small(at.as_fd(), file, REF_BYTES));
    if let Some(content) = loose {
        return Some(String::from_utf8(content).ok()?.trim().to_owned());
    }
    let packed = beneath::read_small(git_dir, b"packed-refs", PACKED_REFS_BYTES)?;
    let packed = String::from_utf8_lossy(&packed);
    let mut entries = packed.lines().filter_map(|line| line.split_once(' '));
    entries.find(|(_, packed_name)| *packed_name == name).map(|(id, _)| id.to_owned())
}

/// Copies the plain object files, and nothing else that may be in the agent's
/// object directory: no links, no FIFOs that would hang git, no further alternates.
fn copy_objects(git_dir: &Path, to: &Path, limit: u64) -> Option<()> {
    let git_dir = beneath::open_root(git_dir).ok()?;
    let objects = beneath::open_directory(git_dir.as_fd(), b"objects").ok()?;
    let mut bytes = 0;
    let mut files = 0;
    for directory in beneath::names(objects.as_fd()).ok()? {
        let name = str::from_utf8(&directory).ok().filter(|name| is_object_directory(name));
        let Some(name) = name else { continue };
        let Ok(from) = beneath::open_directory(objects.as_fd(), &directory) else { continue };
        let to = to.join(name);
        fs::create_dir_all(&to).ok()?;
        for file in beneath::names(from.as_fd()).ok()? {
            let Some(file_name) = str::from_utf8(&file).ok().filter(|name| is_object_file(name))
            else {
                continue;
            };
            files += 1;
            let Ok(Some(source)) = beneath::open_file(from.as_fd(), &file) else { continue };
            bytes += copy_file(source, &to.join(file_name), limit).ok()?;
            if files > MAX_OBJECT_FILES || bytes > limit {
                return None;
            }
        }
    }
    Some(())
}

fn copy_file(from: File, to: &Path, limit: u64) -> io::Result<u64> {
    io::copy(&mut from.take(limit + 1), &mut File::create_new(to)?)
}

fn is_object_directory(name: &str) -> bool {
    name == "pack" || (name.len() == 2 && is_hex(name))
}

fn is_object_file(name: &str) -> bool {
    let pack = name.strip_prefix("pack-");
    let pack = pack.and_then(|name| name.strip_suffix(".pack").or(name.strip_suffix(".idx")));
    matches!(name.len(), 38 | 62) && is_hex(name) || pack.is_some_and(is_hex)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

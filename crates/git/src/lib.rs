//! The only caller of the git program in Kapelle, and the home of its safety rules.
//!
//! - Git never runs in a tree that an agent wrote, nor on an agent's git directory:
//!   [`Repository::private_clone`] is made before an agent starts, and
//!   [`Repository::snapshot`] reads what it left as plain files.
//! - Results travel as bundles and arrive as references under `refs/kapelle/`.
//! - Integration works on objects alone ([`Repository::merge_squash`]); only
//!   [`Repository::advance`] touches the user's branch and files, and only by
//!   compare-and-swap and when the working copy has no uncommitted changes.
//! - Names are validated before they reach a command line ([`RefName`],
//!   [`CommitId`]), every run is hardened in one place (the `command` module), and
//!   anything that another process wrote is bounded before it is read.
//!
//! It knows nothing of runs, tasks or agents, and decides nothing: what to merge
//! and when is the coordinator's business.

mod advance;
mod beneath;
mod bundle;
mod command;
mod diff;
mod error;
mod git_dir;
mod history;
mod merge;
mod names;
mod refs;
mod removal;
mod repository;
mod scratch;
mod snapshot;
mod working_copy;
mod workspace;

pub use advance::{Advance, Advanced, Recovered};
pub use error::Error;
pub use merge::{Edit, Merged, Work};
pub use names::{
    ChangeKind, ChangedPath, CommitId, Identity, NewCommit, ObjectFormat, RefName, TreeId,
};
pub use removal::remove_tree;
pub use repository::{Head, Repository, git_version};
pub use snapshot::{AgentCommit, Limits, SkipReason, Skipped, Snapshot, Unfiltered};
pub use working_copy::{Checkout, WorkingCopy};
pub use workspace::{WORK_BRANCH, Workspace, confine};

//! Names that may reach a git command line: reference names and object ids.
//!
//! A value of these types has been validated, so no caller has to ask whether a
//! string could be read as an option or leave the reference namespace. They say
//! nothing about whether the named thing exists.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

const MAX_REF_BYTES: usize = 200;
const MAX_OWN_NAME_BYTES: usize = 100;

/// A full reference name such as `refs/heads/main`, valid by git's own rules and
/// without any component that starts with a dash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

/// Where Kapelle makes branches of its own. The second one is for repositories that
/// have a branch called `kapelle`: git can't have both `a` and `a/b`.
pub(crate) const BRANCH_SPACES: [&str; 2] = ["refs/heads/kapelle/", "refs/heads/kapelle-runs/"];

impl RefName {
    /// Validates a full reference name.
    ///
    /// # Errors
    /// [`Error::InvalidName`] with the rule that was broken.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        match broken_ref_rule(&name) {
            None => Ok(Self(name)),
            Some(rule) => Err(Error::InvalidName { kind: "reference", value: name, rule }),
        }
    }

    /// The branch with this short name, for example `main` or `team/feature`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] with the rule that was broken.
    pub fn branch(short: &str) -> Result<Self, Error> {
        Self::new(format!("refs/heads/{short}"))
    }

    /// A branch of Kapelle's own making, `refs/heads/kapelle/<name>`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] unless `name` is lower-case letters, digits, `.`, `_`, `-`, `/`.
    pub fn own_branch(name: &str) -> Result<Self, Error> {
        Self::in_space(BRANCH_SPACES[0], name)
    }

    /// One in any of the spaces.
    pub(crate) fn in_space(space: &str, name: &str) -> Result<Self, Error> {
        check_own_name(name)?;
        Self::new(format!("{space}{name}"))
    }

    /// The reference that keeps the result of one attempt,
    /// `refs/kapelle/<owner>/<run>/<task>/<attempt>`. Several owners may share a repository.
    ///
    /// # Errors
    /// [`Error::InvalidName`] unless each part is lower-case letters, digits, `.`, `_`, `-`.
    pub fn attempt(owner: &str, run: &str, task: &str, attempt: &str) -> Result<Self, Error> {
        for part in [owner, run, task, attempt] {
            check_own_name(part)?;
            if part.contains('/') {
                let rule = "a part of an attempt's reference holds no '/'";
                return Err(Error::InvalidName { kind: "reference", value: part.to_owned(), rule });
            }
        }
        Self::new(format!("refs/kapelle/{owner}/{run}/{task}/{attempt}"))
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people write it: without `refs/heads/` for a branch.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.strip_prefix("refs/heads/").unwrap_or(&self.0)
    }

    /// Whether it is where Kapelle makes references: under `refs/kapelle/`,
    /// `refs/heads/kapelle/` or `refs/heads/kapelle-runs/`. People may have made some
    /// there too.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.starts_with("refs/kapelle/")
            || BRANCH_SPACES.iter().any(|space| self.0.starts_with(space))
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RefName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

fn broken_ref_rule(name: &str) -> Option<&'static str> {
    const FORBIDDEN: &[char] = &[' ', '~', '^', ':', '?', '*', '[', '\\'];
    let rest = name.strip_prefix("refs/").unwrap_or_default();
    if rest.is_empty() {
        return Some("a full name starts with 'refs/'");
    }
    if name.len() > MAX_REF_BYTES {
        return Some("at most 200 bytes");
    }
    if name.contains("..") || name.contains("@{") || name.contains("//") {
        return Some("no '..', '@{' or '//'");
    }
    if name.chars().any(|c| c.is_control() || FORBIDDEN.contains(&c)) {
        return Some("no control character, space or any of ~^:?*[\\");
    }
    if name.ends_with('/') || name.ends_with('.') {
        return Some("no '/' or '.' at the end");
    }
    for component in rest.split('/') {
        if component.starts_with(['.', '-']) {
            return Some("no part starts with '.' or '-'");
        }
        if component.ends_with(".lock") {
            return Some("no part ends in '.lock'");
        }
    }
    None
}

fn check_own_name(name: &str) -> Result<(), Error> {
    let first_is_plain =
        name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let plain = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/')
    };
    if first_is_plain && name.len() <= MAX_OWN_NAME_BYTES && name.bytes().all(plain) {
        return Ok(());
    }
    let rule = "1 to 100 of a-z, 0-9, '.', '_', '-', '/', the first a letter or digit";
    Err(Error::InvalidName { kind: "reference", value: name.to_owned(), rule })
}

/// The hash that a repository names its objects with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 20-byte SHA-1.
    Sha1,
    /// 32-byte SHA-256.
    Sha256,
}

impl ObjectFormat {
    pub(crate) fn hex_len(self) -> usize {
        match self {
            Self::Sha1 => 40,
            Self::Sha256 => 64,
        }
    }

    /// The id that stands for "no object", as `update-ref` takes it.
    pub(crate) fn null_id(self) -> String {
        "0".repeat(self.hex_len())
    }
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

macro_rules! object_id {
    ($(#[$doc:meta])* $visibility:vis $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $visibility struct $name(String);

        impl $name {
            /// Validates a full object id in lower-case hexadecimal.
            ///
            /// # Errors
            /// [`Error::InvalidName`] unless it is 40 or 64 such digits.
            $visibility fn new(id: impl Into<String>) -> Result<Self, Error> {
                let id = id.into();
                if is_object_id(&id) {
                    return Ok(Self(id));
                }
                let rule = "40 or 64 lower-case hexadecimal digits";
                Err(Error::InvalidName { kind: $kind, value: id, rule })
            }

            /// The hexadecimal digits.
            #[must_use]
            $visibility fn as_str(&self) -> &str {
                &self.0
            }

            /// Parses what git printed, with white space around it.
            pub(crate) fn from_output(
                action: &'static str,
                output: &[u8],
            ) -> Result<Self, Error> {
                let text = String::from_utf8_lossy(output);
                Self::new(text.trim()).map_err(|_| Error::unexpected_output(action, output))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(id: &str) -> Result<Self, Error> {
                Self::new(id)
            }
        }
    };
}

object_id!(
    /// The id of a commit.
    pub CommitId,
    "commit id"
);
object_id!(
    /// The id of a tree: one whole state of the files.
    pub TreeId,
    "tree id"
);
object_id!(
    /// The id of a file's content.
    pub(crate) BlobId,
    "blob id"
);

/// Who a commit is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    email: String,
}

impl Identity {
    /// An identity; characters that would break a commit's header are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when nothing is left of the name.
    pub fn new(name: &str, email: &str) -> Result<Self, Error> {
        let clean = |text: &str| {
            let kept: String =
                text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
            // Git trims these from both ends itself and refuses what is then empty.
            kept.trim_matches(|c: char| c.is_whitespace() || ".,:;\"\\'".contains(c)).to_owned()
        };
        let identity = Self { name: clean(name), email: clean(email) };
        if identity.name.is_empty() {
            let rule = "a name holds at least one letter";
            return Err(Error::InvalidName { kind: "identity", value: name.to_owned(), rule });
        }
        Ok(identity)
    }

    /// The identity for a user who has configured none.
    #[must_use]
    pub fn fallback() -> Self {
        Self { name: "Kapelle".to_owned(), email: "kapelle@localhost".to_owned() }
    }

    /// The person's or program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mail address; may be empty.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }
}

/// What a new commit says beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The whole message: subject, blank line, body, trailers.
    pub message: String,
    /// Author and committer.
    pub identity: Identity,
    /// Author and commit time, in seconds since 1970 UTC.
    pub seconds: i64,
}

/// Git refuses a message with NUL; it ends every message with a line end.
pub(crate) fn clean_message(message: &str) -> String {
    format!("{}\n", message.replace('\0', "").trim_end())
}

/// How a path differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the newer tree has it.
    Added,
    /// Content or executable bit differ.
    Modified,
    /// Only the older tree has it.
    Deleted,
    /// It became another kind of thing: a link instead of a file, say.
    TypeChanged,
    /// It had another name.
    Renamed {
        /// The older name.
        from: PathBuf,
    },
}

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// Relative to the root of the tree.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
    /// Lines added; `None` for binary content.
    pub added: Option<u64>,
    /// Lines deleted; `None` for binary content.
    pub deleted: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{CommitId, Identity, RefName};
    use proptest::prelude::{ProptestConfig, proptest};

    #[test]
    fn reference_names() {
        let check = |name: &str, expected: bool| {
            assert_eq!(RefName::new(name).is_ok(), expected, "{name:?}");
        };
        check("refs/heads/main", true);
        check("refs/heads/Größe#1", true);
        check("refs/kapelle/e/r1/t2/a3", true);
        check("refs/heads/--upload-pack=x", false);
        check("refs/heads/x/-y", false);
        check("heads/main", false);
        check("refs/", false);
        check("refs/heads/a..b", false);
        check("refs/heads//b", false);
        check("refs/heads/b/", false);
        check("refs/heads/b.", false);
        check("refs/heads/b.lock", false);
        check("refs/heads/b.lock/c", false);
        check("refs/heads/.b", false);
        check("refs/heads/a@{1}", false);
        check("refs/heads/a b", false);
        check("refs/heads/a\nb", false);
        check("refs/heads/a\\b", false);
        check(&format!("refs/heads/{}", "x".repeat(300)), false);
    }

    #[test]
    fn own_names_are_narrower() {
        let attempt = RefName::attempt("e", "r1", "t-2", "3").unwrap();
        assert_eq!(attempt.as_str(), "refs/kapelle/e/r1/t-2/3");
        for bad in ["", "A", "-x", "a/b", "a b", "a..b", "../../heads/main", "x.lock", "é"] {
            assert!(RefName::attempt("e", "r1", bad, "3").is_err(), "{bad:?}");
        }
        assert!(RefName::own_branch("run-1").unwrap().is_own());
        assert!(!RefName::branch("main").unwrap().is_own());
    }

    #[test]
    fn commit_ids() {
        assert!(CommitId::new("a".repeat(40)).is_ok());
        assert!(CommitId::new("0".repeat(64)).is_ok());
        for bad in ["", "HEAD", "--all", &"A".repeat(40), &"a".repeat(41)] {
            assert!(CommitId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identities_cannot_break_the_header() {
        let identity = Identity::new("Eve <root>\nauthor", "e@x>\n").unwrap();
        assert_eq!((identity.name(), identity.email()), ("Eve rootauthor", "e@x"));
        assert!(Identity::new(" <>\n", "e@x").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_accepted_name_can_be_an_option_or_climb(name in "\\PC{0,40}") {
            for name in [RefName::branch(&name), RefName::own_branch(&name)].into_iter().flatten() {
                assert!(name.as_str().starts_with("refs/heads/"));
                assert!(!name.as_str().split('/').any(|part| {
                    part.is_empty() || part.starts_with('-') || part.starts_with('.')
                }));
            }
        }
    }
}

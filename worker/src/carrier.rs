//! What an attempt on another machine than the project's needs carried: the history that it starts
//! from, and its result on the way back.
//!
//! It moves files and checks that they are what was promised. What is in them is git's business.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use kapelle_bus::blob::{BlobError, BlobName, BlobStore};
use kapelle_bus::freight::{BlobReference, INDEX_BYTES_MAX, Index, is_genuine};
use kapelle_git::{CommitId, Repository};

/// How long a commit that work starts from may take to be published.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the coordinator may take to pass on what another worker has left.
const PASSING_ON: Duration = Duration::from_secs(20);

/// The wait before it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The largest pack of a history that is taken.
const PACK_BYTES_MAX: u64 = 16 << 30;

/// A carrier's work in progress.
pub type Carrying<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Carries between this machine and the project's. Dynamic, because a worker doesn't care by which
/// kind of store.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// Brings the history up to `commit` into the cache.
    fn fetch<'a>(
        &'a self,
        cache: &'a Repository,
        repository: &'a str,
        commit: &'a CommitId,
    ) -> Carrying<'a, ()>;

    /// Sends a file to the project's machine, where it is known by the text that this returns.
    fn send<'a>(&'a self, name: &'a str, file: &'a Path) -> Carrying<'a, String>;

    /// Gets a file that another worker has sent, once the coordinator has passed it on.
    fn receive<'a>(&'a self, reference: &'a str, to: &'a Path) -> Carrying<'a, ()>;
}

/// Why something could not be carried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store of blobs refuses.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Git refuses.
    #[error(transparent)]
    Git(#[from] kapelle_git::Error),
    /// What arrived is not what was promised.
    #[error("`{name}` is not what was promised; it was changed on its way")]
    NotGenuine {
        /// Its name.
        name: String,
    },
    /// The commit was not published in time.
    #[error("the coordinator has not published the commit {commit} within {PATIENCE:?}")]
    NotPublished {
        /// The commit.
        commit: String,
    },
    /// What another worker has left was not passed on in time.
    #[error("the coordinator has not passed on `{name}` within {PASSING_ON:?}")]
    NotPassedOn {
        /// Its name.
        name: String,
    },
    /// A file can't be read or written.
    #[error("using {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same may succeed later with nothing changed here.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_transient(),
            Self::NotPublished { .. } | Self::NotPassedOn { .. } => true,
            Self::Git(_) | Self::NotGenuine { .. } | Self::File { .. } => false,
        }
    }
}

/// Carries by blobs.
#[derive(Debug)]
pub struct BlobCarrier<S> {
    bases: S,
    results: S,
    scratch: PathBuf,
}

impl<S: BlobStore> BlobCarrier<S> {
    /// A carrier that gets history from `bases`, puts results into `results`, and keeps what is
    /// under way in `scratch`, which must be this worker's alone.
    #[must_use]
    pub fn new(bases: S, results: S, scratch: PathBuf) -> Self {
        Self { bases, results, scratch }
    }

    async fn bring(
        &self,
        cache: &Repository,
        repository: &str,
        commit: &CommitId,
    ) -> Result<(), Error> {
        let patience = async {
            loop {
                if cache.has_commit(commit).await? {
                    return Ok(());
                }
                match self.import(cache, repository).await {
                    Err(Error::Blob(BlobError::Missing { .. })) => {}
                    result => result?,
                }
                if cache.has_commit(commit).await? {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, patience)
            .await
            .unwrap_or_else(|_| Err(Error::NotPublished { commit: commit.to_string() }))
    }

    /// Imports the packs that the cache lacks, in order.
    async fn import(&self, cache: &Repository, repository: &str) -> Result<(), Error> {
        let file = self.file("index")?;
        let index = async {
            let blob = self.bases.get(&Index::name(repository)?, &file).await?;
            let not_genuine = || Error::NotGenuine { name: "the index".to_owned() };
            if blob.bytes > INDEX_BYTES_MAX {
                return Err(not_genuine());
            }
            let text = std::fs::read_to_string(&file);
            let text = text.map_err(|source| Error::File { path: file.clone(), source })?;
            text.parse::<Index>().map_err(|_| not_genuine())
        };
        let index = index.await;
        remove(&file)?;
        for pack in index?.packs {
            let commit = CommitId::new(pack.commit.as_str())?;
            if cache.has_commit(&commit).await? {
                continue;
            }
            let name = Index::pack_name(repository, pack.number)?;
            let file = self.file("pack")?;
            let imported = async {
                let blob = self.bases.get(&name, &file).await?;
                if !is_genuine(&blob, pack.hash) {
                    return Err(Error::NotGenuine { name: name.as_str().to_owned() });
                }
                Ok(cache.unpack_history(&file, &commit, PACK_BYTES_MAX).await?)
            };
            let imported = imported.await;
            remove(&file)?;
            imported?;
        }
        Ok(())
    }

    /// A new file in the scratch directory.
    fn file(&self, kind: &str) -> Result<PathBuf, Error> {
        let failed = |source| Error::File { path: self.scratch.clone(), source };
        std::fs::create_dir_all(&self.scratch).map_err(failed)?;
        let number = kapelle_runtime::identity::seed();
        Ok(self.scratch.join(format!("{kind}-{number:016x}")))
    }
}

impl<S: BlobStore + fmt::Debug> Carrier for BlobCarrier<S> {
    fn fetch<'a>(
        &'a self,
        cache: &'a Repository,
        repository: &'a str,
        commit: &'a CommitId,
    ) -> Carrying<'a, ()> {
        Box::pin(self.bring(cache, repository, commit))
    }

    fn send<'a>(&'a self, name: &'a str, file: &'a Path) -> Carrying<'a, String> {
        Box::pin(async move {
            let name = BlobName::new(name)?;
            let hash = self.results.put(&name, file).await?.hash;
            Ok(BlobReference { name, hash }.to_string())
        })
    }

    fn receive<'a>(&'a self, reference: &'a str, to: &'a Path) -> Carrying<'a, ()> {
        Box::pin(async move {
            let malformed = || Error::NotGenuine { name: reference.to_owned() };
            let reference: BlobReference = reference.parse().map_err(|_| malformed())?;
            let passed_on = async {
                loop {
                    match self.bases.get(&reference.name, to).await {
                        Err(BlobError::Missing { .. }) => tokio::time::sleep(LOOK_AGAIN).await,
                        got => return got,
                    }
                }
            };
            let late = |_| Error::NotPassedOn { name: reference.name.as_str().to_owned() };
            let blob = tokio::time::timeout(PASSING_ON, passed_on).await.map_err(late)??;
            if is_genuine(&blob, reference.hash) {
                return Ok(());
            }
            remove(to)?;
            Err(malformed())
        })
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

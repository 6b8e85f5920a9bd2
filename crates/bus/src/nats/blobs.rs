//! Blobs in the object store of JetStream.
//!
//! The format is that of NATS's object store, so that its own tools can look into it: chunks under
//! one subject each file, and a description under the subject of its name. It is written and read
//! here, because the library's way of reading makes a consumer, and whoever may make consumers can
//! have messages sent to others; a worker may not.
//!
//! There are two buckets. What the coordinator gives ([`Bucket::Bases`]) every worker may read and
//! none may write. What workers return ([`Bucket::Results`]) every worker may write and none may
//! read. A worker could thus spoil another's result, which shows in its hash, but not learn of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use async_nats::jetstream::stream::{
    self, DirectGetError, DirectGetErrorKind, DiscardPolicy, StorageType,
};
use async_nats::jetstream::{Context, ErrorCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::coordinator::NatsCoordinator;
use super::error::Error;
use super::worker::NatsWorker;
use crate::blob::{Blob, BlobError, BlobName, BlobStore, Hash, Hasher, appear, partial};
use crate::subject::Root;

/// How much goes into one message.
const CHUNK: usize = 128 * 1024;

/// How many chunks may wait for the server's word that it has them.
const UNCONFIRMED_MAX: usize = 16;

/// How long a result is kept at most, if its worker or the coordinator is gone for good.
const RESULT_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Which blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// What the coordinator gives to workers: the commits that work starts from.
    Bases,
    /// What workers return.
    Results,
}

impl Bucket {
    /// How long a blob is kept at most; zero for as long as its owner wants.
    fn age_max(self) -> Duration {
        match self {
            Self::Bases => Duration::ZERO,
            Self::Results => RESULT_AGE_MAX,
        }
    }

    /// Its name on the server.
    pub(super) fn name(self, root: &Root) -> String {
        match self {
            Self::Bases => format!("{root}-bases"),
            Self::Results => format!("{root}-results"),
        }
    }
}

/// The stream that holds a bucket.
pub(super) fn stream_of(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// What a bucket is on the server.
pub(super) fn stream(root: &Root, of: Bucket, bytes_max: u64, replicas: usize) -> stream::Config {
    let bucket = of.name(root);
    stream::Config {
        name: stream_of(&bucket),
        description: Some("Kapelle: files on their way between machines".to_owned()),
        subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        max_age: of.age_max(),
        max_bytes: i64::try_from(bytes_max).unwrap_or(i64::MAX),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

/// Blobs in a bucket on the server. What may be done with them is up to the server's permissions.
#[derive(Debug, Clone)]
pub struct NatsBlobs {
    bucket: Arc<str>,
    jetstream: Context,
    blob_bytes_max: u64,
    bytes_max: u64,
    /// Whether we may remove things.
    owns: bool,
    /// Chunks that belonged to nothing when it was last swept.
    stray: Arc<Mutex<HashSet<String>>>,
}

impl NatsCoordinator {
    /// Opens a bucket, and makes it where it isn't there: each blob of at most `blob_bytes_max`
    /// bytes, all of them of at most `bytes_max`.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn blobs(
        &self,
        bucket: Bucket,
        blob_bytes_max: u64,
        bytes_max: u64,
    ) -> Result<NatsBlobs, Error> {
        self.layout().set_up_bucket(bucket, bytes_max).await?;
        let name = bucket.name(self.subjects().root());
        let blobs = NatsBlobs::new(name, self.bulk_jetstream(), blob_bytes_max, bytes_max);
        Ok(NatsBlobs { owns: true, ..blobs })
    }
}

impl NatsWorker {
    /// Opens a bucket that a coordinator made: each blob of at most `blob_bytes_max` bytes.
    #[must_use]
    pub fn blobs(&self, bucket: Bucket, blob_bytes_max: u64) -> NatsBlobs {
        let name = bucket.name(self.subjects().root());
        NatsBlobs::new(name, self.bulk_jetstream(), blob_bytes_max, u64::MAX)
    }
}

impl NatsBlobs {
    fn new(bucket: String, jetstream: Context, blob_bytes_max: u64, bytes_max: u64) -> Self {
        let stray = Arc::default();
        let bucket = bucket.into();
        Self { bucket, jetstream, blob_bytes_max, bytes_max, owns: false, stray }
    }

    fn described(&self, name: &BlobName) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name.as_str()))
    }

    fn chunks(&self, id: &str) -> String {
        format!("$O.{}.C.{id}", self.bucket)
    }

    async fn stream(&self) -> Result<stream::Stream<()>, BlobError> {
        let stream = self.jetstream.get_stream_no_info(stream_of(&self.bucket)).await;
        stream.map_err(|error| failed("open the bucket of", &self.bucket, error))
    }

    /// Removes what puts that failed have left behind: chunks that belong to nothing now, and
    /// belonged to nothing when this was last called. Call it rarely, so that no put takes longer
    /// than from one call to the next.
    ///
    /// # Errors
    /// When the bucket can't be read.
    pub async fn sweep(&self) -> Result<(), BlobError> {
        let mut known = HashSet::new();
        for described in self.descriptions().await? {
            known.insert(self.chunks(&described.nuid));
        }
        let opened = self.jetstream.get_stream(stream_of(&self.bucket)).await;
        let stream = opened.map_err(|error| failed("look into", &self.bucket, error))?;
        let filter = format!("$O.{}.C.>", self.bucket);
        let found = stream.info_with_subjects(filter).await;
        let mut found = found.map_err(|error| failed("look into", &self.bucket, error))?;
        let mut stray = HashSet::new();
        let mut earlier = self.stray.lock().await;
        while let Some(subject) = found.next().await {
            let (subject, _) = subject.map_err(|error| failed("look into", &self.bucket, error))?;
            if known.contains(&subject) {
                continue;
            }
            if earlier.contains(&subject) {
                let purged = stream.purge().filter(&subject).await;
                purged.map_err(|error| failed("clean up", &self.bucket, error))?;
            } else {
                stray.insert(subject);
            }
        }
        *earlier = stray;
        Ok(())
    }

    async fn descriptions(&self) -> Result<Vec<ObjectInfo>, BlobError> {
        let opened = self.jetstream.get_object_store(&*self.bucket).await;
        let store = opened.map_err(|error| failed("list", &self.bucket, error))?;
        let listed = store.list().await;
        let mut listed = listed.map_err(|error| failed("list", &self.bucket, error))?;
        let mut descriptions = Vec::new();
        while let Some(described) = listed.next().await {
            descriptions.push(described.map_err(|error| failed("list", &self.bucket, error))?);
        }
        Ok(descriptions)
    }

    async fn description(
        &self,
        stream: &stream::Stream<()>,
        name: &BlobName,
    ) -> Result<ObjectInfo, BlobError> {
        let missing = || BlobError::Missing { name: name.to_string() };
        let found = stream.direct_get_last_for_subject(self.described(name)).await;
        let found = found.map_err(|error| unfound(name, error))?;
        let described: ObjectInfo = serde_json::from_slice(&found.payload)
            .map_err(|error| failed("read the description of", name.as_str(), error))?;
        if described.deleted { Err(missing()) } else { Ok(described) }
    }

    /// Sends a file in chunks, and says what it was and how many there were.
    async fn send(
        &self,
        name: &BlobName,
        from: &Path,
        id: &str,
    ) -> Result<(Blob, usize), BlobError> {
        let mut file = tokio::fs::File::open(from).await.map_err(BlobError::file("open", from))?;
        let size = file.metadata().await.map_err(BlobError::file("look at", from))?.len();
        self.fits(name, size)?;
        let mut hasher = Hasher::default();
        let mut unconfirmed = std::collections::VecDeque::new();
        let mut chunks = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let limit = u64::try_from(CHUNK).unwrap_or(u64::MAX);
            let read = (&mut file).take(limit).read_to_end(&mut chunk).await;
            if read.map_err(BlobError::file("read", from))? == 0 {
                break;
            }
            hasher.add(&chunk);
            // It may have grown since.
            self.fits(name, hasher.bytes())?;
            let sent = self.jetstream.publish(self.chunks(id), chunk.into()).await;
            unconfirmed.push_back(sent.map_err(|error| self.unsent(name, error))?);
            chunks += 1;
            while unconfirmed.len() >= UNCONFIRMED_MAX
                && let Some(oldest) = unconfirmed.pop_front()
            {
                self.confirmed(name, oldest).await?;
            }
        }
        for rest in unconfirmed {
            self.confirmed(name, rest).await?;
        }
        Ok((hasher.finish(), chunks))
    }

    fn fits(&self, name: &BlobName, bytes: u64) -> Result<(), BlobError> {
        if bytes <= self.blob_bytes_max {
            return Ok(());
        }
        let bytes_max = self.blob_bytes_max;
        Err(BlobError::TooLarge { name: name.to_string(), bytes, bytes_max })
    }

    /// Removes the chunks of a file, if we may. What stays is swept away later.
    async fn remove_chunks(&self, id: &str) {
        if !self.owns {
            return;
        }
        let removed = async {
            let stream = self.stream().await?;
            let purged = stream.purge().filter(self.chunks(id)).await;
            purged.map_err(|error| failed("clean up", &self.bucket, error))
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, "the remains of a file are swept away later");
        }
    }

    async fn describe(
        &self,
        name: &BlobName,
        id: &str,
        (blob, chunks): (Blob, usize),
    ) -> Result<(), BlobError> {
        let description = ObjectInfo {
            name: name.to_string(),
            description: None,
            metadata: std::collections::HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK) }),
            bucket: self.bucket.to_string(),
            nuid: id.to_owned(),
            size: usize::try_from(blob.bytes).unwrap_or(usize::MAX),
            chunks,
            modified: None,
            digest: Some(digest(blob.hash)),
            deleted: false,
        };
        let payload = serde_json::to_vec(&description)
            .map_err(|error| failed("describe", name.as_str(), error))?;
        let mut headers = HeaderMap::new();
        // The newest description replaces those before it.
        headers.insert(async_nats::header::NATS_ROLLUP, "sub");
        let subject = self.described(name);
        let sent = self.jetstream.publish_with_headers(subject, headers, payload.into()).await;
        self.confirmed(name, sent.map_err(|error| self.unsent(name, error))?).await
    }

    async fn confirmed(&self, name: &BlobName, sent: PublishAckFuture) -> Result<(), BlobError> {
        sent.await.map(drop).map_err(|error| self.unsent(name, error))
    }

    fn unsent(
        &self,
        name: &BlobName,
        error: async_nats::error::Error<PublishErrorKind>,
    ) -> BlobError {
        let code = std::error::Error::source(&error)
            .and_then(|cause| cause.downcast_ref::<async_nats::jetstream::Error>())
            .map(async_nats::jetstream::Error::error_code);
        if code == Some(ErrorCode::STREAM_STORE_FAILED) {
            return BlobError::NoRoom { name: name.to_string(), bytes_max: self.bytes_max };
        }
        failed("put", name.as_str(), error)
    }

    async fn receive(
        &self,
        stream: &stream::Stream<()>,
        name: &BlobName,
        described: &ObjectInfo,
        to: &Path,
    ) -> Result<Blob, BlobError> {
        let mut file = tokio::fs::File::create(to).await.map_err(BlobError::file("make", to))?;
        let mut hasher = Hasher::default();
        let mut next = None;
        for _ in 0..described.chunks {
            let chunk =
                stream.direct_get_next_for_subject(self.chunks(&described.nuid), next).await;
            let chunk = chunk.map_err(|error| unfound(name, error))?;
            next = Some(chunk.sequence + 1);
            hasher.add(&chunk.payload);
            self.fits(name, hasher.bytes())?;
            file.write_all(&chunk.payload).await.map_err(BlobError::file("write", to))?;
        }
        file.sync_all().await.map_err(BlobError::file("write", to))?;
        Ok(hasher.finish())
    }
}

impl BlobStore for NatsBlobs {
    async fn put(&self, name: &BlobName, from: &Path) -> Result<Blob, BlobError> {
        let replaced =
            if self.owns { self.description(&self.stream().await?, name).await.ok() } else { None };
        let id = self.jetstream.client().new_inbox();
        let id = id.rsplit('.').next().unwrap_or_default();
        let put = async {
            let sent = self.send(name, from, id).await?;
            self.describe(name, id, sent).await?;
            Ok(sent.0)
        };
        let put = put.await;
        match (&put, replaced) {
            (Ok(_), Some(replaced)) => self.remove_chunks(&replaced.nuid).await,
            (Ok(_), None) => {}
            (Err(_), _) => self.remove_chunks(id).await,
        }
        put
    }

    async fn get(&self, name: &BlobName, to: &Path) -> Result<Blob, BlobError> {
        let stream = self.stream().await?;
        let described = self.description(&stream, name).await?;
        let partial = partial(to);
        let got = self.receive(&stream, name, &described, &partial).await;
        let got = got.and_then(|got| {
            let (put, is) = (described.digest.unwrap_or_default(), digest(got.hash));
            if put != is {
                return Err(BlobError::Damaged { name: name.to_string(), put, got: is });
            }
            appear(&partial, to)?;
            Ok(got)
        });
        if got.is_err() {
            drop(tokio::fs::remove_file(&partial).await);
        }
        got
    }

    async fn delete(&self, name: &BlobName) -> Result<(), BlobError> {
        let stream = self.stream().await?;
        let described = match self.description(&stream, name).await {
            Ok(described) => described,
            Err(BlobError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Without the mark that the library leaves of what is gone: nobody here reads it, and there
        // would be one more with each result. First the description, so that no half of it is seen.
        for subject in [self.described(name), self.chunks(&described.nuid)] {
            let purged = stream.purge().filter(subject).await;
            purged.map_err(|error| failed("delete", name.as_str(), error))?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(BlobName, Blob)>, BlobError> {
        let descriptions = self.descriptions().await?;
        let read = |described: ObjectInfo| {
            let name = BlobName::new(described.name).ok()?;
            let hash = read_digest(&described.digest?)?;
            Some((name, Blob { bytes: u64::try_from(described.size).ok()?, hash }))
        };
        // What isn't ours is none of our business.
        Ok(descriptions.into_iter().filter_map(read).collect())
    }
}

/// A hash as the object store writes it.
fn digest(hash: Hash) -> String {
    format!("SHA-256={}", URL_SAFE.encode(hash.as_bytes()))
}

fn read_digest(digest: &str) -> Option<Hash> {
    let bytes = URL_SAFE.decode(digest.strip_prefix("SHA-256=")?).ok()?;
    Some(Hash::from_bytes(bytes.try_into().ok()?))
}

fn unfound(name: &BlobName, error: DirectGetError) -> BlobError {
    match error.kind() {
        DirectGetErrorKind::NotFound => BlobError::Missing { name: name.to_string() },
        DirectGetErrorKind::InvalidSubject
        | DirectGetErrorKind::TimedOut
        | DirectGetErrorKind::Request
        | DirectGetErrorKind::ErrorResponse(..)
        | DirectGetErrorKind::Other => failed("get", name.as_str(), error),
    }
}

fn failed(
    doing: &'static str,
    name: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> BlobError {
    BlobError::Store { doing, name: name.to_owned(), source: Box::new(source) }
}

//! Blobs in a directory, for coordinator and workers on one machine.
//!
//! The file of a blob is called `<name>@<hash>`, so that it and its hash appear in one step. Where
//! the file system allows it, a blob is another link to the file that was put, and takes no room.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Blob, BlobError, BlobName, BlobStore, Hash, Hasher};

/// Blobs in a directory.
#[derive(Debug, Clone)]
pub struct Directory {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    blob_bytes_max: u64,
    bytes_max: u64,
}

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

impl Directory {
    /// Blobs in `path`, which is made where it isn't there: each of at most `blob_bytes_max`
    /// bytes, all of them of at most `bytes_max`.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn open(path: &Path, blob_bytes_max: u64, bytes_max: u64) -> Result<Self, BlobError> {
        fs::create_dir_all(path).map_err(BlobError::file("make", path))?;
        let place = Place { path: path.to_owned(), blob_bytes_max, bytes_max };
        Ok(Self { place: Arc::new(place) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let place = Arc::clone(&self.place);
        let done = tokio::task::spawn_blocking(move || work(&place)).await;
        done.unwrap_or_else(|error| {
            let (doing, name) = ("work with", "blobs".to_owned());
            Err(BlobError::Store { doing, name, source: Box::new(error) })
        })
    }
}

impl BlobStore for Directory {
    async fn put(&self, name: &BlobName, from: &Path) -> Result<Blob, BlobError> {
        let (name, from) = (name.clone(), from.to_owned());
        self.blocking(move |place| place.put(&name, &from)).await
    }

    async fn get(&self, name: &BlobName, to: &Path) -> Result<Blob, BlobError> {
        let (name, to) = (name.clone(), to.to_owned());
        self.blocking(move |place| place.get(&name, &to)).await
    }

    async fn delete(&self, name: &BlobName) -> Result<(), BlobError> {
        let name = name.clone();
        self.blocking(move |place| place.remove_others(&name, None)).await
    }

    async fn list(&self) -> Result<Vec<(BlobName, Blob)>, BlobError> {
        self.blocking(Place::list).await
    }
}

impl Place {
    fn put(&self, name: &BlobName, from: &Path) -> Result<Blob, BlobError> {
        let blob = hashed(name, from, self.blob_bytes_max)?;
        let others = self.list()?;
        let others = others.iter().filter(|(other, _)| other != name).map(|(_, blob)| blob.bytes);
        if others.sum::<u64>().saturating_add(blob.bytes) > self.bytes_max {
            return Err(BlobError::NoRoom { name: name.to_string(), bytes_max: self.bytes_max });
        }
        let kept = self.path.join(format!("{name}@{}", blob.hash));
        let partial = partial(&kept);
        drop(fs::remove_file(&partial));
        // It can't be linked from another file system, or on one without links.
        if fs::hard_link(from, &partial).is_err() {
            copied(from, &partial)?;
        }
        fs::rename(&partial, &kept).map_err(BlobError::file("make", &kept))?;
        // Two names of one file stay two when one is renamed to the other.
        drop(fs::remove_file(&partial));
        self.remove_others(name, Some(blob.hash))?;
        Ok(blob)
    }

    fn get(&self, name: &BlobName, to: &Path) -> Result<Blob, BlobError> {
        let found = self.list()?.into_iter().find(|(found, _)| found == name);
        let missing = || BlobError::Missing { name: name.to_string() };
        let (_, put) = found.ok_or_else(missing)?;
        let kept = self.path.join(format!("{name}@{}", put.hash));
        // A copy: whoever gets it may change it, and the blob stays what it is.
        let partial = partial(to);
        let got = copied(&kept, &partial)?;
        if got.hash != put.hash {
            drop(fs::remove_file(&partial));
            let (put, got) = (put.hash.to_string(), got.hash.to_string());
            return Err(BlobError::Damaged { name: name.to_string(), put, got });
        }
        appear(&partial, to)?;
        Ok(got)
    }

    fn list(&self) -> Result<Vec<(BlobName, Blob)>, BlobError> {
        let listing = BlobError::file("list", &self.path);
        let entries = fs::read_dir(&self.path).map_err(listing)?;
        let mut blobs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BlobError::file("list", &self.path))?;
            let file = entry.file_name();
            // Files that are being written have no hash in their names.
            let Some((name, hash)) = file.to_str().and_then(|file| file.split_once('@')) else {
                continue;
            };
            let (Ok(name), Some(hash)) = (BlobName::new(name), Hash::from_hex(hash)) else {
                continue;
            };
            match entry.metadata() {
                Ok(found) => blobs.push((name, Blob { bytes: found.len(), hash })),
                // Removed since.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(BlobError::file("look at", &entry.path())(error)),
            }
        }
        Ok(blobs)
    }

    /// Removes everything under a name but what has the hash `but`.
    fn remove_others(&self, name: &BlobName, but: Option<Hash>) -> Result<(), BlobError> {
        for (found, Blob { hash, .. }) in self.list()? {
            if found != *name || Some(hash) == but {
                continue;
            }
            let path = self.path.join(format!("{name}@{hash}"));
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(BlobError::file("remove", &path)(error)),
            }
        }
        Ok(())
    }
}

fn hashed(name: &BlobName, path: &Path, bytes_max: u64) -> Result<Blob, BlobError> {
    let mut file = fs::File::open(path).map_err(BlobError::file("open", path))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer).map_err(BlobError::file("read", path))?;
        let Some(bytes @ [_, ..]) = buffer.get(..read) else { return Ok(hasher.finish()) };
        hasher.add(bytes);
        if hasher.bytes() > bytes_max {
            let (name, bytes) = (name.to_string(), hasher.bytes());
            return Err(BlobError::TooLarge { name, bytes, bytes_max });
        }
    }
}

/// Copies a file.
fn copied(from: &Path, to: &Path) -> Result<Blob, BlobError> {
    let mut source = fs::File::open(from).map_err(BlobError::file("open", from))?;
    let mut copy = fs::File::create(to).map_err(BlobError::file("make", to))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = source.read(&mut buffer).map_err(BlobError::file("read", from))?;
        let Some(bytes @ [_, ..]) = buffer.get(..read) else { break };
        hasher.add(bytes);
        copy.write_all(bytes).map_err(BlobError::file("write", to))?;
    }
    copy.sync_all().map_err(BlobError::file("write", to))?;
    Ok(hasher.finish())
}

/// Where a file is written before it appears.
pub(crate) fn partial(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    to.with_file_name(name)
}

/// Gives a file its name, under which nothing may be yet.
pub(crate) fn appear(partial: &Path, to: &Path) -> Result<(), BlobError> {
    fs::hard_link(partial, to)
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            _ => fs::rename(partial, to),
        })
        .map_err(BlobError::file("make", to))?;
    drop(fs::remove_file(partial));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::conformance::{LIMITS, check_blobs};

    fn open(path: &Path) -> Directory {
        Directory::open(path, LIMITS.0, LIMITS.1).expect("a directory")
    }

    #[tokio::test]
    async fn conforms() {
        let place = tempfile::tempdir().expect("a directory");
        let files = tempfile::tempdir().expect("a directory");
        check_blobs(&open(place.path()), files.path()).await;
        let left: Vec<_> = fs::read_dir(place.path()).expect("it is there").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn a_blob_takes_no_room_of_its_own_and_outlives_the_file() {
        let place = tempfile::tempdir().expect("a directory");
        let blobs = open(&place.path().join("blobs"));
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::write(&from, b"bundle").expect("a file");
        let name = BlobName::new("a").expect("a name");
        blobs.put(&name, &from).await.expect("it is put");
        assert_eq!(fs::metadata(&from).expect("it is there").nlink(), 2);
        fs::remove_file(&from).expect("it is removed");
        blobs.get(&name, &to).await.expect("it is got");
        assert_eq!(fs::read(&to).expect("it is there"), b"bundle");
    }

    #[tokio::test]
    async fn damage_is_noticed_and_mended_by_putting_it_again() {
        let place = tempfile::tempdir().expect("a directory");
        let blobs = open(&place.path().join("blobs"));
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::write(&from, b"bundle").expect("a file");
        let name = BlobName::new("a").expect("a name");
        let blob = blobs.put(&name, &from).await.expect("it is put");
        let kept = place.path().join("blobs").join(format!("a@{}", blob.hash));
        fs::remove_file(&kept).expect("it is removed");
        fs::write(&kept, b"bumdle").expect("a file");
        let error = blobs.get(&name, &to).await.expect_err("it is damaged");
        assert!(matches!(error, BlobError::Damaged { .. }), "{error:?}");
        assert!(!to.exists(), "nothing appears");
        assert_eq!(blobs.put(&name, &from).await.expect("it is put"), blob);
        assert_eq!(blobs.get(&name, &to).await.expect("it is got"), blob);
    }
}

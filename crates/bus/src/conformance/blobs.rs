//! What every place for blobs must do.

use std::fs;
use std::path::Path;

use crate::blob::{BlobError, BlobName, BlobStore};

/// The limits of the place that is checked: bytes of one blob, and of all together.
pub const LIMITS: (u64, u64) = (3 * 1024 * 1024, 4 * 1024 * 1024);

fn name(name: &str) -> BlobName {
    BlobName::new(name).expect("the name of a blob")
}

/// Bytes that no other seed has, without any pattern that a chunk's border could hide in.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn file(directory: &Path, file: &str, content: &[u8]) -> std::path::PathBuf {
    let path = directory.join(file);
    fs::write(&path, content).expect("a file is written");
    path
}

/// Runs every check against an empty place with [`LIMITS`]. Files are written below `directory`.
///
/// # Panics
/// On the first difference.
pub async fn check_blobs<B: BlobStore>(blobs: &B, directory: &Path) {
    for length in [0, 1, 128 * 1024, 128 * 1024 + 1, 1_000_000] {
        let content = bytes(1, length);
        let from = file(directory, &format!("from-{length}"), &content);
        let to = directory.join(format!("to-{length}"));
        let put = blobs.put(&name("a.bundle"), &from).await.expect("it is put");
        let got = blobs.get(&name("a.bundle"), &to).await.expect("it is got");
        assert_eq!(put, got);
        assert_eq!(put.bytes, u64::try_from(length).expect("small"));
        assert!(fs::read(&to).expect("it is there") == content, "what was put comes back");
        // What is done to the copy is not done to the blob.
        fs::write(&to, b"changed").expect("a file is written");
        let again = directory.join(format!("again-{length}"));
        assert_eq!(blobs.get(&name("a.bundle"), &again).await.expect("it is got"), put);
        let listed = blobs.list().await.expect("it is listed");
        assert_eq!(listed, [(name("a.bundle"), put)], "a new blob replaces the old one");
    }
    what_is_not_there_is_missing(blobs, directory).await;
    nothing_is_overwritten(blobs, directory).await;
    limits_are_kept(blobs, directory).await;
    assert_eq!(blobs.list().await.expect("it is listed"), []);
}

async fn what_is_not_there_is_missing<B: BlobStore>(blobs: &B, directory: &Path) {
    blobs.delete(&name("a.bundle")).await.expect("it is deleted");
    blobs.delete(&name("a.bundle")).await.expect("it is deleted once more");
    let to = directory.join("missing");
    for missing in ["a.bundle", "never"] {
        let error = blobs.get(&name(missing), &to).await.expect_err("there is none");
        assert!(matches!(error, BlobError::Missing { .. }), "{error:?}");
        assert!(!to.exists(), "nothing appears");
    }
    let error = blobs.put(&name("b"), &to).await.expect_err("there is no file");
    assert!(matches!(error, BlobError::File { .. }), "{error:?}");
    assert_eq!(blobs.list().await.expect("it is listed"), []);
}

async fn nothing_is_overwritten<B: BlobStore>(blobs: &B, directory: &Path) {
    let from = file(directory, "from", b"blob");
    blobs.put(&name("c"), &from).await.expect("it is put");
    let to = file(directory, "taken", b"mine");
    let error = blobs.get(&name("c"), &to).await.expect_err("something is there");
    assert!(matches!(error, BlobError::File { .. }), "{error:?}");
    assert_eq!(fs::read(&to).expect("it is there"), b"mine");
    blobs.delete(&name("c")).await.expect("it is deleted");
}

async fn limits_are_kept<B: BlobStore>(blobs: &B, directory: &Path) {
    let (one, all) = LIMITS;
    let size = |bytes: u64| usize::try_from(bytes).expect("small");
    let large = file(directory, "large", &bytes(2, size(one) + 1));
    let error = blobs.put(&name("large"), &large).await.expect_err("it is too large");
    assert!(matches!(error, BlobError::TooLarge { .. }), "{error:?}");
    let half = file(directory, "half", &bytes(3, size(all / 5 * 3)));
    blobs.put(&name("first"), &half).await.expect("there is room");
    let error = blobs.put(&name("second"), &half).await.expect_err("there is no room");
    assert!(matches!(error, BlobError::NoRoom { .. }), "{error:?}");
    blobs.delete(&name("first")).await.expect("it is deleted");
}

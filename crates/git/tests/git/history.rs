//! History that travels to a worker's cache.

use kapelle_git::{Error, Repository};

use crate::fixture::{Fixture, agent};

const LIMIT: u64 = 1 << 24;

#[tokio::test]
async fn a_cache_serves_clones_of_what_it_got() {
    for (format, object_format) in
        [("sha1", kapelle_git::ObjectFormat::Sha1), ("sha256", kapelle_git::ObjectFormat::Sha256)]
    {
        let project = Fixture::with_format(format, &[("a", "one\n")]).await;
        let first = project.head();
        let cache =
            Repository::open_cache(&project.path("cache.git"), object_format).await.unwrap();
        assert!(!cache.has_commit(&first).await.unwrap());
        let whole = project.path("whole.pack");
        project.repository.pack_history(&first, None, &whole).await.unwrap();
        cache.unpack_history(&whole, &first, LIMIT).await.unwrap();
        cache.unpack_history(&whole, &first, LIMIT).await.unwrap();

        let second = project.commit(&[("a", "one\ntwo\n"), ("b", "new\n")], "second");
        let added = project.path("added.pack");
        project.repository.pack_history(&second, Some(&first), &added).await.unwrap();
        let again = Repository::open_cache(cache.root(), object_format).await.unwrap();
        again.unpack_history(&added, &second, LIMIT).await.unwrap();
        let clone = again.private_clone(&second, &project.path("clone"), &agent()).await.unwrap();
        assert_eq!(std::fs::read_to_string(clone.tree.join("a")).unwrap(), "one\ntwo\n");
    }
}

#[tokio::test]
async fn a_pack_that_is_damaged_or_another_one_is_refused() {
    let project = Fixture::with(&[("a", "one\n")]).await;
    let first = project.head();
    let second = project.commit(&[("a", "two\n")], "second");
    let format = project.repository.format();
    let cache = Repository::open_cache(&project.path("cache.git"), format).await.unwrap();
    let whole = project.path("whole.pack");
    project.repository.pack_history(&first, None, &whole).await.unwrap();
    let other = cache.unpack_history(&whole, &second, LIMIT).await;
    assert!(matches!(other, Err(Error::UnknownCommit { .. })), "{other:?}");
    let mut bytes = std::fs::read(&whole).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let broken = project.path("broken.pack");
    std::fs::write(&broken, bytes).unwrap();
    let damaged = cache.unpack_history(&broken, &first, LIMIT).await;
    assert!(matches!(damaged, Err(Error::InvalidBundle { .. })), "{damaged:?}");
    let large = cache.unpack_history(&whole, &first, 10).await;
    assert!(matches!(large, Err(Error::InvalidBundle { .. })), "{large:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_that_begin_together_share_one_cache() {
    let project = Fixture::with(&[("a", "one\n")]).await;
    let (first, format) = (project.head(), project.repository.format());
    let pack = project.path("whole.pack");
    project.repository.pack_history(&first, None, &pack).await.unwrap();
    for round in 0..20 {
        let directory = project.path(&format!("cache-{round}.git"));
        // What a machine that lost its disk's tail may have left.
        std::fs::create_dir_all(directory.join("objects/pack")).unwrap();
        let mut attempts = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (directory, pack, first) = (directory.clone(), pack.clone(), first.clone());
            attempts.spawn(async move {
                let cache = Repository::open_cache(&directory, format).await?;
                cache.unpack_history(&pack, &first, LIMIT).await?;
                cache.has_commit(&first).await
            });
        }
        while let Some(attempt) = attempts.join_next().await {
            assert!(attempt.unwrap().unwrap());
        }
    }
}

//! Migrating, which needs a version that doesn't exist yet.

use super::*;

const NEXT: (i64, &str, &str) = (
    29_990_101_000_000,
    "next",
    "PRAGMA user_version = 6; CREATE TABLE next (id INTEGER PRIMARY KEY);",
);

fn options(path: &Path) -> OpenOptions {
    OpenOptions { path: path.to_owned(), mode: Mode::Lead, new_epoch: 7 }
}

#[tokio::test]
async fn an_older_store_is_copied_before_it_is_migrated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let site = Site { path: &path, doing: "testing" };
    Store::open(options(&path)).await.expect("a store").close().await.expect("an orderly end");

    let next = migrator(&[MIGRATIONS, &[NEXT]].concat());
    let mut writer = sqlite::connect_writer(site).await.expect("a connection");
    migrate(&mut writer, site, &next, 5).await.expect("a migration");
    let identity = sqlite::identify(&mut writer, site).await.expect("an identity");
    assert_eq!(identity.schema, 6);
    sqlite::close(writer, site).await.expect("an orderly end");

    let too_new = Store::open(options(&path)).await.expect_err("we are the older version now");
    assert!(matches!(too_new, Error::NewerSchema { found: 6, known: 5, .. }), "{too_new:?}");
    let backup = beside(&path, ".v5.backup");
    let restored = Store::open(options(&backup)).await.expect("the copy is a store");
    assert_eq!((restored.epoch(), restored.term()), (7, Some(Term(2))));
    assert_ne!(unused_name(&path, 5), backup, "no copy is overwritten");
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let site = Site { path: &path, doing: "testing" };
    Store::open(options(&path)).await.expect("a store").close().await.expect("an orderly end");
    let broken =
        (NEXT.0, NEXT.1, "PRAGMA user_version = 6; CREATE TABLE next (id); CREATE TABLE run (id);");
    let mut writer = sqlite::connect_writer(site).await.expect("a connection");
    let error = migrate(&mut writer, site, &migrator(&[MIGRATIONS, &[broken]].concat()), 5).await;
    assert!(matches!(error, Err(Error::Database { .. })), "{error:?}");
    sqlite::close(writer, site).await.expect("an orderly end");
    Store::open(options(&path)).await.expect("the store is as it was");
}

#[test]
fn migrations_are_in_order() {
    assert!(MIGRATIONS.is_sorted_by_key(|(version, ..)| *version));
    for (number, (_, name, text)) in (1..).zip(MIGRATIONS) {
        assert!(
            text.contains(&format!("PRAGMA user_version = {number};")),
            "{name} sets the schema's number"
        );
    }
}

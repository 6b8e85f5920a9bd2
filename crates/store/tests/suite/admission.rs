//! Who was invited and who was let in, as it is kept.

use kapelle_domain::admission::{Change, Credential, Invitation, Register};
use kapelle_domain::ids::{Timestamp, WorkerId};
use kapelle_store::{Batch, Error, Store};

use crate::place::Place;

async fn change(store: &Store, changes: Vec<Change>) -> Result<(), Error> {
    store.commit(Batch { admissions: changes, ..Batch::default() }).await
}

fn invitation(id: &str, worker: Option<&str>) -> Invitation {
    Invitation {
        id: id.to_owned(),
        key: format!("key of {id}"),
        worker: worker.map(|name| WorkerId(name.to_owned())),
        uses_max: 3,
        created_at: Timestamp(1),
        expires_at: Timestamp(2),
    }
}

fn credential(key: &str, worker: &str) -> Credential {
    Credential {
        key: key.to_owned(),
        worker: WorkerId(worker.to_owned()),
        invitation: "a".to_owned(),
        issued_at: Timestamp(5),
        revoked_at: None,
    }
}

#[tokio::test]
async fn what_is_kept_is_what_the_changes_say() {
    let place = Place::new();
    let store = place.lead().await;
    let changes = vec![
        Change::Invited(invitation("a", None)),
        Change::Invited(invitation("b", Some("w"))),
        Change::Admitted(credential("A", "v")),
        Change::Admitted(credential("B", "w")),
        Change::Admitted(credential("B", "w")),
        Change::Revoked { worker: WorkerId("w".to_owned()), at: Timestamp(9) },
        Change::Admitted(credential("C", "w")),
    ];
    let mut expected = Register::default();
    changes.iter().cloned().for_each(|change| expected.apply(change));
    change(&store, changes).await.expect("it is kept");
    assert_eq!(store.register().await.expect("it is read"), expected);
    // One machine for each name, whatever the caller believes.
    let second = change(&store, vec![Change::Admitted(credential("D", "v"))]).await;
    second.expect_err("v is somebody else");
    assert_eq!(store.register().await.expect("it is read"), expected);
    store.close().await.expect("an orderly end");
    let store = place.lead().await;
    assert_eq!(store.register().await.expect("it is read"), expected);
}

//! A machine that was invited becomes a worker.

use kapelle_bus::conformance::{answer, soon, worker};
use kapelle_bus::nats::join::{JoinError, WorkerKey, join};
use kapelle_bus::nats::{NatsWorker, PublicKey};
use kapelle_bus::subject::WorkerName;
use kapelle_bus::{Error, WorkerEnd as _};
use kapelle_domain::engine::{Answer, Holder, WorkerRequest};

use crate::secured::{LATER, NOW, Secured};

fn name(text: &str) -> WorkerName {
    WorkerName::new(&worker(text)).expect("a name")
}

#[tokio::test]
async fn an_invited_machine_becomes_the_worker_that_it_was_let_in_as() {
    let secured = Secured::new();
    let coordinator = secured.coordinator().await;
    let joins = coordinator.joins().await.expect("invitations are taken");
    let (token, invited) = secured.token("0a1b", None, LATER);
    let key = WorkerKey::generate();
    let served = async {
        let request = joins.next().await.expect("the bus is open");
        assert_eq!((request.invitation.as_str(), request.worker.as_str()), ("0a1b", "w3"));
        assert!(request.is_signed_by(&invited), "who was invited asks");
        assert!(!request.is_signed_by(&secured.w1.key), "and nobody else");
        let claims = secured.authority.worker(&name("w3"), &request.key, NOW).expect("signed");
        request.welcome(&name("w3"), claims).await;
    };
    let joined = Box::pin(join(&token, "w3", &key, None, NOW));
    let (joined, ()) = soon("it joins", async { tokio::join!(joined, served) }).await;
    let (joined, credentials) = joined.expect("it is welcome");
    assert_eq!(joined, name("w3"));
    let options = secured.options(&credentials);
    let one = NatsWorker::connect(&options, &worker("w3")).await.expect("it may");
    let holder = Holder { worker: worker("w3"), ..kapelle_bus::conformance::holder() };
    let asked = one.request(WorkerRequest::Look(holder));
    let answered = answer(&coordinator, Ok(Answer::Done));
    let (reply, _) = soon("an answer", async { tokio::join!(asked, answered) }).await;
    assert_eq!(reply, Ok(Ok(Answer::Done)));
    assert_eq!((one.health().denied, coordinator.health().denied), (0, 0));
    coordinator_closes(coordinator, joins).await;
}

async fn coordinator_closes(
    coordinator: kapelle_bus::nats::NatsCoordinator,
    joins: kapelle_bus::nats::join::JoinEnd,
) {
    kapelle_bus::CoordinatorEnd::close(&coordinator).await;
    assert_eq!(joins.next().await.expect_err("it is closed"), Error::Closed);
}

#[tokio::test]
async fn who_is_refused_learns_why() {
    let secured = Secured::new();
    let (token, _) = secured.token("0a1b", None, LATER);
    let key = WorkerKey::generate();
    let joined = soon("nobody", join(&token, "w3", &key, None, NOW)).await;
    assert!(matches!(joined, Err(JoinError::NoCoordinator)), "{joined:?}");

    let coordinator = secured.coordinator().await;
    let joins = coordinator.joins().await.expect("invitations are taken");
    let served = async {
        let request = joins.next().await.expect("the bus is open");
        request.put_off().await;
        let again = joins.next().await.expect("the bus is open");
        again.refuse("it was used".to_owned()).await;
    };
    let joined = Box::pin(join(&token, "w3", &key, None, NOW));
    let (joined, ()) = soon("it is refused", async { tokio::join!(joined, served) }).await;
    let error = joined.expect_err("it is refused");
    assert_eq!(error.to_string(), "the coordinator refuses: it was used");

    let (expired, _) = secured.token("0a1c", None, NOW + 60);
    let joined = soon("the server", join(&expired, "w3", &key, None, NOW + 61)).await;
    assert!(matches!(joined, Err(JoinError::Expired)), "{joined:?}");
    let other = Secured::new();
    let (mut foreign, _) = other.token("0a1d", None, LATER);
    foreign.lead_to(vec![secured.server.url()]);
    let joined = soon("the server", join(&foreign, "w3", &key, None, NOW)).await;
    assert!(matches!(joined, Err(JoinError::Unknown { .. })), "{joined:?}");
}

#[tokio::test]
async fn claims_of_somebody_else_are_not_taken() {
    let secured = Secured::new();
    let coordinator = secured.coordinator().await;
    let joins = coordinator.joins().await.expect("invitations are taken");
    let (token, _) = secured.token("0a1b", None, LATER);
    let key = WorkerKey::generate();
    let other = PublicKey::new(nkeys::KeyPair::new_user().public_key()).expect("a key");
    for (claimed, theirs) in [("w3", Some(&other)), ("w4", None)] {
        let served = async {
            let request = joins.next().await.expect("the bus is open");
            let key = theirs.unwrap_or(&request.key);
            let claims = secured.authority.worker(&name(claimed), key, NOW).expect("signed");
            request.welcome(&name("w3"), claims).await;
        };
        let joined = Box::pin(join(&token, "w3", &key, None, NOW));
        let (joined, ()) = soon("it hears", async { tokio::join!(joined, served) }).await;
        assert!(matches!(joined, Err(JoinError::Nonsense { .. })), "{joined:?}");
    }
}

//! The same checks that every bus passes.

use kapelle_bus::conformance::{Fabric, LIMITS, check_all, check_blobs};
use kapelle_bus::nats::{Bucket, NatsCoordinator, NatsOptions, NatsWorker};
use kapelle_domain::ids::{Term, WorkerId};

use crate::server::NatsServer;

/// A bus on a server of its own.
pub(crate) struct Nats {
    pub(crate) server: NatsServer,
    pub(crate) options: NatsOptions,
    pub(crate) coordinator: NatsCoordinator,
}

impl Nats {
    pub(crate) async fn on(server: NatsServer) -> Self {
        let options = NatsOptions::new(vec![server.url()]);
        let coordinator =
            NatsCoordinator::connect(&options, Term(1)).await.expect("the server will do");
        Self { server, options, coordinator }
    }
}

impl Fabric for Nats {
    type Coordinator = NatsCoordinator;
    type Worker = NatsWorker;

    async fn new() -> Self {
        Self::on(NatsServer::start()).await
    }

    fn coordinator(&self) -> NatsCoordinator {
        self.coordinator.clone()
    }

    async fn worker(&self, worker: &WorkerId) -> NatsWorker {
        NatsWorker::connect(&self.options, worker).await.expect("the server will do")
    }
}

#[tokio::test]
async fn conforms() {
    check_all::<Nats>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_on_several_threads() {
    check_all::<Nats>().await;
}

#[tokio::test]
async fn blobs_conform() {
    let nats = Nats::new().await;
    let (one, all) = LIMITS;
    let blobs = nats.coordinator.blobs(Bucket::Results, one, all).await.expect("a bucket");
    let directory = tempfile::tempdir().expect("a directory");
    check_blobs(&blobs, directory.path()).await;
}

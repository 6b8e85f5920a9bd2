//! The same checks that every bus passes.

use kapelle_bus::blob::{BlobName, BlobStore as _};
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
        Self::with(server, NatsOptions::new(Vec::new())).await
    }

    pub(crate) async fn with(server: NatsServer, options: NatsOptions) -> Self {
        let options = NatsOptions { servers: vec![server.url()], ..options };
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

#[tokio::test]
async fn what_puts_that_failed_leave_behind_is_swept_away() {
    let nats = Nats::new().await;
    let blobs = nats.coordinator.blobs(Bucket::Results, 1_000_000, 10_000_000).await;
    let blobs = blobs.expect("a bucket");
    let directory = tempfile::tempdir().expect("a directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, vec![7; 300_000]).expect("a file");
    let name = BlobName::new("kept").expect("a name");
    blobs.put(&name, &from).await.expect("it is put");
    let client = async_nats::connect(nats.server.url()).await.expect("connected");
    let jetstream = async_nats::jetstream::new(client);
    // A worker that died while it put something.
    let stray = "$O.orchestrator-results.C.stray";
    jetstream.publish(stray, "chunk".into()).await.expect("sent").await.expect("kept");
    let chunks = || async {
        let stream = jetstream.get_stream("OBJ_orchestrator-results").await.expect("a stream");
        stream.cached_info().state.messages
    };
    let before = chunks().await;
    blobs.sweep().await.expect("it is swept");
    assert_eq!(chunks().await, before, "it may still be on its way");
    blobs.sweep().await.expect("it is swept");
    assert_eq!(chunks().await, before - 1);
    blobs.get(&name, &to).await.expect("what belongs to something stays");
    assert_eq!(std::fs::read(&to).expect("it is there"), vec![7; 300_000]);
}

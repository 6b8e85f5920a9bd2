//! The coordinator's end of the bus over NATS.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{AccountErrorKind, PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::{Context, ContextBuilder};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kapelle_domain::ids::{Term, WorkerId};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Counters, Health, Identity};
use super::control::NatsControl;
use super::error::Error;
use super::join::JoinEnd;
use super::layout::{self, Layout};
use super::options::NatsOptions;
use super::serve::{Outputs, Requests, serve};
use super::worker::{POKE_TYPE, TYPE_HEADER};
use crate::subject::{self, Subjects, WorkerName};
use crate::wire;
use crate::{CoordinatorEnd, Inbound, InboundOutput, Offer, Poke};

/// Requests that may wait for the coordinator.
const REQUESTS_MAX: usize = 4_096;

/// Chunks of output that may wait for the coordinator; then the workers' spools fill instead.
const OUTPUT_MAX: usize = 64;

/// Offers and pokes that may wait to be sent. What doesn't fit is made up for later, as all that
/// is lost.
const OUTGOING_MAX: usize = 16_384;

/// Offers that may wait for the server's word that it has them.
const UNCONFIRMED_MAX: usize = 4_096;

/// How long JetStream may take for one answer.
const JETSTREAM_PATIENCE: Duration = Duration::from_secs(5);

/// How long services may take to end.
const CLOSING_MAX: Duration = Duration::from_secs(10);

/// The wait before setting up is tried again.
const SET_UP_AGAIN: Duration = Duration::from_secs(1);

/// The coordinator's end. Only the active coordinator connects: what workers ask is not shared.
#[derive(Debug, Clone)]
pub struct NatsCoordinator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    subjects: Subjects,
    control: Connection,
    bulk: Connection,
    layout: Arc<Layout>,
    requests: Mutex<mpsc::Receiver<Inbound>>,
    output: Mutex<mpsc::Receiver<InboundOutput>>,
    outgoing: mpsc::Sender<Outgoing>,
    offers_lost: Arc<Notify>,
    stop: CancellationToken,
    services: Mutex<JoinSet<()>>,
}

/// Something that leaves.
enum Outgoing {
    Offer(Offer),
    Poke(WorkerName, Poke),
}

impl NatsCoordinator {
    /// Connects, sets up what the coordinator keeps on the server, and begins to serve, in `term`:
    /// a coordinator that was active before and doesn't know yet that it isn't any more is not
    /// listened to.
    ///
    /// # Errors
    /// When there is no connection, or the server won't do, or refuses what a coordinator needs.
    pub async fn connect(options: &NatsOptions, term: Term) -> Result<Self, Error> {
        let subjects = Subjects::new(options.root.clone());
        let counters = Arc::<Counters>::default();
        let identity = |lane: &str| Identity {
            name: format!("coordinator{lane}"),
            inbox: subject::coordinator_inbox(),
        };
        let control = Connection::open(options, identity(""), Arc::clone(&counters)).await?;
        let bulk = Connection::open(options, identity(" output"), counters).await?;
        let jetstream = jetstream(&control);
        let layout = Layout::new(jetstream.clone(), subjects.clone(), options);
        let layout = Arc::new(layout);
        let (asked, output) = tokio::select! {
            served = begin(&control, &bulk, &subjects, &layout) => served?,
            denied = control.denied() => return Err(denied),
            denied = bulk.denied() => return Err(denied),
        };
        control.check_not_denied().await?;
        bulk.check_not_denied().await?;
        Ok(Self::serving((subjects, term), (control, bulk), layout, (asked, output)))
    }

    fn serving(
        (subjects, term): (Subjects, Term),
        (control, bulk): (Connection, Connection),
        layout: Arc<Layout>,
        (asked, sent): (Subscriber, Subscriber),
    ) -> Self {
        let (requests_tx, requests) = mpsc::channel(REQUESTS_MAX);
        let (output_tx, output) = mpsc::channel(OUTPUT_MAX);
        let (outgoing, leaving) = mpsc::channel(OUTGOING_MAX);
        let offers_lost = Arc::new(Notify::new());
        let missing = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        let mut services = JoinSet::new();
        let taking = Requests {
            subjects: subjects.clone(),
            connection: control.clone(),
            layout: Arc::clone(&layout),
            term,
        };
        let take = move |message: &async_nats::Message| taking.take(message);
        services.spawn(serve(control.clone(), asked, requests_tx, take, stop.clone()));
        let taking = Outputs { subjects: subjects.clone(), connection: bulk.clone(), term };
        let take = move |message: &async_nats::Message| taking.take(message);
        services.spawn(serve(bulk.clone(), sent, output_tx, take, stop.clone()));
        let sending = Sending {
            connection: control.clone(),
            jetstream: jetstream(&control),
            subjects: subjects.clone(),
            layout: Arc::clone(&layout),
            missing: Arc::clone(&missing),
            unconfirmed: FuturesUnordered::new(),
        };
        services.spawn(sending.run(leaving, stop.clone()));
        let lost = Arc::clone(&offers_lost);
        let keeping = keep_up(control.clone(), Arc::clone(&layout), missing, lost, stop.clone());
        services.spawn(keeping);
        let shared = Shared {
            subjects,
            control,
            bulk,
            layout,
            requests: Mutex::new(requests),
            output: Mutex::new(output),
            outgoing,
            offers_lost,
            stop,
            services: Mutex::new(services),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What went wrong since it was connected.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.control.counters().health()
    }

    /// Begins to serve the public control subjects.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn control(&self) -> Result<NatsControl, Error> {
        let Shared { control, bulk, subjects, stop, .. } = &*self.shared;
        NatsControl::open(control.clone(), bulk.clone(), subjects.clone(), stop.clone()).await
    }

    /// Begins to take invitations that are handed in.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn joins(&self) -> Result<JoinEnd, Error> {
        let Shared { control, subjects, stop, .. } = &*self.shared;
        JoinEnd::open(control.clone(), subjects.clone(), stop.clone()).await
    }

    pub(super) fn bulk_jetstream(&self) -> Context {
        jetstream(&self.shared.bulk)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.shared.subjects
    }

    fn send(&self, outgoing: Outgoing) -> Result<(), crate::Error> {
        if self.shared.stop.is_cancelled() {
            return Err(crate::Error::Closed);
        }
        if !self.shared.control.is_up() {
            Counters::count(&self.shared.control.counters().unsent);
            return Err(crate::Error::NoAnswer);
        }
        self.shared.outgoing.try_send(outgoing).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => crate::Error::NoAnswer,
            mpsc::error::TrySendError::Closed(_) => crate::Error::Closed,
        })
    }
}

pub(super) fn jetstream(connection: &Connection) -> Context {
    ContextBuilder::new()
        .timeout(JETSTREAM_PATIENCE)
        .ack_timeout(JETSTREAM_PATIENCE)
        .build(connection.client().clone())
}

/// Subscribes to what workers send, and sets up what they pull.
async fn begin(
    control: &Connection,
    bulk: &Connection,
    subjects: &Subjects,
    layout: &Layout,
) -> Result<(Subscriber, Subscriber), Error> {
    let silent = |_| Error::Silent { doing: "subscribing".to_owned() };
    let asked = control.client().subscribe(subjects.rpc_all()).await.map_err(silent)?;
    let sent = bulk.client().subscribe(subjects.output_all()).await.map_err(silent)?;
    check_jetstream(control).await?;
    // Its answer says that the server has subscribed us on this connection too.
    check_jetstream(bulk).await?;
    layout.set_up().await?;
    Ok((asked, sent))
}

async fn check_jetstream(connection: &Connection) -> Result<(), Error> {
    let servers = || connection.servers().to_owned();
    match jetstream(connection).query_account().await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            AccountErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT =>
            {
                Error::NoJetStreamForAccount { servers: servers() }
            }
            AccountErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED =>
            {
                Error::NoJetStream { servers: servers() }
            }
            AccountErrorKind::JetStreamUnavailable => Error::NoJetStream { servers: servers() },
            AccountErrorKind::JetStream(_) | AccountErrorKind::Other => {
                Error::SetUp { what: "JetStream".to_owned(), source: Box::new(error) }
            }
            AccountErrorKind::TimedOut => {
                Error::Silent { doing: "asking about JetStream".to_owned() }
            }
        }),
    }
}

impl CoordinatorEnd for NatsCoordinator {
    async fn requests(
        &self,
        requests: &mut Vec<Inbound>,
        count_max: usize,
    ) -> Result<(), crate::Error> {
        let received = self.shared.requests.lock().await.recv_many(requests, count_max).await;
        if received == 0 { Err(crate::Error::Closed) } else { Ok(()) }
    }

    async fn output(&self) -> Result<InboundOutput, crate::Error> {
        self.shared.output.lock().await.recv().await.ok_or(crate::Error::Closed)
    }

    async fn offer(&self, offer: Offer) -> Result<(), crate::Error> {
        self.send(Outgoing::Offer(offer))
    }

    fn online(&self) -> watch::Receiver<bool> {
        self.shared.control.online()
    }

    async fn poke(&self, worker: &WorkerId, poke: Poke) -> Result<(), crate::Error> {
        let worker = WorkerName::new(worker)
            .map_err(|error| crate::Error::Refused { reason: error.to_string() })?;
        self.send(Outgoing::Poke(worker, poke))
    }

    async fn offers_lost(&self) {
        self.shared.offers_lost.notified().await;
    }

    async fn close(&self) {
        self.shared.stop.cancel();
        end(&mut *self.shared.services.lock().await).await;
        self.shared.control.flush().await;
        self.shared.bulk.flush().await;
    }
}

/// Lets services end by themselves, or ends them.
pub(super) async fn end(services: &mut JoinSet<()>) {
    let ended = async { while services.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_MAX, ended).await.is_err() {
        services.shutdown().await;
    }
}

/// The task that sends offers and pokes, so that nobody who decides ever waits for the network.
struct Sending {
    connection: Connection,
    jetstream: Context,
    subjects: Subjects,
    layout: Arc<Layout>,
    /// Rung when the stream seems to be gone.
    missing: Arc<Notify>,
    unconfirmed: FuturesUnordered<<PublishAckFuture as IntoFuture>::IntoFuture>,
}

impl Sending {
    async fn run(mut self, mut leaving: mpsc::Receiver<Outgoing>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(confirmed) = self.unconfirmed.next(), if !self.unconfirmed.is_empty() => {
                    if let Err(error) = confirmed {
                        self.unpublished(error.kind());
                    }
                }
                outgoing = leaving.recv(), if self.unconfirmed.len() < UNCONFIRMED_MAX => {
                    let Some(outgoing) = outgoing else { break };
                    self.send(outgoing).await;
                }
            }
        }
        leaving.close();
        while let Some(outgoing) = leaving.recv().await {
            self.send(outgoing).await;
        }
    }

    async fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Offer(offer) => self.offer(&offer).await,
            Outgoing::Poke(worker, poke) => self.poke(&worker, poke).await,
        }
    }

    async fn offer(&mut self, offer: &Offer) {
        // Published without a connection, it would arrive when it may be of the past.
        if !self.connection.is_up() {
            Counters::count(&self.connection.counters().unsent);
            self.missing.notify_one();
            return;
        }
        if let Err(error) = self.layout.set_up_class(&offer.class).await {
            tracing::warn!(class = offer.class.as_str(), %error, "nobody can pull this class yet");
            self.missing.notify_one();
        }
        let subject = layout::work_subject(self.subjects.root(), &offer.class);
        let payload = wire::encode_offer(offer).into();
        let headers = self.connection.headers();
        match self.jetstream.publish_with_headers(subject, headers, payload).await {
            Ok(confirmation) => self.unconfirmed.push(confirmation.into_future()),
            Err(error) => self.unpublished(error.kind()),
        }
    }

    fn unpublished(&self, kind: PublishErrorKind) {
        Counters::count(&self.connection.counters().unsent);
        tracing::debug!(reason = %kind, "an offer was not published");
        match kind {
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe => {
                self.missing.notify_one();
            }
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::MaxPayloadExceeded
            | PublishErrorKind::Other => {}
        }
    }

    async fn poke(&mut self, worker: &WorkerName, poke: Poke) {
        let mut headers = self.connection.headers();
        headers.insert(TYPE_HEADER, POKE_TYPE);
        // By this mark the worker knows that a coordinator sent it.
        let mark = Some(subject::coordinator_mark());
        let subject = self.subjects.poke(worker);
        let payload = wire::encode_poke(poke).into();
        drop(self.connection.publish(subject, mark, headers, payload).await);
    }
}

/// Sets up again whenever the server may have lost something, and says when offers were lost.
async fn keep_up(
    connection: Connection,
    layout: Arc<Layout>,
    missing: Arc<Notify>,
    offers_lost: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut reconnects = connection.reconnects();
    loop {
        let came_back = tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = reconnects.changed() => true,
            () = missing.notified() => false,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = connection.up() => {}
            }
            match layout.set_up().await {
                Ok(is_new) => {
                    if is_new || came_back {
                        tracing::info!(
                            is_new,
                            "offers may have been lost; they are published again"
                        );
                        offers_lost.notify_one();
                    }
                    break;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "setting up on NATS failed; it is tried again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SET_UP_AGAIN) => {}
            }
        }
    }
}

//! How a worker pulls offers.
//!
//! One task for each worker has the pulls. It pulls from a class only while somebody waits for an
//! offer of it, in one go as many as there are who wait. A worker with two free slots and three
//! classes thus has room for six on its way, and may be given more than it has slots for; what
//! nobody here waits for goes back at once, to the next worker. (Asking the classes in turn would
//! never be given too much, and would let an offer wait for its turn.)
//!
//! The library's own ways of pulling are not used: some keep pulling while nobody waits, and need
//! more permissions than a worker should have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use futures_util::StreamExt as _;
use kapelle_domain::placement::Class;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Counters};
use super::layout;
use crate::subject::Subjects;
use crate::{Offer, Taken, wire};

/// How long a pull waits at the server before it is made anew.
const PULL_WAIT: Duration = Duration::from_secs(30);

/// How much later the server's word that a pull is over may come. A pull of which nothing is heard
/// for longer was lost.
const PULL_GRACE: Duration = Duration::from_secs(5);

/// The wait before a pull that failed is made anew, doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How many may wait for offers at once: more than a worker asks for at once.
pub(super) const WAITING_MAX: usize = 1_024;

/// How many pulls of one class may be out. While slots become free one by one, the last one waits
/// until another is over, and then pulls for all that are free.
const PULLS_OUT_MAX: usize = 4;

/// Somebody who waits for an offer.
pub(super) struct Demand {
    pub(super) classes: Arc<[Class]>,
    pub(super) offer: oneshot::Sender<NatsTaken>,
}

/// An offer in the hands of a worker. Dropped, it is handed back.
#[derive(Debug)]
pub struct NatsTaken {
    offer: Offer,
    /// Where it is said what becomes of it, until it is.
    way_back: Option<(mpsc::Sender<Disposed>, Subject)>,
}

/// What becomes of an offer that somebody had in hand.
#[derive(Debug)]
struct Disposed {
    reply: Subject,
    /// The word to the server.
    word: String,
}

const SETTLED: &str = "+ACK";
const HANDED_BACK: &str = "-NAK";
const UNREADABLE: &str = "+TERM";

impl NatsTaken {
    async fn dispose(mut self, word: String) {
        if let Some((puller, reply)) = self.way_back.take() {
            // Without a puller the bus is closed, and the server gives the offer to somebody else.
            drop(puller.send(Disposed { reply, word }).await);
        }
    }
}

impl Taken for NatsTaken {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    async fn settle(self) {
        self.dispose(SETTLED.to_owned()).await;
    }

    async fn hand_back(self, delay: Duration) {
        let word = if delay.is_zero() {
            HANDED_BACK.to_owned()
        } else {
            format!(r#"{HANDED_BACK} {{"delay":{}}}"#, delay.as_nanos())
        };
        self.dispose(word).await;
    }
}

impl Drop for NatsTaken {
    fn drop(&mut self) {
        if let Some((puller, reply)) = self.way_back.take() {
            // Full, it is forgotten here; the server gives the offer to somebody else in a while.
            drop(puller.try_send(Disposed { reply, word: HANDED_BACK.to_owned() }));
        }
    }
}

/// The pulls of one class.
#[derive(Debug, Default)]
struct Pulls {
    /// Those that are at the server, the oldest first, which is how it serves them.
    out: VecDeque<Pull>,
    /// None is made before this time, because the last ones failed.
    again_at: Option<Instant>,
    failures: u32,
}

/// A pull at the server.
#[derive(Debug)]
struct Pull {
    /// Which pull this is: the last token of its inbox.
    number: u64,
    /// How many offers it may still bring.
    left: usize,
    /// The server is silent about it for no longer than this.
    until: Instant,
}

impl Pulls {
    /// An offer came. Which pull brought it isn't said; the oldest one is served first.
    fn brought_one(&mut self) {
        (self.again_at, self.failures) = (None, 0);
        let Some(oldest) = self.out.front_mut() else { return };
        oldest.left -= 1;
        if oldest.left == 0 {
            self.out.pop_front();
        }
    }

    fn failed(&mut self, now: Instant) {
        let wait = RETRY.0.saturating_mul(2_u32.saturating_pow(self.failures)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(now + wait);
    }

    /// How many more offers are to be pulled for as many as wait.
    fn lacking(&self, waiting: usize, now: Instant) -> usize {
        let out: usize = self.out.iter().map(|pull| pull.left).sum();
        if self.out.len() >= PULLS_OUT_MAX || self.again_at.is_some_and(|at| at > now) {
            return 0;
        }
        waiting.saturating_sub(out).min(layout::PULL_BATCH_MAX)
    }
}

/// The task that pulls.
pub(super) struct Puller {
    connection: Connection,
    subjects: Subjects,
    /// Where offers and news of pulls arrive; the number of the pull follows.
    inbox: String,
    arrivals: Subscriber,
    demands: mpsc::Receiver<Demand>,
    waiting: VecDeque<Demand>,
    pulls: BTreeMap<Class, Pulls>,
    disposals: (mpsc::Sender<Disposed>, mpsc::Receiver<Disposed>),
    reconnects: watch::Receiver<u64>,
    next_number: u64,
}

/// What the task woke up for.
enum Woken {
    Demand(Option<Demand>),
    Arrival(Option<Message>),
    Disposed(Disposed),
    Reconnected,
    Due,
    Stopped,
}

impl Puller {
    /// Listens for offers; nothing is pulled before [`run`](Self::run).
    pub(super) async fn new(
        connection: Connection,
        subjects: Subjects,
        demands: mpsc::Receiver<Demand>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let inbox = connection.client().new_inbox();
        let arrivals = connection.client().subscribe(format!("{inbox}.*")).await?;
        Ok(Self {
            reconnects: connection.reconnects(),
            connection,
            subjects,
            inbox,
            arrivals,
            demands,
            waiting: VecDeque::new(),
            pulls: BTreeMap::new(),
            disposals: mpsc::channel(WAITING_MAX),
            next_number: 1,
        })
    }

    /// Pulls until `stop`, or until nobody can wait any more. What arrives meanwhile goes back.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            match self.wake(&stop).await {
                Woken::Demand(Some(demand)) => self.waiting.push_back(demand),
                Woken::Arrival(Some(message)) => self.arrived(message).await,
                Woken::Disposed(Disposed { reply, word }) => self.send(&reply, word).await,
                // Pulls may have been lost with the connection. Those that were not are answered
                // under their old number, and what they bring is taken as well.
                Woken::Reconnected => self.pulls.clear(),
                Woken::Due => {}
                Woken::Demand(None) | Woken::Arrival(None) | Woken::Stopped => break,
            }
            self.waiting.retain(|demand| !demand.offer.is_closed());
            self.pull().await;
        }
        self.finish().await;
    }

    async fn wake(&mut self, stop: &CancellationToken) -> Woken {
        let due = self
            .pulls
            .values()
            .flat_map(|pulls| pulls.out.iter().map(|pull| pull.until).chain(pulls.again_at));
        let due = due.min();
        tokio::select! {
            () = stop.cancelled() => Woken::Stopped,
            demand = self.demands.recv(), if self.waiting.len() < WAITING_MAX => Woken::Demand(demand),
            message = self.arrivals.next() => Woken::Arrival(message),
            Some(disposed) = self.disposals.1.recv() => Woken::Disposed(disposed),
            Ok(()) = self.reconnects.changed() => Woken::Reconnected,
            () = sleep_until(due) => Woken::Due,
        }
    }

    /// Makes the pulls that are wanted and not there.
    async fn pull(&mut self) {
        let now = Instant::now();
        let mut wanted = BTreeMap::<&Class, usize>::new();
        for class in self.waiting.iter().flat_map(|demand| demand.classes.iter()) {
            *wanted.entry(class).or_default() += 1;
        }
        self.pulls.retain(|class, pulls| {
            // A lost pull is none, and a failed one that nobody wants any more needs no other.
            pulls.out.retain(|pull| pull.until > now);
            pulls.again_at = pulls.again_at.filter(|at| *at > now);
            !pulls.out.is_empty() || wanted.contains_key(class)
        });
        let lacking = |(class, waiting): (&Class, usize)| {
            let none = Pulls::default();
            let count = self.pulls.get(class).unwrap_or(&none).lacking(waiting, now);
            (count > 0).then(|| (class.clone(), count))
        };
        let lacking: Vec<(Class, usize)> = wanted.into_iter().filter_map(lacking).collect();
        for (class, count) in lacking {
            self.pull_of(class, count, now).await;
        }
    }

    async fn pull_of(&mut self, class: Class, count: usize, now: Instant) {
        let number = self.next_number;
        self.next_number += 1;
        let subject = layout::pull_subject(self.subjects.root(), &class);
        let reply = format!("{}.{number}", self.inbox);
        let asked = format!(r#"{{"batch":{count},"expires":{}}}"#, PULL_WAIT.as_nanos());
        let headers = HeaderMap::new();
        let sent = self.connection.publish(subject, Some(reply), headers, asked.into()).await;
        let pulls = self.pulls.entry(class).or_default();
        match sent {
            Ok(()) => {
                let until = now + PULL_WAIT + PULL_GRACE;
                pulls.out.push_back(Pull { number, left: count, until });
            }
            Err(_) => pulls.failed(now),
        }
    }

    /// Takes what came for a pull: an offer, or word that there is none.
    async fn arrived(&mut self, message: Message) {
        let Some(reply) = &message.reply else {
            match message.status {
                Some(status) => self.refused(&message, status.as_u16()),
                None => Counters::count(&self.connection.counters().forged),
            }
            return;
        };
        let class = layout::class_of(self.subjects.root(), &message.subject);
        if let Some(pulls) = class.as_ref().and_then(|class| self.pulls.get_mut(class)) {
            pulls.brought_one();
        }
        match read(class, &message) {
            Ok(offer) => self.hand_over(offer, reply.clone()),
            Err(error) => {
                Counters::count(&self.connection.counters().unreadable);
                tracing::warn!(subject = %message.subject, error, "an offer can't be read");
                // Nobody else could either; the coordinator publishes it again.
                self.send(reply, UNREADABLE.to_owned()).await;
            }
        }
    }

    /// Gives an offer to the first who waits for one of its class, or else back.
    fn hand_over(&mut self, offer: Offer, reply: Subject) {
        let way_back = Some((self.disposals.0.clone(), reply));
        let mut taken = NatsTaken { offer, way_back };
        let fits = |demand: &Demand, taken: &NatsTaken| demand.classes.contains(&taken.offer.class);
        while let Some(at) = self.waiting.iter().position(|demand| fits(demand, &taken)) {
            let Some(demand) = self.waiting.remove(at) else { break };
            match demand.offer.send(taken) {
                Ok(()) => return,
                Err(returned) => taken = returned,
            }
        }
        drop(taken);
    }

    async fn send(&self, reply: &Subject, word: String) {
        // Lost, it costs another worker a claim that is refused.
        let headers = HeaderMap::new();
        let sent = self.connection.publish(reply.to_string(), None, headers, word.into());
        drop(sent.await);
    }

    /// A pull is over and brings nothing more.
    fn refused(&mut self, message: &Message, status: u16) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let its = |pull: &Pull| Some(pull.number) == number;
        let pulls = self.pulls.iter_mut().find(|(_, pulls)| pulls.out.iter().any(its));
        let Some((class, pulls)) = pulls else { return };
        pulls.out.retain(|pull| !its(pull));
        match status {
            // It waited long enough.
            404 | 408 => {}
            _ => {
                let description = message.description.as_deref().unwrap_or_default();
                tracing::debug!(%class, status, description, "a pull was refused");
                pulls.failed(Instant::now());
            }
        }
    }

    /// Gives up all pulls. Offers that are on their way go back.
    async fn finish(mut self) {
        self.waiting.clear();
        self.demands.close();
        if self.connection.is_up() && self.arrivals.drain().await.is_ok() {
            // The server says when nothing more is on its way.
            let last = tokio::time::timeout(PULL_GRACE, async {
                while let Some(message) = self.arrivals.next().await {
                    if let Some(reply) = message.reply {
                        self.send(&reply, HANDED_BACK.to_owned()).await;
                    }
                }
            });
            drop(last.await);
        }
        self.disposals.1.close();
        while let Some(Disposed { reply, word }) = self.disposals.1.recv().await {
            self.send(&reply, word).await;
        }
    }
}

fn read(class: Option<Class>, message: &Message) -> Result<Offer, String> {
    let class = class.ok_or_else(|| "the subject is none of offers".to_owned())?;
    wire::decode_offer(class, &message.payload).map_err(|error| error.to_string())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

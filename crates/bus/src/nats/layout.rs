//! What the coordinator keeps on the server, described once, and made to be there.
//!
//! Setting up may be repeated at any time, and is whenever the connection came back: the server may
//! have lost everything. What the server says that it has is compared with what was asked, because
//! an old one takes settings that it doesn't know and does something else.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, IntoConsumerConfig as _};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use kapelle_domain::placement::Class;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::blobs::{self, Bucket};
use super::error::Error;
use super::options::NatsOptions;
use crate::subject::{Root, Subjects};

/// How long an offer waits to be pulled. The coordinator publishes it again before that, and what
/// is older is of no use to anybody.
const OFFER_AGE_MAX: Duration = Duration::from_secs(120);

/// How many offers may wait. The coordinator keeps the backlog and publishes a small window of it.
const OFFERS_MAX: i64 = 10_000;

/// How long a worker may think about an offer before somebody else gets it.
const THINKING: Duration = Duration::from_secs(20);

/// How many pulls may wait in one class: a few for each worker.
const PULLS_MAX: i64 = 8_192;

/// How many offers one pull may bring: as many as a worker waits for at once.
pub(super) const PULL_BATCH_MAX: usize = 64;

/// How many offers of a class may be thought about at once.
const THOUGHT_ABOUT_MAX: i64 = 10_000;

/// The longest that a pull may wait.
pub(super) const PULL_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a class's consumer counts as being there after that was made sure. The server removes
/// one by itself after [`NatsOptions::idle_class`](super::NatsOptions), a multiple of this.
const IDLE_PARTS: u32 = 20;

/// The name of the stream of offers.
pub(super) fn work_stream(root: &Root) -> String {
    format!("{root}-work")
}

/// The name of a class's consumer. It is the class: one consumer, which all its workers share.
pub(super) fn consumer(class: &Class) -> &str {
    class.as_str()
}

/// The subject of a class's offers.
pub(super) fn work_subject(root: &Root, class: &Class) -> String {
    format!("{root}.work.{}", class.as_str())
}

/// The class of a subject of offers.
pub(super) fn class_of(root: &Root, subject: &str) -> Option<Class> {
    let below = subject.strip_prefix(root.as_str())?;
    below.strip_prefix(".work.")?.parse().ok()
}

/// Where a class's offers are pulled.
pub(super) fn pull_subject(root: &Root, class: &Class) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", work_stream(root), consumer(class))
}

/// What there is on the server, and what has been set up of it.
#[derive(Debug)]
pub(super) struct Layout {
    jetstream: Context,
    subjects: Subjects,
    replicas: usize,
    /// How long a consumer stays that nobody pulls from.
    idle_class: Duration,
    known: Mutex<Known>,
}

/// What has been set up and is there, as far as we know.
#[derive(Debug, Default)]
struct Known {
    /// The classes that have consumers, and when that was made sure. One that was offered nothing
    /// for so long that no offer of it is left is forgotten; the server removes its consumer once
    /// no worker pulls from it any more.
    classes: BTreeMap<Class, Instant>,
    /// The buckets, and how many bytes each may have.
    buckets: BTreeMap<Bucket, u64>,
}

impl Layout {
    pub(super) fn new(jetstream: Context, subjects: Subjects, options: &NatsOptions) -> Self {
        let NatsOptions { replicas, idle_class, .. } = *options;
        Self { jetstream, subjects, replicas, idle_class, known: Mutex::default() }
    }

    /// Makes everything be there. Says whether the stream of offers had to be made, so that no
    /// offer is left of those that were published.
    pub(super) async fn set_up(&self) -> Result<bool, Error> {
        // Held to the end, so that nothing is added to what is about to be made.
        let known = self.known.lock().await;
        let is_new = self.set_up_stream(self.work()).await?;
        for class in known.classes.keys() {
            self.set_up_consumer(class).await?;
        }
        for (bucket, bytes_max) in &known.buckets {
            self.set_up_stream(self.bucket(*bucket, *bytes_max)).await?;
        }
        Ok(is_new)
    }

    /// Makes the consumer of a class be there.
    pub(super) async fn set_up_class(&self, class: &Class) -> Result<(), Error> {
        let mut known = self.known.lock().await;
        let now = Instant::now();
        let sure = |at: &Instant| now.duration_since(*at) < self.idle_class / IDLE_PARTS;
        if !known.classes.get(class).is_some_and(sure) {
            self.set_up_consumer(class).await?;
            known.classes.insert(class.clone(), now);
            let old = |at: &Instant| now.duration_since(*at) > OFFER_AGE_MAX + self.idle_class;
            known.classes.retain(|_, at| !old(at));
        }
        Ok(())
    }

    /// Makes a bucket be there.
    pub(super) async fn set_up_bucket(&self, bucket: Bucket, bytes_max: u64) -> Result<(), Error> {
        let mut known = self.known.lock().await;
        self.set_up_stream(self.bucket(bucket, bytes_max)).await?;
        known.buckets.insert(bucket, bytes_max);
        Ok(())
    }

    fn bucket(&self, bucket: Bucket, bytes_max: u64) -> stream::Config {
        blobs::stream(self.subjects.root(), bucket, bytes_max, self.replicas)
    }

    fn work(&self) -> stream::Config {
        stream::Config {
            name: work_stream(self.subjects.root()),
            description: Some("Kapelle: attempts that wait for a worker".to_owned()),
            subjects: vec![self.subjects.work_all()],
            retention: RetentionPolicy::WorkQueue,
            // Losing it costs one publication. On disk, every acknowledgment would be a write.
            storage: StorageType::Memory,
            discard: DiscardPolicy::New,
            max_messages: OFFERS_MAX,
            max_message_size: 4_096,
            max_age: OFFER_AGE_MAX,
            num_replicas: self.replicas,
            ..stream::Config::default()
        }
    }

    fn consumer(&self, class: &Class) -> pull::Config {
        pull::Config {
            durable_name: Some(consumer(class).to_owned()),
            description: Some("Kapelle: workers of one class".to_owned()),
            filter_subject: work_subject(self.subjects.root(), class),
            ack_policy: AckPolicy::Explicit,
            ack_wait: THINKING,
            // Offers are handed back as often as a worker has no room.
            max_deliver: -1,
            max_ack_pending: THOUGHT_ABOUT_MAX,
            max_waiting: PULLS_MAX,
            max_batch: i64::try_from(PULL_BATCH_MAX).unwrap_or(i64::MAX),
            max_expires: PULL_WAIT_MAX,
            inactive_threshold: self.idle_class,
            ..pull::Config::default()
        }
    }

    async fn set_up_stream(&self, asked: stream::Config) -> Result<bool, Error> {
        let what = format!("the stream {}", asked.name);
        let failed = |source| Error::SetUp { what: what.clone(), source };
        let (got, is_new) = match self.jetstream.get_stream(&asked.name).await {
            Ok(found) => {
                let found = found.cached_info().config.clone();
                if difference(&asked, &found).is_none() {
                    return Ok(false);
                }
                let updated = self.jetstream.update_stream(&asked).await;
                (updated.map_err(|error| failed(Box::new(error)))?.config, false)
            }
            Err(error) if is_missing(&error.kind()) => {
                let made = self.jetstream.create_stream(asked.clone()).await;
                let made = made.map_err(|error| failed(Box::new(error)))?;
                (made.cached_info().config.clone(), true)
            }
            Err(error) => return Err(failed(Box::new(error))),
        };
        same(&what, &asked, &got)?;
        Ok(is_new)
    }

    async fn set_up_consumer(&self, class: &Class) -> Result<(), Error> {
        let what = format!("the consumer {}", consumer(class));
        let asked = self.consumer(class);
        let stream = work_stream(self.subjects.root());
        let made = self.jetstream.create_consumer_on_stream(asked.clone(), stream).await;
        let made =
            made.map_err(|error| Error::SetUp { what: what.clone(), source: Box::new(error) })?;
        same(&what, &asked.into_consumer_config(), &made.cached_info().config)
    }
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    match error {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        GetStreamErrorKind::EmptyName
        | GetStreamErrorKind::InvalidStreamName
        | GetStreamErrorKind::Request => false,
    }
}

fn same<T: Serialize>(what: &str, asked: &T, got: &T) -> Result<(), Error> {
    match difference(asked, got) {
        None => Ok(()),
        Some((field, asked, got)) => {
            Err(Error::Ignored { what: what.to_owned(), field, asked, got })
        }
    }
}

/// The first field that was asked for and is something else: its name, what was asked, what is.
/// A field that was left to the server is not compared.
fn difference<T: Serialize>(asked: &T, got: &T) -> Option<(String, String, String)> {
    let (asked, got) = (serde_json::to_value(asked).ok()?, serde_json::to_value(got).ok()?);
    let asked = asked.as_object()?;
    asked.iter().find_map(|(field, asked)| {
        let got = got.get(field).unwrap_or(&serde_json::Value::Null);
        (asked != got && !is_left_open(asked))
            .then(|| (field.clone(), asked.to_string(), got.to_string()))
    })
}

fn is_left_open(asked: &serde_json::Value) -> bool {
    match asked {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(asked) => !asked,
        serde_json::Value::Number(asked) => asked.as_i64() == Some(0),
        serde_json::Value::String(asked) => asked.is_empty(),
        serde_json::Value::Array(asked) => asked.is_empty(),
        serde_json::Value::Object(asked) => asked.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_was_ignored_is_found() {
        let asked = stream::Config { max_messages: 7, ..stream::Config::default() };
        let more = stream::Config { max_bytes: 9, ..asked.clone() };
        assert_eq!(difference(&asked, &more), None, "what was left open may be anything");
        let other = stream::Config { max_messages: 8, ..asked.clone() };
        let found = ("max_msgs".to_owned(), "7".to_owned(), "8".to_owned());
        assert_eq!(difference(&asked, &other), Some(found));
    }
}

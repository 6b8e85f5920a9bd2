//! What a nats-server on this machine can do by itself: answer a request, and store a message.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use crate::figures::{Figures, percentile_ms, rate};

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(2);

/// Requests and messages that are under way at once, where it is many.
const AT_ONCE: u32 = 64;

/// As long as a task of the benchmark is.
const PAYLOAD: [u8; 200] = [0x5a; 200];

/// What others are compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) round_trip_p50_ms: f64,
    /// Messages that are stored and acknowledged per second.
    pub(crate) publishes: f64,
}

pub(crate) async fn measure(url: &str, figures: &mut Figures) -> Result<Floor> {
    let asking = async_nats::connect(url).await.context("connecting to nats-server")?;
    let answering = async_nats::connect(url).await.context("connecting to nats-server")?;
    let mut requests = answering.subscribe("floor.echo").await?;
    answering.flush().await?;
    let mut parts: JoinSet<Result<()>> = JoinSet::new();
    parts.spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.context("a request has a way back")?;
            answering.publish(reply, request.payload).await?;
        }
        bail!("the subscription has ended")
    });
    let ask = |client: async_nats::Client| async move {
        client.request("floor.echo", PAYLOAD.as_slice().into()).await?;
        anyhow::Ok(())
    };
    let mut alone = samples(1, || ask(asking.clone())).await?;
    let round_trip_p50_ms = percentile_ms(&mut alone, 50);
    figures.add("floor: NATS round trip p50", "ms", round_trip_p50_ms);
    figures.add("floor: NATS round trip p99", "ms", percentile_ms(&mut alone, 99));
    let many = samples(AT_ONCE, || ask(asking.clone())).await?;
    figures.add("floor: NATS requests, 64 at once", "/s", rate(many.len(), SPAN));
    let context = jetstream::new(asking.clone());
    let config = jetstream::stream::Config {
        name: "FLOOR".to_owned(),
        subjects: vec!["floor.stored".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.context("making a stream")?;
    let publish = || {
        let context = context.clone();
        async move {
            context.publish("floor.stored", PAYLOAD.as_slice().into()).await?.await?;
            anyhow::Ok(())
        }
    };
    let stored = samples(AT_ONCE, publish).await?;
    let publishes = rate(stored.len(), SPAN);
    figures.add("floor: JetStream publishes acknowledged, 64 at once", "/s", publishes);
    Ok(Floor { round_trip_p50_ms, publishes })
}

/// Does something over and over, so many at once. Returns how long each took.
async fn samples<F>(at_once: u32, act: impl Fn() -> F) -> Result<Vec<Duration>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let begin = Instant::now();
    let timed = || {
        let act = act();
        async move {
            let before = Instant::now();
            act.await?;
            anyhow::Ok(before.elapsed())
        }
    };
    let mut under_way = JoinSet::new();
    for _ in 0..at_once {
        under_way.spawn(timed());
    }
    let mut samples = Vec::new();
    while let Some(took) = under_way.join_next().await {
        samples.push(took??);
        if begin.elapsed() < SPAN {
            under_way.spawn(timed());
        }
    }
    Ok(samples)
}

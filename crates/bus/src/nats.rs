//! The bus between machines, over NATS.
//!
//! ```text
//!   coordinator --offer--> JetStream work queue --pull--> worker
//!   worker --request--> coordinator --answer--> worker          (core NATS, control connection)
//!   coordinator --poke--> worker                                (core NATS, control connection)
//!   worker --output--> coordinator --watermark--> worker        (core NATS, a connection for bulk)
//! ```
//!
//! What a broker promises is not relied on. JetStream holds offers only, in memory: each can be
//! made again from what the coordinator has committed, and is when the stream is lost
//! ([`crate::CoordinatorEnd::offers_lost`]). An offer is no lease: a worker acknowledges it as soon
//! as its claim has a definite answer, and who owns an attempt is decided by fences alone.
//!
//! Nothing of async-nats shows outside of this module.

mod accounts;
pub mod authority;
mod blobs;
mod check;
mod connection;
mod control;
mod coordinator;
mod error;
pub mod join;
mod layout;
mod options;
mod permissions;
mod pull;
mod serve;
pub mod server;
mod worker;

pub use self::accounts::publish_account;
pub use self::blobs::{Bucket, NatsBlobs};
pub use self::connection::Health;
pub use self::control::{NatsControl, NatsReceipts};
pub use self::coordinator::NatsCoordinator;
pub use self::error::Error;
pub use self::options::{Credentials, NatsOptions, Secret};
pub use self::permissions::{InvalidKey, PublicKey};
pub use self::pull::NatsTaken;
pub use self::worker::{NatsPokes, NatsWorker};

//! The bus over NATS, against a real nats-server.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't go on says where")]

mod bus;
mod checks;
mod control;
mod join;
mod loss;
mod permissions;
mod secured;
#[expect(dead_code, unreachable_pub, reason = "it is shared with the system tests")]
#[path = "../../../../tests/harness/nats.rs"]
mod server;
mod trust;

//! Signals are a property of the whole process, so this test has one of its own.

use std::time::Duration;

use kapelle_runtime::lifecycle::Lifecycle;
use rustix::process::{Signal, getpid, kill_process};

#[tokio::test]
async fn the_first_signal_drains_and_the_second_stops_at_once() {
    let lifecycle = Lifecycle::new();
    lifecycle.install_signals().expect("signal handlers");

    kill_process(getpid(), Signal::TERM).expect("a process may signal itself");
    lifecycle.soft().cancelled().await;
    assert!(!lifecycle.hard().is_cancelled());

    kill_process(getpid(), Signal::INT).expect("a process may signal itself");
    lifecycle.hard().cancelled().await;

    let ending = lifecycle.shutdown(Duration::from_secs(3_600)).await;
    assert!(ending.interrupted && ending.forced && !ending.failed);
}

use super::*;
use std::convert::Infallible;

const LONG: Duration = Duration::from_secs(3_600);
const ESSENTIAL: ServiceKind = ServiceKind { name: "test", on_error: OnError::Shutdown };
const OPTIONAL: ServiceKind = ServiceKind { name: "test", on_error: OnError::Log };
const CLEAN: Ending = Ending { failed: false, interrupted: false, forced: false, stuck: 0 };

#[test]
fn soft_is_a_child_of_hard() {
    let lifecycle = Lifecycle::new();
    lifecycle.soft().cancel();
    assert!(!lifecycle.hard().is_cancelled());

    let lifecycle = Lifecycle::new();
    lifecycle.hard().cancel();
    assert!(lifecycle.soft().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn shutdown_drains_a_service_that_listens() {
    let lifecycle = Lifecycle::new();
    let (drained, was_drained) = tokio::sync::oneshot::channel();
    let soft = lifecycle.soft().clone();
    lifecycle.spawn(ESSENTIAL, async move {
        soft.cancelled().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        drained.send(()).expect("the test waits for it");
        Ok::<_, Infallible>(())
    });

    assert_eq!(lifecycle.shutdown(LONG).await, CLEAN);
    was_drained.await.expect("it had the time to drain");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_too_long_becomes_hard() {
    let lifecycle = Lifecycle::new();
    let hard = lifecycle.hard().clone();
    lifecycle.spawn(ESSENTIAL, async move {
        hard.cancelled().await;
        Ok::<_, Infallible>(())
    });

    let ending = lifecycle.shutdown(Duration::from_secs(10)).await;
    assert_eq!(ending, Ending { forced: true, ..CLEAN });
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_returns_is_counted_and_given_up() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(OPTIONAL, std::future::pending::<Result<(), Infallible>>());

    let ending = lifecycle.shutdown(Duration::from_secs(10)).await;
    assert_eq!(ending, Ending { forced: true, stuck: 1, ..CLEAN });
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_an_essential_service_drains_the_others_and_is_told() {
    let lifecycle = Lifecycle::new();
    let soft = lifecycle.soft().clone();
    lifecycle.spawn(ESSENTIAL, async move {
        soft.cancelled().await;
        Ok::<_, Infallible>(())
    });
    lifecycle.spawn(ESSENTIAL, async { Err(io::Error::other("disk gone")) });

    lifecycle.soft().cancelled().await;
    assert_eq!(lifecycle.shutdown(LONG).await, Ending { failed: true, ..CLEAN });
}

#[tokio::test(start_paused = true)]
async fn a_panic_counts_as_a_failure() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(ESSENTIAL, async {
        assert_eq!(1 + 1, 3, "on purpose");
        Ok::<_, Infallible>(())
    });

    lifecycle.soft().cancelled().await;
    assert_eq!(lifecycle.shutdown(LONG).await, Ending { failed: true, ..CLEAN });
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_an_optional_service_is_only_logged() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn(OPTIONAL, async { Err(io::Error::other("no metrics")) });
    while !lifecycle.tasks.is_empty() {
        tokio::task::yield_now().await;
    }

    assert!(!lifecycle.soft().is_cancelled());
    assert_eq!(lifecycle.shutdown(LONG).await, CLEAN);
}

use std::{future::Future, time::Duration};

pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "it never happens that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! Waiting for what is to happen, with an end.

use std::time::{Duration, Instant};

use postworks::clock::{Clock as _, SystemClock};

/// For what should take seconds, on a machine that does much else.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Between two looks: short against anything that is measured here.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until `done` says so; fails the test after `within`. Returns how long it took.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    mut done: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < within, "still waiting after {within:?}: {what}");
        // Another process gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(LOOK).await;
    }
    start.elapsed()
}

/// Milliseconds since 1970, as the processes under test count them.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now().as_millis()
}

/// A time span as the tests print it.
pub(crate) fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

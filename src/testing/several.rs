//! What servers that have to find each other need.

use std::net::TcpListener;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Longest wait for servers that find each other; a failover takes about two seconds, twice that if
/// the first vote is split.
const SERVERS_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Below those that systems give to connections, which may take a port between our look and its use.
const PORTS: Range<u16> = 10_000..32_000;

/// A port of the loopback interface that nobody listens on.
pub(super) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| rand::random_range(PORTS));
    ports.find(is_free).expect("a free port")
}

/// Blocks the thread until other processes have done something.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < SERVERS_PATIENCE,
            "still waiting after {SERVERS_PATIENCE:?}: {what}"
        );
        // Another process gives no signal: the condition decides, this only spaces the looks.
        std::thread::sleep(LOOK_EVERY);
    }
}

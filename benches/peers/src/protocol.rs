//! What the runner and the processes of a system tell each other: JSON, a line each. The programs in
//! `bullmq` and `sidekiq` speak the same.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Fills the arguments up to 200 bytes of JSON.
pub(crate) const PADDING: &str = "0198f3a0-0000-7000-8000-000000000001 0198f3a0-0000-7000-8000-000000000002 \
     0198f3a0-0000-7000-8000-000000000003 0198f3a0-0000-7000-8000-000000000004.";
/// The number of the first job; all numbers have six digits.
pub(crate) const FIRST: u64 = 100_000;
/// Of how many kinds mixed jobs are.
pub(crate) const KINDS: usize = 4;
/// Shares of the kinds in twenty mixed jobs.
const MIX: [usize; KINDS] = [8, 7, 4, 1];

/// What a process is told when it starts, as its last argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The socket of Redis; empty for who has none.
    pub(crate) redis: PathBuf,
    /// The address of a database of PostgreSQL.
    pub(crate) postgres: Option<String>,
    /// A folder for what it keeps itself.
    pub(crate) folder: PathBuf,
    /// Jobs that run at the same time.
    pub(crate) concurrency: usize,
    /// How long each job takes.
    pub(crate) sleep_ms: u64,
    /// After so many jobs the worker says `all`; 0 for never.
    pub(crate) jobs: usize,
    /// Whether jobs are of all kinds, and not only of the first.
    pub(crate) mixed: bool,
    /// Whether the worker keeps how long each job took to start.
    pub(crate) latencies: bool,
    /// Whether the worker tells of each start and end.
    pub(crate) journal: bool,
}

/// What the runner asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Enqueue one by one, with so many calls in flight.
    Single { jobs: usize, in_flight: usize },
    /// Enqueue so many a call, call after call.
    Bulk { jobs: usize, call: usize },
    /// Enqueue one by one at a rate, whatever becomes of those before.
    Pace { rate: u32, jobs: usize, mixed: bool },
    /// Begin to work.
    Go,
}

/// What a process says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// It is connected and waits for orders.
    Ready,
    /// Jobs were enqueued; from the first call to the last answer.
    Done { seconds: f64 },
    /// All jobs have run; from the first start to the last end.
    All { seconds: f64, latencies_us: Vec<u64> },
    /// A job started.
    Started { job: u64 },
    /// A job ended.
    Finished { job: u64 },
}

/// The arguments of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Args {
    pub(crate) sent_us: u64,
    pub(crate) n: u64,
    pub(crate) padding: String,
}

impl Args {
    /// The job that is `at` places after the first, sent now.
    pub(crate) fn new(at: usize) -> Self {
        Self { sent_us: now_us(), n: FIRST + at as u64, padding: PADDING.to_owned() }
    }
}

/// The kind of the mixed job that is `at` places after the first.
pub(crate) fn kind_of(at: usize) -> usize {
    // Spread: neighbours are of different kinds.
    let mut place = (at * 7) % MIX.iter().sum::<usize>();
    for (kind, share) in MIX.iter().enumerate() {
        if place < *share {
            return kind;
        }
        place -= share;
    }
    0
}

/// The clock that sender and handler share.
#[expect(clippy::disallowed_methods, reason = "two processes have nothing else in common")]
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_200_bytes() {
        assert_eq!(serde_json::to_string(&Args::new(7)).unwrap().len(), 200);
    }

    #[test]
    fn mixed_jobs_come_in_their_shares() {
        let mut counts = [0; KINDS];
        (0..2_000).for_each(|at| counts[kind_of(at)] += 1);
        assert_eq!(counts, [800, 700, 400, 100]);
    }

    #[test]
    fn orders_and_events_are_told_as_the_other_programs_expect_them() {
        let order = Order::Bulk { jobs: 5, call: 2 };
        assert_eq!(serde_json::to_string(&order).unwrap(), r#"{"do":"bulk","jobs":5,"call":2}"#);
        let said = r#"{"event":"all","seconds":1.5,"latencies_us":[3]}"#;
        let event: Event = serde_json::from_str(said).unwrap();
        assert_eq!(event, Event::All { seconds: 1.5, latencies_us: vec![3] });
    }
}

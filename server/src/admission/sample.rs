//! Measures the load, in the background: no request waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::chore::waiting;
use postworks::config;
use postworks::job::Queue;
use postworks::telemetry::metrics::ADMISSION_STATE;
use postworks_workers::node::Node;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Admission;
use super::judge::{Judge, Measures};

/// Between two looks...
const EVERY: Duration = Duration::from_millis(250);
/// ...or so many times as long as counting took, since a long backlog is work as well...
const RESTS: u32 = 9;
/// ...but no longer than this.
const EVERY_MAX: Duration = Duration::from_secs(5);
/// What has not answered by then cannot be read; longer than the ledger may count.
const READ_MAX: Duration = Duration::from_secs(2);
/// Fewer jobs that wait are no load, however old they are.
const CROWD: u64 = 1_000;
/// A single slow look at the pool is no queue before it.
const LOOKS: usize = 4;

/// Looks at the load.
pub(super) struct Sampler {
    node: Arc<Node>,
    config: config::Admission,
    judge: Judge,
    queues: Vec<Queue>,
    waits: VecDeque<Duration>,
}

impl Sampler {
    pub(super) fn new(node: Arc<Node>, config: config::Admission) -> Self {
        let (judge, queues) = (Judge::new(&config), node.registry.queues().cloned().collect());
        Self { node, config, judge, queues, waits: VecDeque::with_capacity(LOOKS) }
    }

    /// Tells `admission` of the load until `stop`.
    pub(super) async fn run(mut self, admission: &Admission, stop: &CancellationToken) {
        loop {
            let (measures, counting) = tokio::select! {
                () = stop.cancelled() => return,
                measured = self.measure() => measured,
            };
            admission.tell(self.judge.look(&measures));
            for (reason, level) in self.judge.levels() {
                ADMISSION_STATE.level(&[reason.as_str()]).set(f64::from(level));
            }
            let pause = (counting * RESTS).clamp(EVERY, EVERY_MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What is the load, and how long the jobs took to count.
    async fn measure(&mut self) -> (Measures, Duration) {
        let started = Instant::now();
        let waiting = async { (self.waiting().await, started.elapsed()) };
        let ((waiting, counting), redis_memory, wait) =
            tokio::join!(waiting, self.redis_memory(), self.wait());
        let (depth, oldest) = waiting.unzip();
        let postgres_wait = self.least(wait);
        let oldest = oldest.filter(|_| depth >= Some(CROWD));
        (Measures { depth, oldest, redis_memory, postgres_wait }, counting)
    }

    async fn waiting(&self) -> Option<(u64, Duration)> {
        if self.config.depth.is_none() && self.config.oldest.is_none() {
            return None;
        }
        let enough = self.config.depth.map_or(CROWD, |depth| 2 * u64::from(depth));
        let (broker, ledger) = (self.node.broker.as_ref(), self.node.ledger.as_ref());
        let asked = waiting(broker, ledger, &self.queues, self.node.clock.now(), enough);
        // Whoever works says that a store is away.
        timeout(READ_MAX, asked).await.ok()?.ok()
    }

    async fn redis_memory(&self) -> Option<u64> {
        self.config.redis_memory?;
        timeout(READ_MAX, self.node.broker.server_use()).await.ok()?.ok()??.memory_percent()
    }

    /// How long this caller waited; one that waits too long need not be let in to be counted.
    async fn wait(&self) -> Option<Duration> {
        let longest = 2 * self.config.postgres_wait?;
        timeout(longest, self.node.store.connection_wait()).await.map_or(
            Some(longest),
            // A PostgreSQL that is away is no queue: its callers are told at once.
            |wait| wait.ok()?,
        )
    }

    /// The least of the last few waits.
    fn least(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let Some(wait) = wait else {
            self.waits.clear();
            return None;
        };
        if self.waits.len() == LOOKS {
            self.waits.pop_front();
        }
        self.waits.push_back(wait);
        (self.waits.len() == LOOKS).then(|| self.waits.iter().min().copied())?
    }
}

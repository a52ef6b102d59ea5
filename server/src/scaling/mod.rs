//! How many workers there should be: what the API tells those who start them, and what
//! `postworks up --workers auto` goes by.
//!
//! All that it goes by is the fleet's: what waits and runs is counted in the broker, and how many
//! workers there are and how long their runs take is what they say of themselves there. What one
//! process has seen lately only keeps workers from being sent home too soon, so a program that has
//! just started answers as one that did not, and sends nobody home before its first cooldown is over.

mod fleet;
pub mod policy;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postworks::broker;
use postworks::chore::{DepthError, depths};
use postworks::config;
use postworks::job::Queue;
use postworks::telemetry::metrics::{AUTOSCALE_DESIRED_WORKERS, AUTOSCALE_RUNNING_WORKERS};
use postworks_workers::node::Node;
use tokio_util::sync::CancellationToken;

use self::fleet::{Fleet, QueueSeen};
use self::policy::{Look, Policy};

/// A look that is younger than this is as good as a new one, for any number of askers.
const FRESH: Duration = Duration::from_secs(1);

/// How things are with some queues, and how many workers they call for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Jobs that are due and unclaimed.
    pub ready: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// How long a run took lately, in seconds; `None` if no worker that lives has run one.
    pub mean_run: Option<f64>,
    /// Slots that are busy with jobs of these queues.
    pub busy: u64,
    /// Slots of the workers that serve one of these queues.
    pub slots: u64,
    /// These workers.
    pub workers: u32,
    /// How many there should be.
    pub desired: u32,
}

/// Looks at the fleet, and remembers what it saw for as long as a cooldown.
#[derive(Debug)]
pub struct Scaling {
    policy: Policy,
    every: Duration,
    seen: Mutex<VecDeque<Arc<Fleet>>>,
    /// One look at a time: who comes meanwhile takes its answer.
    looking: tokio::sync::Mutex<()>,
}

impl Scaling {
    /// By the configuration.
    pub fn new(config: &config::Config) -> Self {
        Self {
            policy: Policy::of(&config.autoscale, config.worker.concurrency),
            every: config.autoscale.every,
            seen: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Looks until `stop`, and keeps the gauges.
    pub async fn watch(self: Arc<Self>, node: Arc<Node>, stop: CancellationToken) {
        loop {
            match self.standing(&node, |_| true).await {
                Ok(standing) => {
                    AUTOSCALE_DESIRED_WORKERS.level(&[]).set(f64::from(standing.desired));
                    AUTOSCALE_RUNNING_WORKERS.level(&[]).set(f64::from(standing.workers));
                }
                // Whoever works says that a store is away.
                Err(error) => tracing::debug!(%error, "nobody knows how many workers are needed"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    /// How things are with the queues that are chosen.
    ///
    /// # Errors
    /// The broker cannot be asked; or the ledger, if more waits than the broker holds.
    pub async fn standing(
        &self,
        node: &Node,
        chosen: impl Fn(&Queue) -> bool,
    ) -> Result<Standing, DepthError> {
        self.look(node).await?;
        let seen: Vec<Arc<Fleet>> = self.lock().iter().cloned().collect();
        let sums: Vec<_> = seen.iter().map(|fleet| (fleet.at, fleet.sum(&chosen))).collect();
        let looks: Vec<Look> = sums
            .iter()
            .enumerate()
            .map(|(place, (at, sum))| Look { at: *at, load: sum.load(*at, &sums[..place]) })
            .collect();
        let (_, now) = sums.last().copied().unwrap_or_default();
        Ok(Standing {
            ready: now.ready,
            oldest: now.oldest,
            mean_run: now.mean_run(),
            busy: now.busy,
            slots: now.slots,
            workers: now.workers,
            desired: self.policy.desired(&looks).unwrap_or(self.policy.min),
        })
    }

    async fn look(&self, node: &Node) -> Result<(), DepthError> {
        let _alone = self.looking.lock().await;
        let now = node.clock.now();
        let fresh = FRESH.min(self.every / 2);
        // A clock that went back makes no look fresh for ever.
        let is_fresh = |last: &Arc<Fleet>| last.at <= now && now.since(last.at) < fresh;
        if self.lock().back().is_some_and(is_fresh) {
            return Ok(());
        }
        let last = self.lock().back().cloned();
        let fleet = Arc::new(see(node, last.as_deref()).await?);
        let mut seen = self.lock();
        if seen.back().is_some_and(|last| last.at > fleet.at) {
            seen.clear();
        }
        // The last one that is as old as the cooldown stays: it proves that we looked for so long.
        let cooldown = self.policy.cooldown;
        while seen.get(1).is_some_and(|second| fleet.at.since(second.at) >= cooldown) {
            seen.pop_front();
        }
        seen.push_back(fleet);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Fleet>>> {
        // Nothing panics between two changes that belong together.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the whole fleet. A queue whose node is away is as it was seen `last`: workers that run its
/// jobs must not be sent home for that, and no more of them would help.
async fn see(node: &Node, last: Option<&Fleet>) -> Result<Fleet, DepthError> {
    let queues: Vec<Queue> = node.registry.queues().cloned().collect();
    let at = node.clock.now();
    let (broker, ledger) = (node.broker.as_ref(), node.ledger.as_ref());
    let gates = async { broker.gates(&queues).await.map_err(DepthError::from) };
    let roster = async { broker.roster().await.map_err(DepthError::from) };
    let (depths, (gates, now), roster) =
        tokio::try_join!(depths(broker, ledger, &queues, at), gates, roster)?;
    let seen = queues.iter().zip(depths).zip(gates);
    let seen = seen.map(|((queue, depth), gate)| match depth.zip(gate) {
        Some((depth, gate)) => QueueSeen {
            queue: queue.clone(),
            ready: depth.ready,
            oldest: depth.oldest_ready_age,
            running: depth.running,
            is_held: !node.config.serves(queue) || is_held(&gate, now),
        },
        None => QueueSeen::away(queue, last),
    });
    Ok(Fleet::new(at, seen.collect(), roster))
}

/// Whether nobody may claim from a queue now, or only the few calls that try a breaker.
fn is_held(gate: &broker::Gate, now: postworks::job::Timestamp) -> bool {
    gate.hold.paused
        || gate.hold.forced_open
        || gate.opens_at(now).is_some()
        || gate.position(now) != broker::Position::Closed
}

//! A budget for retries: when everything fails, retries must not multiply the calls to a platform
//! that is in trouble.
//!
//! Between judging and recording, every retry takes a slot of its queue. Slots come at a rate that
//! the whole fleet shares, and a retry waits for its own if it would be earlier. Nothing fails by
//! this, and nothing is burnt: a retry is only later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::run::Judgement;
use crate::broker::{BATCH_MAX, Broker};
use crate::job::Queue;

/// Slots a second that every queue has, however little it does.
const RATE_MIN: f64 = 5.0;
/// Retries may be this part of a queue's first attempts.
const PART: f64 = 0.1;
/// The first attempts are counted over windows of at least this length.
const WINDOW: Duration = Duration::from_secs(1);
/// A broker that does not answer for so long is not waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Gives retries their slots.
pub(super) struct Spacing {
    broker: Arc<dyn Broker>,
    firsts: HashMap<Queue, Firsts>,
}

/// The first attempts of a queue, as this worker sees them.
struct Firsts {
    since: Instant,
    count: u32,
    per_second: f64,
}

impl Spacing {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, firsts: HashMap::new() }
    }

    /// Passes judgements on to `next`: those without a retry at once, the others once they have
    /// their slots.
    pub(super) async fn run(
        mut self,
        mut judgements: mpsc::UnboundedReceiver<Judgement>,
        next: mpsc::UnboundedSender<Judgement>,
    ) {
        let (retries, to_space) = mpsc::unbounded_channel();
        let broker = Arc::clone(&self.broker);
        let passing = async move {
            let mut batch = Vec::new();
            while judgements.recv_many(&mut batch, BATCH_MAX).await > 0 {
                for judgement in batch.drain(..) {
                    self.count(&judgement);
                    // Closed only when the settler is gone, and this with it.
                    let _ = match judgement.retry {
                        None => next.send(judgement),
                        Some(_) => {
                            let per_second = self.per_second(&judgement.queue);
                            let _ = retries.send((judgement, per_second, next.clone()));
                            Ok(())
                        }
                    };
                }
            }
        };
        tokio::join!(passing, space(broker, to_space));
    }

    fn count(&mut self, judgement: &Judgement) {
        if judgement.first_attempt {
            let firsts = self.firsts_of(&judgement.queue);
            firsts.count = firsts.count.saturating_add(1);
        }
    }

    fn firsts_of(&mut self, queue: &Queue) -> &mut Firsts {
        let new = || Firsts { since: Instant::now(), count: 0, per_second: 0.0 };
        self.firsts.entry(queue.clone()).or_insert_with(new)
    }

    fn per_second(&mut self, queue: &Queue) -> f64 {
        let firsts = self.firsts_of(queue);
        let elapsed = firsts.since.elapsed();
        if elapsed >= WINDOW {
            firsts.per_second = f64::from(firsts.count) / elapsed.as_secs_f64();
            firsts.count = 0;
            firsts.since = Instant::now();
        }
        (firsts.per_second * PART).max(RATE_MIN)
    }
}

/// A retry, the rate of its queue, and where it goes next.
type Waiting = (Judgement, f64, mpsc::UnboundedSender<Judgement>);

async fn space(broker: Arc<dyn Broker>, mut retries: mpsc::UnboundedReceiver<Waiting>) {
    let mut batch = Vec::new();
    while retries.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut by_queue: HashMap<Queue, Vec<Waiting>> = HashMap::new();
        for waiting in batch.drain(..) {
            by_queue.entry(waiting.0.queue.clone()).or_default().push(waiting);
        }
        let queues = by_queue.into_iter().map(|(queue, retries)| {
            let broker = Arc::clone(&broker);
            async move { space_queue(broker.as_ref(), &queue, retries).await }
        });
        futures_util::future::join_all(queues).await;
    }
}

async fn space_queue(broker: &dyn Broker, queue: &Queue, mut retries: Vec<Waiting>) {
    let Some(per_second) = retries.iter().map(|(_, rate, _)| *rate).reduce(f64::max) else {
        return;
    };
    let count = u32::try_from(retries.len()).unwrap_or(u32::MAX);
    let asking = broker.reserve_retries(queue, count, per_second);
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(first)) => {
            // Whose turn is first gets the first slot.
            retries.sort_by_key(|(judgement, ..)| judgement.retry.map(|retry| retry.at));
            for (n, (judgement, ..)) in (0_u32..).zip(&mut retries) {
                judgement.wait_for(first.after(Duration::from_secs_f64(f64::from(n) / per_second)));
            }
        }
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(job.queue = %queue, error, "retries go unspaced");
        }
        Err(_) => tracing::debug!(job.queue = %queue, "no slots in time; retries go unspaced"),
    }
    for (judgement, _, next) in retries {
        let _ = next.send(judgement);
    }
}

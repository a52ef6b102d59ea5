//! Listens for the broker's wake-ups, beside the claims.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::fetch::{FALLBACK, RETRY_MIN};
use super::inflight::InFlight;
use super::schedule::Woken;
use crate::broker::Broker;
use crate::job::{Queue, WorkerId};

/// The wake-ups that the claims from a busy queue leave behind are taken ever more slowly: after the
/// first of them, and at most. One by itself is chance, and another queue's job may come next.
const BUSY_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));

/// Waits for the broker's wake-ups beside the claims, so that a busy queue does not deafen us to
/// the others. A queue that has no room here is not listened to: the wake-up is another worker's.
/// One that comes when the last room was just taken is passed on.
pub(super) struct Listener {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) inflight: Arc<InFlight>,
    pub(super) queues: Vec<Queue>,
    pub(super) worker: WorkerId,
    pub(super) lease: Duration,
    pub(super) woken: mpsc::Sender<Woken>,
    /// Whether the wake-up before was of a queue that was being claimed from anyway.
    pub(super) stale: Arc<AtomicBool>,
}

impl Listener {
    /// Listens until nobody wants to hear of it.
    pub(super) async fn run(self) {
        let (mut failing, mut pause) = (false, Duration::ZERO);
        loop {
            self.inflight.until(|held| self.open(held).next().is_some()).await;
            let open: Vec<Queue> = self.open(&self.inflight).cloned().collect();
            let waited = tokio::select! {
                waited = self.broker.wait(&open, FALLBACK) => waited,
                // Another queue has room now; a wait that is given up loses nothing.
                () = self.grown(&open), if open.len() < self.queues.len() => continue,
            };
            let broke = waited.is_err() && !failing;
            failing = waited.is_err();
            let woken = match waited {
                Ok(None) => continue,
                Ok(Some(queue)) if self.inflight.room(&queue, 0) == 0 => {
                    self.pass_on(&queue).await;
                    continue;
                }
                Ok(Some(queue)) => Woken::Queue(queue),
                // The claims notice and report an outage, and are repeated until it ends.
                Err(_) if broke => Woken::All,
                Err(_) => {
                    tokio::time::sleep(RETRY_MIN).await;
                    continue;
                }
            };
            if self.woken.send(woken).await.is_err() {
                return;
            }
            // Not after any other: a job of another queue, or the next of this one, would wait.
            pause = if self.stale.swap(false, Ordering::Relaxed) {
                (2 * pause).clamp(BUSY_PAUSE.0, BUSY_PAUSE.1)
            } else {
                Duration::ZERO
            };
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// The queues that have room for a job.
    fn open<'a>(&'a self, held: &'a InFlight) -> impl Iterator<Item = &'a Queue> {
        self.queues.iter().filter(|queue| held.room(queue, 0) > 0)
    }

    /// Returns when a queue has room that had none.
    async fn grown(&self, before: &[Queue]) {
        self.inflight.until(|held| self.open(held).any(|queue| !before.contains(queue))).await;
    }

    /// Wakes another waiter if work is left: a claim does, also one of nothing.
    async fn pass_on(&self, queue: &Queue) {
        if let Err(error) = self.broker.claim(queue, &self.worker, 0, self.lease).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(job.queue = %queue, error, "a wake-up was lost; others look in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::time::Instant;

    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::clock::SystemClock;
    use crate::testing::broker::{envelope, fresh, worker};
    use crate::worker::inflight::tests::delivery;
    use crate::worker::shares::Shares;
    use crate::worker::solitude::Solitude;

    /// A listener on two queues, of a worker that has a job in hand.
    struct Busy {
        broker: Arc<dyn Broker>,
        queues: [Queue; 2],
        woken: mpsc::Receiver<Woken>,
        stale: Arc<AtomicBool>,
    }

    impl Busy {
        async fn start() -> Self {
            let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(SystemClock::shared()));
            let in_hand = delivery(1);
            let queues = [in_hand.queue.clone(), Queue::parse("token_refresh").unwrap()];
            for queue in &queues {
                broker.open(queue, 1).await.unwrap();
                let opened = broker.wait(std::slice::from_ref(queue), Duration::ZERO).await;
                assert!(opened.unwrap().is_some());
            }
            let shares = Arc::new(Shares::new(10, &queues, &HashMap::new()));
            let inflight =
                InFlight::new(&Solitude::default(), &shares, mpsc::unbounded_channel().0);
            inflight.claimed(&[in_hand]);
            let (heard, woken) = mpsc::channel(1);
            let listener = Listener {
                broker: Arc::clone(&broker),
                inflight,
                queues: queues.to_vec(),
                worker: worker("a"),
                lease: Duration::from_secs(10),
                woken: heard,
                stale: Arc::default(),
            };
            let stale = Arc::clone(&listener.stale);
            tokio::spawn(listener.run());
            Self { broker, queues, woken, stale }
        }

        /// Pushes a job and answers how long the wake-up took.
        async fn hears_of(&mut self, number: usize) -> Duration {
            let start = Instant::now();
            let now = SystemClock::shared().now();
            let push = fresh(envelope(now, 0), now);
            self.broker.push(&self.queues[number], &[push]).await.unwrap();
            let woken = self.woken.recv().await.unwrap();
            assert!(matches!(woken, Woken::Queue(queue) if queue == self.queues[number]));
            start.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_job_waits_for_the_wake_up_before_it() {
        let mut busy = Busy::start().await;
        for number in [0, 1, 1, 0] {
            assert!(busy.hears_of(number).await < Duration::from_millis(1));
            // As the claim does that follows.
            let queue = &busy.queues[number];
            busy.broker.claim(queue, &worker("a"), 10, Duration::from_secs(10)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wake_ups_of_a_queue_that_is_claimed_from_anyway_are_taken_ever_more_slowly() {
        let mut busy = Busy::start().await;
        let mut took = Vec::new();
        for number in [0, 1, 0, 1, 0, 1] {
            busy.stale.store(true, Ordering::Relaxed);
            took.push(busy.hears_of(number).await);
        }
        assert!(took[0] < BUSY_PAUSE.0, "nothing came before it: {took:?}");
        assert!(took[1] >= BUSY_PAUSE.0 && took[1] < BUSY_PAUSE.1, "{took:?}");
        assert!(took.is_sorted() && took[5] >= BUSY_PAUSE.1, "{took:?}");
        busy.hears_of(0).await;
        assert!(busy.hears_of(1).await < BUSY_PAUSE.0, "what is news ends it");
    }
}

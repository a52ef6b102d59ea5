//! Pushes committed jobs to the broker in the background, in batches of whatever is there.
//!
//! What a broker out of reach did not take is offered again soon: once it is back, nothing else
//! tells that these jobs are missing there, and the relay takes up to half a minute to notice. Each
//! queue is served for itself: the node that holds it may be away alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::by_queue::ByQueue;
use super::push_all;
use crate::broker::{self, Broker};
use crate::job::{NewJob, Queue};

/// Batches of a queue that may wait. Beyond that, jobs are left to the relay rather than to our memory.
const WAITING_MAX: usize = 4_096;
/// Batches that are pushed together.
const TOGETHER_MAX: usize = 256;
/// Jobs of a queue that are kept to be offered again. Beyond that they are left to the relay, too.
const MISSED_MAX: usize = 10_000;
/// Between two offers, at first and at most.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);

enum Order {
    Push(Vec<NewJob>),
    Flush(oneshot::Sender<()>),
}

/// Pushes in the background.
#[derive(Clone)]
pub(super) struct Dispatcher {
    orders: Arc<ByQueue<Order>>,
}

impl Dispatcher {
    /// Pushes on the current runtime; its tasks end when every clone is gone.
    pub(super) fn start(broker: Arc<dyn Broker>) -> Self {
        let orders = ByQueue::new(move |_, runtime| {
            let (orders, waiting) = mpsc::channel(WAITING_MAX);
            runtime.spawn(work(Arc::clone(&broker), waiting));
            orders
        });
        Self { orders }
    }

    /// Leaves jobs to be pushed.
    pub(super) fn send(&self, jobs: Vec<NewJob>) {
        let Some(first) = jobs.first() else { return };
        if jobs.iter().all(|job| job.queue == first.queue) {
            return self.order(&first.queue.clone(), jobs);
        }
        let mut by_queue: HashMap<Queue, Vec<NewJob>> = HashMap::new();
        for job in jobs {
            by_queue.entry(job.queue.clone()).or_default().push(job);
        }
        by_queue.into_iter().for_each(|(queue, jobs)| self.order(&queue, jobs));
    }

    fn order(&self, queue: &Queue, jobs: Vec<NewJob>) {
        if self.orders.of(queue).try_send(Order::Push(jobs)).is_err() {
            tracing::debug!(job.queue = %queue, "too many pushes wait; the relay does it");
        }
    }

    /// Returns when everything sent before was offered to the broker.
    pub(super) async fn flush(&self) {
        let flushes = self.orders.all().into_iter().map(|orders| async move {
            let (done, flushed) = oneshot::channel();
            if orders.send(Order::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        });
        join_all(flushes).await;
    }
}

/// Jobs that the broker was offered and did not take.
struct Missed {
    jobs: Vec<NewJob>,
    again_at: Instant,
    wait: Duration,
}

async fn work(broker: Arc<dyn Broker>, mut waiting: mpsc::Receiver<Order>) {
    let mut orders = Vec::new();
    let mut missed = Missed { jobs: Vec::new(), again_at: Instant::now(), wait: AGAIN_MIN };
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut orders, TOGETHER_MAX) => {
                if taken == 0 {
                    return;
                }
            }
            () = tokio::time::sleep_until(missed.again_at), if !missed.jobs.is_empty() => {}
        }
        let (mut jobs, mut flushed) = (Vec::new(), Vec::new());
        for order in orders.drain(..) {
            match order {
                Order::Push(more) => jobs.extend(more),
                Order::Flush(done) => flushed.push(done),
            }
        }
        if missed.jobs.is_empty() {
            missed.offer(broker.as_ref(), jobs, false).await;
        } else {
            missed.keep(jobs);
            if missed.again_at <= Instant::now() || !flushed.is_empty() {
                let jobs = std::mem::take(&mut missed.jobs);
                // Flagged: some may have been taken before the error, and have ended since.
                missed.offer(broker.as_ref(), jobs, true).await;
            }
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

impl Missed {
    /// Pushes jobs, and keeps them if the broker is out of reach.
    async fn offer(&mut self, broker: &dyn Broker, jobs: Vec<NewJob>, flagged: bool) {
        match push_all(broker, &jobs, flagged).await {
            Ok(_) => self.wait = AGAIN_MIN,
            Err(error) if error.is_outage() || matches!(error, broker::Error::NodeAway(_)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "cannot push now");
                self.keep(jobs);
                self.again_at = Instant::now() + self.wait;
                self.wait = (self.wait * 2).min(AGAIN_MAX);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, jobs = jobs.len(), "not pushed; the relay will do it");
            }
        }
    }

    fn keep(&mut self, jobs: Vec<NewJob>) {
        let room = MISSED_MAX.saturating_sub(self.jobs.len());
        self.jobs.extend(jobs.into_iter().take(room));
    }
}

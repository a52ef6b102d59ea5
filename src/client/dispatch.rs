//! Pushes committed jobs to the broker in the background, in batches of whatever is there.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::push_all;
use crate::broker::Broker;
use crate::job::NewJob;

/// Batches that may wait. Beyond that, jobs are left to the relay rather than to our memory.
const WAITING_MAX: usize = 4_096;
/// Batches that are pushed together.
const TOGETHER_MAX: usize = 256;

enum Order {
    Push(Vec<NewJob>),
    Flush(oneshot::Sender<()>),
}

/// Pushes in the background.
#[derive(Clone)]
pub(super) struct Dispatcher {
    orders: mpsc::Sender<Order>,
}

impl Dispatcher {
    /// Starts the task; it ends when every clone is gone.
    pub(super) fn start(broker: Arc<dyn Broker>) -> Self {
        let (orders, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(work(broker, waiting));
        Self { orders }
    }

    /// Leaves jobs to be pushed.
    pub(super) fn send(&self, jobs: Vec<NewJob>) {
        if !jobs.is_empty() && self.orders.try_send(Order::Push(jobs)).is_err() {
            tracing::debug!("too many pushes wait; the relay will push these jobs");
        }
    }

    /// Returns when everything sent before was offered to the broker.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.orders.send(Order::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

async fn work(broker: Arc<dyn Broker>, mut waiting: mpsc::Receiver<Order>) {
    let mut orders = Vec::new();
    while waiting.recv_many(&mut orders, TOGETHER_MAX).await > 0 {
        let (mut jobs, mut flushed) = (Vec::new(), Vec::new());
        for order in orders.drain(..) {
            match order {
                Order::Push(more) => jobs.extend(more),
                Order::Flush(done) => flushed.push(done),
            }
        }
        if let Err(error) = push_all(broker.as_ref(), &jobs, false).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, jobs = jobs.len(), "not pushed; the relay will do it");
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

//! Keeps the leases of held jobs alive, from a thread and connection of its own.
//!
//! A runtime that is busy, or a broker connection with a queue of commands on it, must not make
//! this worker look dead. But a runtime that is *stuck* must: renewal goes on only while the
//! watchdog finds that it runs its tasks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inflight::InFlight;
use super::watchdog::Watchdog;
use crate::broker::{self, Broker, Lease};
use crate::job::Queue;

/// After an error: leases are short, and a broker that comes back may have lost them.
const RETRY: Duration = Duration::from_millis(200);

/// Renews leases.
pub(super) struct Renewer {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) inflight: Arc<InFlight>,
    pub(super) watchdog: Watchdog,
    /// A renewed lease lasts this long.
    pub(super) lease: Duration,
    /// Leases are renewed this often.
    pub(super) every: Duration,
    /// Told of queues that may have lost leases.
    pub(super) doubts: mpsc::UnboundedSender<Queue>,
    pub(super) stop: CancellationToken,
}

impl Renewer {
    /// Starts the thread; it ends on `stop`.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn spawn(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("lease-renewer".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run() => {}
                    () = self.watchdog.watch() => {}
                }
            });
        })?;
        Ok(())
    }

    async fn run(&self) {
        let mut own: Option<Arc<dyn Broker>> = None;
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(if failing { RETRY.min(self.every) } else { self.every }) => {}
            }
            if crate::planted!(NoRenewal) {
                continue;
            }
            if self.watchdog.is_stuck() {
                continue;
            }
            let broker = match own.take() {
                Some(broker) => broker,
                None => match self.broker.dedicated().await {
                    Ok(broker) => broker,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "no connection to renew leases with");
                        failing = true;
                        continue;
                    }
                },
            };
            let renewed = self.renew_all(broker.as_ref()).await;
            // An outage is logged when it starts and when it ends.
            match &renewed {
                Err(error) if !failing => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot renew leases now; trying again");
                }
                Ok(()) if failing => tracing::info!("renewing leases works again"),
                _ => {}
            }
            failing = renewed.is_err();
            own = Some(broker);
        }
    }

    /// Renews every lease, each queue's beside the others': neither an error nor a wait for the node
    /// that holds one keeps the others' leases from being renewed.
    async fn renew_all(&self, broker: &dyn Broker) -> Result<(), broker::Error> {
        let held = self.inflight.leases();
        let each = held.iter().map(|(queue, leases)| self.renew_queue(broker, queue, leases));
        join_all(each).await.into_iter().collect()
    }

    async fn renew_queue(
        &self,
        broker: &dyn Broker,
        queue: &Queue,
        leases: &[Lease],
    ) -> Result<(), broker::Error> {
        let mut failed = None;
        for batch in leases.chunks(broker::BATCH_MAX) {
            match broker.renew(queue, batch, self.lease).await {
                Ok(renewed) => {
                    crate::failpoint!(RenewAnswered);
                    self.learn(queue, batch, &renewed);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Ends the runs whose leases were taken back. One of an earlier generation, or of a queue that
    /// is not open, may have been wiped instead.
    fn learn(&self, queue: &Queue, leases: &[Lease], renewed: &broker::Renewed) {
        let missing = leases.iter().zip(&renewed.held).filter(|(_, held)| !**held);
        let (taken, doubtful): (Vec<&Lease>, Vec<&Lease>) =
            missing.map(|(lease, _)| lease).partition(|lease| {
                renewed.generation.is_some_and(|present| lease.token.generation >= present)
            });
        self.inflight.lost(taken.into_iter());
        if !doubtful.is_empty() || renewed.generation.is_none() {
            let _ = self.doubts.send(queue.clone());
        }
    }
}

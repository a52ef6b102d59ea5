//! Records what became of jobs: the ledger first, then the broker, each in batches of whatever is
//! there.
//!
//! Both stages repeat a failed batch until it is taken: every call may be repeated without harm,
//! and the leases are renewed meanwhile. How much may wait here is bounded by the claims. What the
//! ledger has nothing to learn of does not wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;

use super::inflight::InFlight;
use super::meter::Meter;
use super::run::Judgement;
use crate::broker::{self, Broker, Settlement, Then};
use crate::job::Queue;
use crate::ledger::{self, Ledger, Next, Verdict};

/// After a store's return, a batch that waited for it is offered again within twice this.
const AGAIN_MAX: Duration = Duration::from_millis(250);

/// Records judgements.
pub(super) struct Settler {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) inflight: Arc<InFlight>,
    pub(super) meter: Arc<Meter>,
}

impl Settler {
    /// Records judgements until the channel closes and everything in it is recorded.
    pub(super) async fn run(self, judgements: mpsc::UnboundedReceiver<Judgement>) {
        let settler = Arc::new(self);
        let (verdicts, to_ledger) = mpsc::unbounded_channel();
        let (recorded, to_broker) = mpsc::channel(4);
        tokio::join!(
            part(judgements, verdicts, recorded.clone()),
            Arc::clone(&settler).record(to_ledger, recorded),
            settler.release(to_broker),
        );
    }

    /// The first stage: the ledger.
    async fn record(
        self: Arc<Self>,
        mut judgements: mpsc::UnboundedReceiver<Judgement>,
        recorded: mpsc::Sender<Vec<Judgement>>,
    ) {
        let mut batch = Vec::new();
        while judgements.recv_many(&mut batch, ledger::BATCH_MAX).await > 0 {
            self.record_batch(&mut batch).await;
            if recorded.send(std::mem::take(&mut batch)).await.is_err() {
                return;
            }
        }
    }

    async fn record_batch(&self, batch: &mut [Judgement]) {
        let (places, verdicts): (Vec<usize>, Vec<Verdict>) = batch
            .iter_mut()
            .enumerate()
            .filter_map(|(place, judgement)| Some((place, judgement.verdict.take()?)))
            .unzip();
        if verdicts.is_empty() {
            return;
        }
        let answers = until_done("ledger", || self.ledger.settle(&verdicts)).await;
        crate::failpoint!(VerdictRecorded);
        crate::failpoint!(RetryRecorded if batch.iter().any(|one| matches!(one.then, Then::Again(_))));
        for ((place, verdict), answer) in places.into_iter().zip(&verdicts).zip(answers) {
            let Some(judgement) = batch.get_mut(place) else { continue };
            match (answer, &verdict.then) {
                (ledger::Settled::Stale | ledger::Settled::Cancelled, _) => {
                    // Somebody else's, or ended meanwhile: our copy must not run again.
                    judgement.then = Then::Gone;
                    self.meter.stale_settle();
                }
                (ledger::Settled::Done, Next::Dead { reason, .. }) => {
                    self.meter.dead(&judgement.queue, reason.category);
                }
                (ledger::Settled::Done, _) => {}
            }
        }
    }

    /// The second stage: the broker.
    async fn release(self: Arc<Self>, mut recorded: mpsc::Receiver<Vec<Judgement>>) {
        while let Some(batch) = recorded.recv().await {
            let mut by_queue: HashMap<Queue, Vec<Settlement>> = HashMap::new();
            for Judgement { queue, lease, then, .. } in batch {
                by_queue.entry(queue).or_default().push(Settlement { lease, then });
            }
            let queues = by_queue.iter().map(|(queue, batch)| self.release_queue(queue, batch));
            futures_util::future::join_all(queues).await;
        }
    }

    async fn release_queue(&self, queue: &Queue, batch: &[Settlement]) {
        let answers = until_done("broker", || self.broker.settle(queue, batch)).await;
        crate::failpoint!(SettleAnswered);
        let stale = || {
            let answered = batch.iter().zip(&answers);
            answered.filter(|(_, answer)| **answer == broker::Settled::Stale)
        };
        self.meter.leases_lost(stale().count());
        self.inflight.lost(stale().map(|(settlement, _)| &settlement.lease));
        self.inflight.settled(batch.iter().map(|settlement| settlement.lease.clone()));
    }
}

/// Sends what the ledger must learn of there, and the rest straight to the broker.
async fn part(
    mut judgements: mpsc::UnboundedReceiver<Judgement>,
    to_ledger: mpsc::UnboundedSender<Judgement>,
    to_broker: mpsc::Sender<Vec<Judgement>>,
) {
    let mut batch = Vec::new();
    while judgements.recv_many(&mut batch, ledger::BATCH_MAX).await > 0 {
        let (told, rest): (Vec<_>, Vec<_>) =
            batch.drain(..).partition(|judgement| judgement.verdict.is_some());
        // Closed only when the other stages are gone, and this one with them.
        told.into_iter().for_each(|judgement| drop(to_ledger.send(judgement)));
        if !rest.is_empty() && to_broker.send(rest).await.is_err() {
            return;
        }
    }
}

/// Repeats `call` until it succeeds, with growing waits.
///
/// An outage is logged when it starts and when it ends.
async fn until_done<T, E, F>(store: &'static str, call: impl Fn() -> F) -> T
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut waits = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(AGAIN_MAX)
        .without_max_times()
        .build();
    let mut failures = 0u32;
    loop {
        match call().await {
            Ok(answer) => {
                if failures > 0 {
                    tracing::info!(store, failures, "settling works again");
                }
                return answer;
            }
            Err(error) => {
                if failures == 0 {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(store, error, "cannot settle now; leases are kept meanwhile");
                }
                failures += 1;
                let wait = waits.next().unwrap_or(AGAIN_MAX);
                tokio::time::sleep(wait).await;
            }
        }
    }
}

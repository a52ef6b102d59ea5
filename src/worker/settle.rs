//! Records what became of jobs: what runs know of their effects, then the ledger's verdicts, then
//! the broker; the latter two in batches of whatever is there.
//!
//! Every stage repeats what failed until it is taken: every call may be repeated without harm, and
//! the leases are renewed meanwhile. How much may wait here is bounded by the claims. What the
//! ledger has nothing to learn of does not wait for it.
//!
//! An effect is recorded before the verdict of its job and apart from others: what a platform has
//! answered is in nobody else's memory, and one row that cannot be written now must not keep other
//! jobs waiting.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::effect::Effect;
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

/// The judgement of a run that left an effect.
pub(super) type Recordable = (Arc<dyn Effect>, Judgement);

impl Settler {
    /// Records effects and judgements until the channels close and everything in them is recorded.
    /// A judgement whose effect is on record goes to `next`, which leads to `judgements`.
    pub(super) async fn run(
        self,
        effects: mpsc::UnboundedReceiver<Recordable>,
        judgements: mpsc::UnboundedReceiver<Judgement>,
        next: mpsc::UnboundedSender<Judgement>,
    ) {
        let settler = Arc::new(self);
        let (verdicts, to_ledger) = mpsc::unbounded_channel();
        let (recorded, to_broker) = mpsc::channel(4);
        tokio::join!(
            record_effects(effects, next),
            part(judgements, verdicts, recorded.clone()),
            Arc::clone(&settler).record(to_ledger, recorded),
            settler.release(to_broker),
        );
    }

    /// The second stage: the ledger.
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
                // The next claim is told where it stands now.
                (ledger::Settled::Moved, _) => judgement.then = Then::Back,
                (ledger::Settled::Done, Next::Dead { reason, .. }) => {
                    self.meter.dead(&judgement.queue, reason.category);
                }
                (ledger::Settled::Done, _) => {}
            }
        }
    }

    /// The third stage: the broker. Each queue for itself: the node that holds one may be away, which
    /// must not keep the places of the others' jobs taken.
    async fn release(self: Arc<Self>, mut recorded: mpsc::Receiver<Vec<Judgement>>) {
        let mut waiting: HashMap<Queue, Vec<Settlement>> = HashMap::new();
        let mut busy: HashSet<Queue> = HashSet::new();
        let mut releasing = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(batch) = recorded.recv() => {
                    for Judgement { queue, lease, then, .. } in batch {
                        waiting.entry(queue).or_default().push(Settlement { lease, then });
                    }
                }
                Some(queue) = releasing.next() => {
                    busy.remove(&queue);
                }
                else => return,
            }
            let free: Vec<_> = waiting.extract_if(|queue, _| !busy.contains(queue)).collect();
            for (queue, batch) in free {
                busy.insert(queue.clone());
                let settler = &self;
                releasing.push(async move {
                    settler.release_queue(&queue, &batch).await;
                    queue
                });
            }
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

/// The first stage: effects, each for itself.
async fn record_effects(
    mut effects: mpsc::UnboundedReceiver<Recordable>,
    next: mpsc::UnboundedSender<Judgement>,
) {
    let mut recording = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((effect, judgement)) = effects.recv() => recording.push(async move {
                record_effect(effect.as_ref(), &judgement).await;
                judgement
            }),
            Some(judgement) = recording.next() => {
                if next.send(judgement).is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}

async fn record_effect(effect: &dyn Effect, judgement: &Judgement) {
    let call = || async {
        match effect.record().await {
            // It would be refused again and again. A later run sees the intent, and that its
            // outcome is not known.
            Err(ledger::Error::Protocol(error)) => {
                tracing::error!(
                    job.id = %judgement.lease.id, %error,
                    "the ledger refused what a run knew of its effect"
                );
                Ok(())
            }
            other => other,
        }
    };
    until_done("ledger", call).await;
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

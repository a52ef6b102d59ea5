//! Claims jobs for the free places of this worker.
//!
//! No polling: a queue is claimed from while it has due work, then again when the broker wakes us,
//! when its next delayed job falls due, when the connection broke (the broker may have started
//! anew, and waits to be opened), or, in case a wake-up was lost, every [`FALLBACK`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admit::{Admission, Admitted};
use super::inflight::InFlight;
use super::judge::judge;
use super::open::Opener;
use super::pace::Pace;
use super::places::Places;
use super::run::{Ended, Judgement, Run};
use super::schedule::{Schedule, Woken};
use super::solitude::Solitude;
use super::waits::Waits;
use crate::broker::{self, Broker, Delivery, Then};
use crate::clock::SharedClock;
use crate::gate::watch::Watch;
use crate::job::{Queue, Timestamp, WorkerId};

/// Every queue is looked at this often even if nothing woke us: a wake-up that a dying worker
/// took with it costs no more than this.
pub(super) const FALLBACK: Duration = Duration::from_secs(10);
/// The wake-ups that the claims from a busy queue leave behind are taken no faster.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// After an error of broker or ledger, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Claims jobs.
pub(super) struct Fetcher {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) opener: Opener,
    pub(super) admission: Admission,
    pub(super) waits: Waits,
    pub(super) inflight: Arc<InFlight>,
    pub(super) clock: SharedClock,
    pub(super) worker: WorkerId,
    pub(super) queues: Vec<Queue>,
    pub(super) lease: Duration,
    pub(super) places: Arc<Places>,
    pub(super) judgements: mpsc::UnboundedSender<Judgement>,
    pub(super) watch: Arc<Watch>,
    /// Told of queues that may have lost leases.
    pub(super) doubts: mpsc::UnboundedSender<Queue>,
    pub(super) stop: CancellationToken,
    /// Shared with the other workers of this process.
    pub(super) solitude: Solitude,
    /// Since when queues have had jobs in quarantine, as far as we have seen.
    pub(super) quarantines: HashMap<Queue, Instant>,
}

impl Fetcher {
    /// Claims until `stop`.
    pub(super) async fn run(mut self) {
        let (woken, mut wake_ups) = mpsc::channel(1);
        let listener = Listener {
            broker: Arc::clone(&self.broker),
            inflight: Arc::clone(&self.inflight),
            queues: self.queues.clone(),
            worker: self.worker.clone(),
            lease: self.lease,
            woken,
            stale: Arc::default(),
        };
        let stale = Arc::clone(&listener.stale);
        let listening = tokio::spawn(listener.run());
        let mut schedule = Schedule::new(&self.queues);
        let paces = self.queues.iter().map(|queue| (queue.clone(), Pace::new(queue.clone())));
        let mut paces: HashMap<Queue, Pace> = paces.collect();
        let mut retry = RETRY_MIN;
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            schedule.wake_due();
            // An error says nothing about what waits there.
            if schedule.falls_back() && self.broker.stirs(&self.queues).await.unwrap_or(true) {
                schedule.wake_all(&self.queues);
            }
            while let Ok(woken) = wake_ups.try_recv() {
                let is_news = schedule.heed(woken, &self.queues);
                stale.store(!is_news, Ordering::Relaxed);
            }
            let Some((queue, wanted)) = self.choose(&mut schedule, &mut paces) else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.inflight.changed(), if !schedule.turn.is_empty() => {}
                    () = tokio::time::sleep(schedule.until_next()) => {}
                    Some(woken) = wake_ups.recv() => {
                        let is_news = schedule.heed(woken, &self.queues);
                        stale.store(!is_news, Ordering::Relaxed);
                    }
                }
                continue;
            };
            match self.round(&mut schedule, queue, wanted).await {
                Ok(()) => retry = RETRY_MIN,
                Err(error) => {
                    if retry == RETRY_MIN {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot claim now; trying again");
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(retry) => {}
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
        listening.abort();
    }

    /// The next queue on the schedule that has room, and how many jobs to claim from it. It stays
    /// on the schedule: an error must not lose its turn.
    fn choose(
        &self,
        schedule: &mut Schedule,
        paces: &mut HashMap<Queue, Pace>,
    ) -> Option<(Queue, usize)> {
        schedule.next(|queue| paces.get_mut(queue).map_or(0, |pace| pace.wanted(&self.inflight)))
    }

    /// Claims from a queue, and hands on what came.
    async fn round(
        &mut self,
        schedule: &mut Schedule,
        queue: Queue,
        fair: usize,
    ) -> Result<(), broker::Error> {
        // A worker of this process is alone with its job, or wants to be.
        let Some(turn) = self.solitude.turn() else { return Ok(()) };
        let claimed = if turn.is_alone() {
            self.broker.claim_alone(&queue, &self.worker, fair, self.lease).await
        } else {
            self.broker.claim(&queue, &self.worker, fair, self.lease).await
        };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(broker::Error::NeedsGeneration { queue, held }) => {
                return self.open(&queue, held).await;
            }
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                // Broken keys of one queue must not slow the others down.
                error.log_of(&queue, "cannot claim from this queue");
                // A node comes back by itself, or another takes its place.
                let is_away = matches!(error, broker::Error::NodeAway(_));
                let (now, rest) = (self.clock.now(), if is_away { RETRY_MAX } else { FALLBACK });
                schedule.rest(&queue, Some(now.after(rest)), now);
                return Ok(());
            }
        };
        crate::failpoint!(ClaimAnswered if !claimed.deliveries.is_empty());
        if claimed.first_probes {
            self.watch.probing(&queue);
        }
        if schedule.calls_for_refill(claimed.beyond) {
            self.opener.calls.refill.notify_one();
        }
        if schedule.is_new(&queue, claimed.generation) {
            let _ = self.doubts.send(queue.clone());
        }
        if claimed.deliveries.iter().any(|delivery| delivery.quarantined) {
            self.run_alone(claimed, turn).await;
            return Ok(());
        }
        if !claimed.more && claimed.deliveries.len() < fair {
            // By the broker's clock, which need not be ours.
            schedule.rest(&queue, claimed.next_due, claimed.now);
        }
        let held = self.hold(claimed.deliveries);
        drop(turn);
        self.take(held).await;
        self.heed_quarantine(&queue, claimed.quarantined, schedule).await
    }

    /// Opens a queue in a new generation, unless another worker is about to.
    async fn open(&self, queue: &Queue, held: Option<u32>) -> Result<(), broker::Error> {
        if self.opener.open(queue, held).await? {
            let _ = self.doubts.send(queue.clone());
        } else {
            tokio::time::sleep(RETRY_MIN).await;
        }
        Ok(())
    }

    /// Takes claimed jobs in hand: their leases are renewed from here on.
    pub(super) fn hold(&self, deliveries: Vec<Delivery>) -> Vec<(Delivery, CancellationToken)> {
        let tokens = self.inflight.claimed(&deliveries);
        deliveries.into_iter().zip(tokens).collect()
    }

    /// Admits claimed jobs and hands them on.
    pub(super) async fn take(&mut self, held: Vec<(Delivery, CancellationToken)>) {
        crate::failpoint!(ClaimHeld if !held.is_empty());
        let held = self.put_off_waiting(held).await;
        // What the ledger need not be asked about does not wait for it.
        let (asking, plain): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(delivery, _)| self.admission.needs_ledger(delivery));
        for waiting in [plain, asking] {
            self.take_in(waiting).await;
        }
    }

    async fn take_in(&mut self, mut waiting: Vec<(Delivery, CancellationToken)>) {
        let Some(admitted) = self.admit(&mut waiting).await else {
            for (delivery, _) in waiting {
                self.hand_back(delivery);
            }
            return;
        };
        for judgement in admitted.judged {
            self.inflight.judged_unstarted(&judgement.queue);
            let _ = self.judgements.send(judgement);
        }
        let runs: Vec<Arc<Run>> = admitted.runs.into_iter().map(Arc::new).collect();
        self.inflight.admitted(&runs);
        if crate::planted!(AckBeforeRun) {
            for run in &runs {
                let _ = self.judgements.send(unearned(run, self.clock.now()));
            }
        }
        self.places.put(runs);
    }

    /// Asks the ledger until it answers; `None` if the worker drains before.
    async fn admit(&self, waiting: &mut Vec<(Delivery, CancellationToken)>) -> Option<Admitted> {
        let mut retry = RETRY_MIN;
        loop {
            match self.admission.admit(waiting).await {
                Ok(admitted) => return Some(admitted),
                Err(error) => {
                    if retry == RETRY_MIN {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot ask the ledger now; claimed jobs wait");
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(retry) => {}
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn hand_back(&self, delivery: Delivery) {
        self.inflight.judged_unstarted(&delivery.queue);
        let Delivery { queue, lease, .. } = delivery;
        let (verdict, then) = (None, Then::Back);
        let back = Judgement { queue, lease, verdict, then, retry: None, first_attempt: false };
        let _ = self.judgements.send(back);
    }
}

/// The judgement of a job that did what it should, about one that has not begun: a planted bug.
fn unearned(run: &Run, now: Timestamp) -> Judgement {
    judge(run, &Ended::Answered { started_at: now, ended_at: now, result: Ok(()) }, 0.0).0
}

/// Waits for the broker's wake-ups beside the claims, so that a busy queue does not deafen us to
/// the others. A queue that has no room here is not listened to: the wake-up is another worker's.
/// One that comes when the last room was just taken is passed on.
struct Listener {
    broker: Arc<dyn Broker>,
    inflight: Arc<InFlight>,
    queues: Vec<Queue>,
    worker: WorkerId,
    lease: Duration,
    woken: mpsc::Sender<Woken>,
    /// Whether the wake-up before was of a queue that was being claimed from anyway.
    stale: Arc<AtomicBool>,
}

impl Listener {
    async fn run(self) {
        let mut failing = false;
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
            if self.stale.swap(false, Ordering::Relaxed) {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
        }
    }
}

impl Listener {
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

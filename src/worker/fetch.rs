//! Claims jobs for the free places of this worker.
//!
//! No polling: a queue is claimed from while it has due work, then again when the broker wakes us,
//! when its next delayed job falls due, when the connection broke (the broker may have started
//! anew, and waits to be opened), or, in case a wake-up was lost, every [`FALLBACK`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admit::{Admission, InHand};
use super::inflight::InFlight;
use super::intake::Intake;
use super::listener::Listener;
use super::open::Opener;
use super::pace::Pace;
use super::question::Answers;
use super::schedule::Schedule;
use super::solitude::Solitude;
use super::waits::Waits;
use crate::broker::{self, Broker, Delivery};
use crate::clock::SharedClock;
use crate::gate::watch::Watch;
use crate::job::{Queue, Timestamp, WorkerId};

/// Every queue is looked at this often even if nothing woke us: a wake-up that a dying worker
/// took with it costs no more than this.
pub(super) const FALLBACK: Duration = Duration::from_secs(10);
/// After an error of broker or ledger, at first and at most. Both know for themselves when to look
/// for a server that is away, and answer at once until then: what is waited here comes on top.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(50);
pub(super) const RETRY_MAX: Duration = Duration::from_millis(150);

/// Claims jobs.
pub(super) struct Fetcher {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) opener: Opener,
    pub(super) admission: Arc<Admission>,
    pub(super) intake: Arc<Intake>,
    /// Jobs that the ledger must be asked about.
    pub(super) asking: mpsc::UnboundedSender<Vec<InHand>>,
    /// So many of them may wait here for a ledger that is away.
    pub(super) aside_max: usize,
    pub(super) waits: Waits,
    pub(super) inflight: Arc<InFlight>,
    pub(super) clock: SharedClock,
    pub(super) worker: WorkerId,
    pub(super) queues: Vec<Queue>,
    pub(super) lease: Duration,
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
        let mut schedule = Schedule::new(&self.queues);
        let (woken, mut wake_ups) = mpsc::channel(1);
        let listener = Listener {
            broker: Arc::clone(&self.broker),
            inflight: Arc::clone(&self.inflight),
            queues: self.queues.clone(),
            worker: self.worker.clone(),
            lease: self.lease,
            woken,
            stale: Arc::clone(&schedule.stale),
        };
        let listening = tokio::spawn(listener.run());
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
                schedule.heed(woken, &self.queues);
            }
            let Some((queue, wanted)) = self.choose(&mut schedule, &mut paces) else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.inflight.changed(), if !schedule.turn.is_empty() => {}
                    () = tokio::time::sleep(schedule.until_next()) => {}
                    Some(woken) = wake_ups.recv() => schedule.heed(woken, &self.queues),
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
        self.take(held, claimed.now).await;
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
    pub(super) fn hold(&self, deliveries: Vec<Delivery>) -> Vec<InHand> {
        let tokens = self.inflight.claimed(&deliveries);
        deliveries.into_iter().zip(tokens).collect()
    }

    /// Admits jobs that were claimed at a time of the broker's, and hands them on. Those that the
    /// ledger must be asked about wait for it elsewhere.
    pub(super) async fn take(&mut self, held: Vec<InHand>, now: Timestamp) {
        crate::failpoint!(ClaimHeld if !held.is_empty());
        let (held, was_surplus) = self.put_off_surplus(held, now);
        let held = self.put_off_waiting(held).await;
        let (asking, plain): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(delivery, _)| self.admission.needs_ledger(delivery));
        self.intake.hand_on(self.admission.admit(plain, Answers::new()));
        if !asking.is_empty() {
            // It ends after us.
            let _ = self.asking.send(asking);
        }
        if was_surplus {
            self.rest_after_surplus().await;
        }
    }
}

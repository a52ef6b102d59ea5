//! The jobs this worker holds, and how many more it may take.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::lanes::Lanes;
use super::run::Run;
use super::shares::Shares;
use super::solitude::Solitude;
use crate::broker::{Delivery, Lease};
use crate::job::{JobId, Queue, Token};

/// Runs that have ended but are not yet acknowledged by ledger and broker; at this many, nothing
/// more is claimed until they are.
const UNSETTLED_MAX: usize = 5_000;

/// A caller of [`InFlight::until`] looks again after this even if nothing told it to.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The jobs this worker holds.
#[derive(Default)]
pub(super) struct InFlight {
    held: Mutex<Jobs>,
    /// Claimed and not yet judged.
    active: AtomicUsize,
    /// Claimed and not yet handed to a handler.
    buffered: AtomicUsize,
    /// Claimed, and set aside.
    aside: AtomicUsize,
    /// The ledger has been away for long, and jobs wait for it.
    cut_off: AtomicBool,
    /// Judged, and their handlers have not let go.
    overdue: AtomicUsize,
    /// The same by queue.
    lanes: Lanes,
    /// For the fetcher.
    changed: Notify,
    /// For everybody else.
    quieter: Notify,
    /// Who else claims in this process.
    solitude: Solitude,
    /// Told of claims whose leases were taken from us, once each.
    lost: Option<mpsc::UnboundedSender<(JobId, Token)>>,
}

#[derive(Default)]
struct Jobs {
    by_id: HashMap<JobId, Held>,
    /// Claims of jobs that an earlier claim of ours still runs: the broker forgot about that one.
    /// The ledger decides which of the two goes on.
    doubles: Vec<Held>,
}

struct Held {
    queue: Queue,
    lease: Lease,
    cancelled: CancellationToken,
    /// Once it is admitted.
    run: Option<Arc<Run>>,
    /// Whether it is known that the lease was taken from us.
    lost: bool,
}

/// A job that is held and was not cancelled.
pub(super) struct HeldJob {
    pub(super) lease: Lease,
    /// Once it is admitted.
    pub(super) run: Option<Arc<Run>>,
}

impl Jobs {
    fn iter(&self) -> impl Iterator<Item = &Held> {
        self.by_id.values().chain(&self.doubles)
    }

    fn get(&self, lease: &Lease) -> Option<&Held> {
        let held = self.by_id.get(&lease.id).filter(|held| held.lease == *lease);
        held.or_else(|| self.doubles.iter().find(|held| held.lease == *lease))
    }

    fn get_mut(&mut self, lease: &Lease) -> Option<&mut Held> {
        let held = self.by_id.get_mut(&lease.id).filter(|held| held.lease == *lease);
        held.or_else(|| self.doubles.iter_mut().find(|held| held.lease == *lease))
    }

    fn insert(&mut self, held: Held) {
        match self.by_id.entry(held.lease.id) {
            Entry::Vacant(place) => {
                place.insert(held);
            }
            Entry::Occupied(_) => self.doubles.push(held),
        }
    }

    /// Takes note of a run that is about to start; answers an older one of the same job, which
    /// has to end.
    fn starts(&mut self, lease: &Lease, run: Option<&Arc<Run>>) -> Option<Held> {
        let place = self.doubles.iter().position(|held| held.lease == *lease);
        let older =
            place.and_then(|place| self.by_id.insert(lease.id, self.doubles.swap_remove(place)));
        if let Some(held) = self.by_id.get_mut(&lease.id).filter(|held| held.lease == *lease) {
            held.run = run.cloned();
        }
        older
    }

    fn remove(&mut self, lease: &Lease) {
        if self.by_id.get(&lease.id).is_some_and(|held| held.lease == *lease) {
            self.by_id.remove(&lease.id);
        } else {
            self.doubles.retain(|held| held.lease != *lease);
        }
    }
}

impl InFlight {
    /// Nothing in hand yet; `lost` is told of claims whose leases were taken from us.
    pub(super) fn new(
        solitude: &Solitude,
        shares: &Arc<Shares>,
        lost: mpsc::UnboundedSender<(JobId, Token)>,
    ) -> Arc<Self> {
        let inflight = Arc::new(Self {
            solitude: solitude.clone(),
            lanes: Lanes::new(Arc::clone(shares)),
            lost: Some(lost),
            ..Self::default()
        });
        solitude.join(&inflight);
        inflight
    }

    fn held(&self) -> MutexGuard<'_, Jobs> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of claimed jobs; answers the token that cancels each.
    pub(super) fn claimed(&self, deliveries: &[Delivery]) -> Vec<CancellationToken> {
        let mut held = self.held();
        self.active.fetch_add(deliveries.len(), Ordering::SeqCst);
        self.buffered.fetch_add(deliveries.len(), Ordering::SeqCst);
        deliveries
            .iter()
            .map(|delivery| {
                self.lanes.claimed(&delivery.queue);
                let cancelled = CancellationToken::new();
                held.insert(Held {
                    queue: delivery.queue.clone(),
                    lease: delivery.lease.clone(),
                    cancelled: cancelled.clone(),
                    run: None,
                    lost: false,
                });
                cancelled
            })
            .collect()
    }

    /// A claimed job has to wait, and takes no place meanwhile. Its lease is renewed.
    pub(super) fn set_aside(&self, queue: &Queue) {
        self.aside.fetch_add(1, Ordering::SeqCst);
        self.active.fetch_sub(1, Ordering::SeqCst);
        self.buffered.fetch_sub(1, Ordering::SeqCst);
        self.lanes.set_aside(queue);
        self.note_change();
    }

    /// A job that was set aside is to run after all.
    pub(super) fn taken_up(&self, queue: &Queue) {
        self.active.fetch_add(1, Ordering::SeqCst);
        self.buffered.fetch_add(1, Ordering::SeqCst);
        self.lanes.claimed(queue);
        self.left_aside();
    }

    /// A job that was set aside was judged. It says nothing of how fast jobs of its queue end.
    pub(super) fn left_aside(&self) {
        self.aside.fetch_sub(1, Ordering::SeqCst);
    }

    /// Jobs set aside.
    pub(super) fn aside(&self) -> usize {
        self.aside.load(Ordering::SeqCst)
    }

    /// The ledger is away for longer than a moment, or is not any more.
    pub(super) fn note_cut_off(&self, is_cut_off: bool) {
        self.cut_off.store(is_cut_off, Ordering::SeqCst);
    }

    /// Whether jobs wait for a ledger that has been away for longer than a moment.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst)
    }

    /// The runs that are going on, or wait to.
    pub(super) fn runs(&self) -> Vec<Arc<Run>> {
        let held = self.held();
        let runs = held.iter().filter_map(|held| held.run.clone());
        runs.filter(|run| !run.judged.load(Ordering::SeqCst)).collect()
    }

    /// How long the longest run that goes on here takes already.
    pub(super) fn longest_run(&self) -> Duration {
        let held = self.held();
        let runs = held.iter().filter_map(|held| held.run.as_ref());
        let going_on = runs.filter(|run| !run.judged.load(Ordering::SeqCst));
        let started = going_on.filter_map(|run| run.started.get());
        started.map(Instant::elapsed).max().unwrap_or_default()
    }

    /// The same of all workers of this process.
    pub(super) fn longest_run_of_all(&self) -> Duration {
        self.solitude.longest_run()
    }

    /// A run was judged whose handler has not let go: it still takes a place.
    pub(super) fn judged_overdue(&self) {
        self.overdue.fetch_add(1, Ordering::SeqCst);
    }

    /// The handler let go just before.
    pub(super) fn not_overdue(&self) {
        self.overdue.fetch_sub(1, Ordering::SeqCst);
    }

    /// A handler let go after its run was judged.
    pub(super) fn let_go(&self, queue: &Queue) {
        self.overdue.fetch_sub(1, Ordering::SeqCst);
        self.judged(queue);
    }

    /// How many handlers take a place without a job.
    pub(super) fn overdue(&self) -> usize {
        self.overdue.load(Ordering::SeqCst)
    }

    /// These claims may run. If an older run of one of their jobs goes on here, it lost the job
    /// and did not learn so: it ends.
    pub(super) fn admitted(&self, runs: &[Arc<Run>]) {
        let mut held = self.held();
        for run in runs {
            self.starts(&mut held, &run.lease, Some(run));
        }
    }

    fn starts(&self, held: &mut Jobs, lease: &Lease, run: Option<&Arc<Run>>) {
        if let Some(mut older) = held.starts(lease, run) {
            self.lose(&mut older);
        }
    }

    /// A handler has the job now.
    pub(super) fn started(&self, queue: &Queue) {
        self.buffered.fetch_sub(1, Ordering::SeqCst);
        if self.lanes.unbuffered(queue) {
            self.note_change();
        }
    }

    /// A job that never reached a handler was judged.
    pub(super) fn judged_unstarted(&self, queue: &Queue) {
        self.buffered.fetch_sub(1, Ordering::SeqCst);
        self.lanes.unbuffered(queue);
        self.judged(queue);
    }

    /// A job was judged.
    pub(super) fn judged(&self, queue: &Queue) {
        let matters = self.lanes.judged(queue);
        self.active.fetch_sub(1, Ordering::SeqCst);
        if matters {
            self.note_change();
        }
    }

    /// Ledger and broker know what became of these jobs.
    pub(super) fn settled(&self, leases: impl Iterator<Item = Lease>) {
        let mut held = self.held();
        for lease in leases {
            held.remove(&lease);
        }
        drop(held);
        self.note_change();
    }

    /// Cancels the runs whose leases were lost.
    pub(super) fn lost<'a>(&self, leases: impl Iterator<Item = &'a Lease>) {
        let mut held = self.held();
        for lease in leases {
            if let Some(entry) = held.get_mut(lease) {
                self.lose(entry);
            }
        }
    }

    fn lose(&self, entry: &mut Held) {
        entry.cancelled.cancel();
        let known = std::mem::replace(&mut entry.lost, true);
        if let Some(lost) = self.lost.as_ref().filter(|_| !known) {
            let _ = lost.send((entry.lease.id, entry.lease.token));
        }
    }

    /// Cancels every run.
    pub(super) fn cancel_all(&self) {
        for entry in self.held().iter() {
            entry.cancelled.cancel();
        }
    }

    /// Every lease held, by queue.
    pub(super) fn leases(&self) -> HashMap<Queue, Vec<Lease>> {
        let mut by_queue: HashMap<Queue, Vec<Lease>> = HashMap::new();
        for entry in self.held().iter() {
            by_queue.entry(entry.queue.clone()).or_default().push(entry.lease.clone());
        }
        by_queue
    }

    /// The jobs held of one queue, without those whose runs were cancelled.
    pub(super) fn held_in(&self, queue: &Queue) -> Vec<HeldJob> {
        self.held()
            .iter()
            .filter(|held| held.queue == *queue && !held.cancelled.is_cancelled())
            .map(|held| HeldJob { lease: held.lease.clone(), run: held.run.clone() })
            .collect()
    }

    /// Whether a lease is held: its settling is not acknowledged yet.
    pub(super) fn holds(&self, lease: &Lease) -> bool {
        self.held().get(lease).is_some()
    }

    /// Jobs claimed and not yet judged.
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Jobs claimed and waiting for a handler.
    pub(super) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::SeqCst)
    }

    /// Jobs of a queue that wait for a handler.
    pub(super) fn buffered_of(&self, queue: &Queue) -> usize {
        self.lanes.buffered(queue)
    }

    /// Whoever waits for a change need not be told of a queue's jobs while more than so many of them
    /// wait for a handler.
    pub(super) fn is_enough(&self, queue: &Queue, buffered: usize) {
        self.lanes.is_enough(queue, buffered);
    }

    /// Jobs of a queue judged since the last call.
    pub(super) fn take_ended(&self, queue: &Queue) -> usize {
        self.lanes.take_ended(queue)
    }

    /// Jobs held at all, until their settling is acknowledged.
    pub(super) fn len(&self) -> usize {
        let held = self.held();
        held.by_id.len() + held.doubles.len()
    }

    /// How many more jobs of a queue may be claimed, `ahead` of them before a place is free.
    pub(super) fn room(&self, queue: &Queue, ahead: usize) -> usize {
        if self.solitude.is_taken() {
            return 0;
        }
        let unsettled = self.len().saturating_sub(self.active() + self.aside());
        let room = UNSETTLED_MAX.saturating_sub(unsettled);
        self.lanes.room(queue, ahead).min(room)
    }

    pub(super) fn note_change(&self) {
        self.changed.notify_one();
        self.quieter.notify_one();
    }

    /// Returns when any count may have changed since the last call, unless
    /// [enough](Self::is_enough) wait. For one caller only.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when `done` says so; asked again whenever a count changes.
    pub(super) async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            // Bounded, since another caller may get the notification meant for us.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.quieter.notified()).await;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::job::{DecodeError, Token, WorkerId};

    pub(in crate::worker) fn delivery(sequence: u64) -> Delivery {
        Delivery {
            queue: Queue::parse("connector_sync").unwrap(),
            lease: Lease {
                id: "0198f3a0-0000-7000-8000-000000000001".parse().unwrap(),
                token: Token { generation: 1, sequence },
                worker: WorkerId::from_text("w"),
            },
            envelope: Err(DecodeError::TooLong(0)),
            flagged: true,
            orphaned: 0,
            quarantined: false,
            epoch: 0,
        }
    }

    #[test]
    fn a_job_that_comes_back_ends_its_older_run_once_the_newer_may_start() {
        let inflight = InFlight::default();
        let older = inflight.claimed(&[delivery(1)]).remove(0);
        let newer = inflight.claimed(&[delivery(2)]).remove(0);
        assert_eq!(inflight.len(), 2, "the leases of both are renewed");
        assert!(!older.is_cancelled(), "the ledger has not decided yet");
        inflight.starts(&mut inflight.held(), &delivery(2).lease, None);
        assert!(older.is_cancelled());
        assert!(!newer.is_cancelled());
        inflight.settled(std::iter::once(delivery(1).lease));
        assert_eq!(inflight.len(), 1, "the newer run is still held");
    }

    #[test]
    fn a_claim_that_the_ledger_refuses_leaves_the_older_run_alone() {
        let inflight = InFlight::default();
        let older = inflight.claimed(&[delivery(1)]).remove(0);
        inflight.claimed(&[delivery(2)]);
        inflight.settled(std::iter::once(delivery(2).lease));
        assert!(!older.is_cancelled());
        assert!(inflight.holds(&delivery(1).lease));
        assert_eq!(inflight.len(), 1);
    }
}

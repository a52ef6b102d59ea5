//! The embedded broker: everything in this process's memory.
//!
//! It needs no service, and loses everything with its process; the ledger fills it again, as it
//! fills a Redis that was wiped. It keeps every promise that the Redis broker keeps, and is the
//! model in that broker's tests.

mod gate;
mod lane;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use self::lane::{Claim, Lane};
use super::quota::{self, Vessel};
use super::slots::{self, Slots};
use super::{
    BLOCK_MAX, Breaker, Broker, Call, Claimed, Depth, Error, Gate, Lease, Observed, Place,
    Presence, Pulse, Push, Pushed, ROSTER_MAX, Reap, Reasserted, Reassertion, Refill, Removed,
    Renewed, Room, Scope, Settled, Settlement, Tally, WINDOW,
};
use crate::clock::SharedClock;
use crate::job::{Hold, JobId, Queue, Timestamp, Turn, WorkerId};

/// A broker in memory. Clones are handles to the same broker.
#[derive(Clone)]
pub struct MemoryBroker {
    clock: SharedClock,
    window: usize,
    state: Arc<Mutex<State>>,
    woken: Arc<Notify>,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Queue, Lane>,
    workers: HashSet<WorkerId>,
    /// The queues whose jobs this process runs.
    served: HashSet<Queue>,
    /// What processes say of themselves, and until when each is believed.
    roster: HashMap<WorkerId, (Timestamp, Presence)>,
    /// Until when somebody does them.
    chores: HashMap<String, Timestamp>,
    /// Until when accounts are blocked.
    blocks: HashMap<Uuid, Timestamp>,
    retries: HashMap<Queue, Slots>,
    vessels: HashMap<Scope, Vessel>,
    /// As many vessels as there may be before those that say nothing are thrown out.
    vessels_max: usize,
    /// Whether its memory was lost under workers that live.
    wiped: bool,
}

/// Fewest vessels that are looked through for those that say nothing.
const VESSELS_MIN: usize = 1_000;

impl State {
    fn blocked(&self, account: Option<Uuid>, now: Timestamp) -> Option<Timestamp> {
        self.blocks.get(&account?).copied().filter(|until| *until > now)
    }

    fn take_room(&mut self, call: &Call, now: Timestamp) -> Room {
        match self.blocked(call.account, now) {
            Some(until) => Room::Blocked(until),
            None => quota::ask(call, &mut self.vessels, now),
        }
    }

    fn look_for_room(&self, call: &Call, now: Timestamp) -> Room {
        let of = |scope: &Scope| Some((scope.clone(), *self.vessels.get(scope)?));
        let mut copy = call.quotas.iter().filter_map(|(scope, _)| of(scope)).collect();
        match self.blocked(call.account, now) {
            Some(until) => Room::Blocked(until),
            None => quota::ask(call, &mut copy, now),
        }
    }

    /// Each time that they have doubled, so that it costs each call next to nothing.
    fn throw_out_empty(&mut self, now: Timestamp) {
        if self.vessels.len() >= self.vessels_max.max(VESSELS_MIN) {
            self.vessels.retain(|_, vessel| !vessel.is_over(now));
            self.vessels_max = self.vessels.len() * 2;
        }
    }
}

impl MemoryBroker {
    /// An empty broker that tells the time by `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, window: WINDOW, state: Arc::default(), woken: Arc::default() }
    }

    /// Lets so many jobs wait in each queue's window; the rest waits in the ledger.
    #[must_use]
    pub fn with_window(mut self, jobs: usize) -> Self {
        self.window = jobs;
        self
    }

    /// Forgets a worker, as if its connection were gone; its leases stay until they are reaped.
    ///
    /// A worker is known from its first claim on.
    pub fn disconnect(&self, worker: &WorkerId) {
        self.lock().workers.remove(worker);
    }

    /// Loses everything, as a wiped Redis does: no queue is open afterwards.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.lanes.clear();
        state.blocks.clear();
        state.roster.clear();
        state.retries.clear();
        state.vessels.clear();
        state.wiped = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step in a queue at the present time, and wakes waiters if it left a token.
    fn step<T>(&self, queue: &Queue, step: impl FnOnce(&mut Lane, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let lane = state.lanes.entry(queue.clone()).or_default();
        let answer = step(lane, now);
        let wakes = lane.has_wake();
        drop(state);
        if wakes {
            self.woken.notify_waiters();
        }
        answer
    }

    fn claim_from(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
        alone: bool,
    ) -> Result<Claimed, Error> {
        self.lock().workers.insert(worker.clone());
        let claim = Claim { worker, limit, lease, alone };
        let claimed = self.step(queue, |lane, now| lane.claim(queue, &claim, self.window, now));
        claimed.ok_or_else(|| Error::NeedsGeneration { queue: queue.clone(), held: None })
    }

    fn take_wake(&self, queues: &[Queue]) -> Option<Queue> {
        let mut state = self.lock();
        queues
            .iter()
            .find(|queue| state.lanes.get_mut(*queue).is_some_and(Lane::take_wake))
            .cloned()
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn push(&self, queue: &Queue, jobs: &[Push]) -> Result<Vec<Pushed>, Error> {
        Ok(self.step(queue, |lane, now| lane.push(jobs, self.window, now)))
    }

    async fn claim(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        self.claim_from(queue, worker, limit, lease, false)
    }

    async fn claim_alone(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        self.claim_from(queue, worker, limit, lease, true)
    }

    async fn observe(&self, queue: &Queue, tally: Tally) -> Result<Observed, Error> {
        Ok(self.step(queue, |lane, now| lane.gate.observe(tally, now)))
    }

    async fn switch(&self, queue: &Queue, epoch: u64, to: Breaker) -> Result<bool, Error> {
        Ok(self.step(queue, |lane, _| {
            let switched = lane.gate.switch(epoch, to);
            lane.wake |= switched;
            switched
        }))
    }

    async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), Error> {
        self.step(queue, |lane, _| {
            lane.gate.hold(hold);
            lane.wake = true;
        });
        Ok(())
    }

    async fn shut(&self, queue: &Queue, until: Timestamp) -> Result<(), Error> {
        self.step(queue, |lane, _| lane.gate.shut(until));
        Ok(())
    }

    async fn gates(&self, queues: &[Queue]) -> Result<(Vec<Option<Gate>>, Timestamp), Error> {
        let state = self.lock();
        let gate = |queue| {
            Some(state.lanes.get(queue).map_or_else(Gate::default, |lane| lane.gate.gate()))
        };
        Ok((queues.iter().map(gate).collect(), self.clock.now()))
    }

    async fn settle(&self, queue: &Queue, jobs: &[Settlement]) -> Result<Vec<Settled>, Error> {
        Ok(self.step(queue, |lane, now| lane.settle(jobs, now)))
    }

    async fn renew(
        &self,
        queue: &Queue,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Renewed, Error> {
        Ok(self.step(queue, |lane, now| lane.renew(leases, lease, now)))
    }

    async fn held(&self, queue: &Queue, worker: &WorkerId) -> Result<Vec<Lease>, Error> {
        Ok(self.step(queue, |lane, _| lane.held(worker)))
    }

    async fn reassert(
        &self,
        queue: &Queue,
        jobs: &[Reassertion<'_>],
        lease: Duration,
    ) -> Result<Vec<Reasserted>, Error> {
        Ok(self.step(queue, |lane, now| lane.reassert(jobs, lease, now)))
    }

    async fn reap(&self, queue: &Queue, whose: Reap<'_>) -> Result<Vec<JobId>, Error> {
        Ok(self.step(queue, |lane, now| lane.reap(whose, now)))
    }

    async fn remove(&self, queue: &Queue, id: JobId) -> Result<Removed, Error> {
        Ok(self.step(queue, |lane, _| lane.remove(id)))
    }

    async fn find(&self, queue: &Queue, ids: &[JobId]) -> Result<Vec<Option<Place>>, Error> {
        Ok(self.step(queue, |lane, _| ids.iter().map(|id| lane.find(*id)).collect()))
    }

    async fn depth(&self, queues: &[Queue]) -> Result<Vec<Option<Depth>>, Error> {
        let depth = |queue| self.step(queue, |lane, now| lane.depth(now));
        Ok(queues.iter().map(|queue| Some(depth(queue))).collect())
    }

    async fn open(&self, queue: &Queue, generation: u32) -> Result<(), Error> {
        self.step(queue, |lane, _| lane.open(generation));
        Ok(())
    }

    fn is_outlived(&self) -> bool {
        self.lock().wiped
    }

    async fn has_gaps(&self, queues: &[Queue]) -> Result<bool, Error> {
        let state = self.lock();
        let mut lanes = queues.iter().filter_map(|queue| state.lanes.get(queue));
        Ok(lanes.any(|lane| lane.marks.gap().is_some()))
    }

    async fn cutoffs(&self, queues: &[Queue]) -> Result<Vec<Option<Turn>>, Error> {
        let state = self.lock();
        let lane = |queue| state.lanes.get(queue);
        Ok(queues.iter().map(|queue| lane(queue)?.marks.cutoff()).collect())
    }

    async fn begin_refill(&self, queue: &Queue, term: Duration) -> Result<Option<Refill>, Error> {
        Ok(self.step(queue, |lane, now| lane.begin_refill(self.window, term, now)))
    }

    async fn widen(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<bool, Error> {
        Ok(self.step(queue, |lane, _| lane.widen(refill, until)))
    }

    async fn end_refill(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<(), Error> {
        self.step(queue, |lane, _| lane.end_refill(refill, until));
        Ok(())
    }

    async fn wait(&self, queues: &[Queue], timeout: Duration) -> Result<Option<Queue>, Error> {
        let over = tokio::time::sleep(timeout);
        tokio::pin!(over);
        loop {
            let woken = self.woken.notified();
            tokio::pin!(woken);
            // Listening starts before the look, so that no token falls between the two.
            woken.as_mut().enable();
            if let Some(queue) = self.take_wake(queues) {
                return Ok(Some(queue));
            }
            tokio::select! {
                () = &mut over => return Ok(None),
                () = woken => {}
            }
        }
    }

    async fn stirs(&self, queues: &[Queue]) -> Result<bool, Error> {
        let state = self.lock();
        Ok(queues.iter().any(|queue| state.lanes.get(queue).is_none_or(Lane::stirs)))
    }

    async fn leased(&self, queues: &[Queue]) -> Result<bool, Error> {
        let state = self.lock();
        Ok(queues.iter().any(|queue| state.lanes.get(queue).is_some_and(Lane::has_leases)))
    }

    async fn vanished(&self, queues: &[Queue]) -> Result<HashSet<WorkerId>, Error> {
        let state = self.lock();
        let lanes = queues.iter().filter_map(|queue| state.lanes.get(queue));
        let holders = lanes.flat_map(Lane::holders);
        Ok(holders.filter(|holder| !state.workers.contains(*holder)).cloned().collect())
    }

    async fn elect(&self, chore: &str, term: Duration) -> Result<bool, Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        let free = state.chores.get(chore).is_none_or(|until| *until <= now);
        if free {
            state.chores.insert(chore.to_owned(), now.after(term));
        }
        Ok(free)
    }

    async fn block(&self, account: Uuid, until: Timestamp) -> Result<(), Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.blocks.retain(|_, until| *until > now);
        let held = state.blocks.entry(account).or_insert(until);
        *held = until.max(*held).min(now.after(BLOCK_MAX));
        Ok(())
    }

    async fn blocked(&self, accounts: &[Uuid]) -> Result<Vec<Option<Timestamp>>, Error> {
        let now = self.clock.now();
        let state = self.lock();
        Ok(accounts.iter().map(|account| state.blocked(Some(*account), now)).collect())
    }

    async fn take_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.throw_out_empty(now);
        Ok(calls.iter().map(|call| state.take_room(call, now)).collect())
    }

    async fn look_for_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error> {
        let now = self.clock.now();
        let state = self.lock();
        Ok(calls.iter().map(|call| state.look_for_room(call, now)).collect())
    }

    async fn reserve_retries(
        &self,
        queue: &Queue,
        count: u32,
        per_second: f64,
    ) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        let slots = state.retries.entry(queue.clone()).or_default();
        Ok(slots.take(count, slots::apart(per_second), now))
    }

    async fn connected(&self) -> Result<HashSet<WorkerId>, Error> {
        Ok(self.lock().workers.clone())
    }

    fn serves(&self, queues: &[Queue]) {
        self.lock().served.extend(queues.iter().cloned());
    }

    async fn served(&self, queues: &[Queue]) -> Result<Vec<usize>, Error> {
        let state = self.lock();
        Ok(queues.iter().map(|queue| usize::from(state.served.contains(queue))).collect())
    }

    async fn announce(
        &self,
        who: &WorkerId,
        what: &Presence,
        lasts: Duration,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.roster.retain(|_, (until, _)| *until > now);
        state.roster.insert(who.clone(), (now.after(lasts), what.clone()));
        Ok(())
    }

    async fn leave(&self, who: &WorkerId) -> Result<(), Error> {
        self.lock().roster.remove(who);
        Ok(())
    }

    async fn roster(&self) -> Result<Vec<Presence>, Error> {
        let now = self.clock.now();
        let state = self.lock();
        let alive = state.roster.values().filter(|(until, _)| *until > now);
        Ok(alive.map(|(_, what)| what.clone()).take(ROSTER_MAX).collect())
    }

    async fn ahead_of(&self, queue: &Queue, id: JobId) -> Result<Option<u64>, Error> {
        Ok(self.lock().lanes.get(queue).and_then(|lane| lane.ahead_of(id)))
    }

    async fn pulse(&self) -> Result<Pulse, Error> {
        Ok(Pulse { now: self.clock.now(), unbroken: Duration::MAX })
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn dedicated(&self) -> Result<Arc<dyn Broker>, Error> {
        Ok(Arc::new(self.clone()))
    }
}

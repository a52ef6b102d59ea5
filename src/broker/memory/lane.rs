//! One queue's state and every step it can take. Knows no locks and no clock.
//!
//! This is also the model that the Redis scripts are tested against: a step here and a script
//! there must give the same answers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::gate::{Gatekeeper, Passage};
use super::window::Marks;
use crate::broker::{BATCH_MAX, order};
use crate::broker::{
    Claimed, Delivery, Depth, Lease, Place, Push, Pushed, Reap, Reasserted, Reassertion, Removed,
    Renewed, Settled, Settlement, Then,
};
use crate::job::{Envelope, JobId, Queue, Timestamp, Token, WorkerId};

/// Due jobs that are looked at for the oldest.
const OLDEST_AMONG: usize = 100;

/// Most often that vanished workers are counted for one job.
const ORPHANED_MAX: u8 = 9;

/// One queue.
#[derive(Debug, Default)]
pub(super) struct Lane {
    generation: Option<u32>,
    sequence: u64,
    pub(super) jobs: HashMap<JobId, Held>,
    /// By score, the best first.
    pub(super) ready: BTreeSet<(i64, JobId)>,
    /// As in `ready`, but they run alone.
    quarantine: BTreeSet<(i64, JobId)>,
    /// By due time.
    pub(super) delayed: BTreeSet<(i64, JobId)>,
    /// By deadline.
    leased: BTreeSet<(i64, JobId)>,
    pub(super) marks: Marks,
    pub(super) gate: Gatekeeper,
    pub(super) wake: bool,
}

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) worker: &'a WorkerId,
    pub(super) limit: usize,
    pub(super) lease: Duration,
    /// It runs nothing, and takes of a quarantine first.
    pub(super) alone: bool,
}

/// A job and the one place it is in.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) envelope: Envelope,
    /// The generation in which it needs no question to the ledger; `None`: in none.
    fresh_in: Option<u32>,
    orphaned: u8,
    pub(super) spot: Spot,
}

#[derive(Debug)]
pub(super) enum Spot {
    Ready,
    Quarantine,
    Delayed,
    Leased { token: Token, worker: WorkerId, deadline: i64 },
}

impl Lane {
    pub(super) fn push(&mut self, jobs: &[Push], window: usize, now: Timestamp) -> Vec<Pushed> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH_MAX) {
            let mut trims = false;
            for push in batch {
                let pushed = self.push_one(push, now);
                trims |= pushed == Pushed::Added && order::may_wait_elsewhere(&push.envelope);
                answers.push(pushed);
            }
            if trims {
                self.trim(window, now);
            }
        }
        answers
    }

    fn push_one(&mut self, push: &Push, now: Timestamp) -> Pushed {
        let envelope = &push.envelope;
        if self.jobs.contains_key(&envelope.id) {
            return Pushed::Held;
        }
        if order::may_wait_elsewhere(envelope) && self.marks.leave(order::turn(envelope, now)) {
            return Pushed::Left;
        }
        let flagged = push.flagged || now > push.fresh_until;
        let fresh_in = if flagged { None } else { self.generation };
        self.put(envelope.id, envelope.clone(), fresh_in, now);
        Pushed::Added
    }

    /// Claims, or answers the generation held when it is none.
    pub(super) fn claim(
        &mut self,
        queue: &Queue,
        claim: &Claim<'_>,
        window: usize,
        now: Timestamp,
    ) -> Option<Claimed> {
        let Claim { worker, limit, lease, alone } = *claim;
        let generation = self.generation?;
        let asked = limit.min(BATCH_MAX);
        let epoch = self.gate.gate().breaker.epoch;
        let passage = self.gate.passage(now);
        let (limit, again) = match passage {
            Passage::Free => (asked, None),
            Passage::Some(passes, at) => (asked.min(passes), Some(at).filter(|_| passes < asked)),
            Passage::Shut(next_due) => {
                return Some(Claimed { next_due, now, generation, epoch, ..Claimed::default() });
            }
        };
        self.promote(order::promotions(asked), now);
        let shut = matches!(passage, Passage::Some(0, _));
        let quarantined = alone && !self.quarantine.is_empty() && !shut;
        let limit = if quarantined { 1 } else { limit };
        let place = if quarantined { &mut self.quarantine } else { &mut self.ready };
        // A claim that finds nothing takes no number: an idle broker is not written to.
        self.sequence += u64::from(limit > 0 && !place.is_empty());
        let token = Token { generation, sequence: self.sequence };
        let deadline = now.after(lease).as_millis();
        let mut deliveries = Vec::new();
        while deliveries.len() < limit {
            let Some((_, id)) = place.pop_first() else { break };
            let Some(held) = self.jobs.get_mut(&id) else { continue };
            held.spot = Spot::Leased { token, worker: worker.clone(), deadline };
            self.leased.insert((deadline, id));
            deliveries.push(Delivery {
                queue: queue.clone(),
                lease: Lease { id, token, worker: worker.clone() },
                envelope: Ok(held.envelope.clone()),
                flagged: held.fresh_in != Some(generation),
                orphaned: held.orphaned,
                quarantined,
                epoch,
            });
        }
        let first_probes = self.gate.pass(deliveries.len(), now);
        let mut next_due = self.delayed.first().map(|(due, _)| Timestamp::from_millis(*due));
        let mut more = !self.ready.is_empty() || next_due.is_some_and(|due| due <= now);
        if let Some(at) = again.filter(|_| more) {
            (more, next_due) = (false, Some(at));
        }
        self.wake |= more;
        Some(Claimed {
            deliveries,
            next_due,
            now,
            more,
            quarantined: !self.quarantine.is_empty(),
            generation,
            beyond: self.beyond(window, now),
            epoch,
            first_probes,
        })
    }

    pub(super) fn settle(&mut self, settlements: &[Settlement], now: Timestamp) -> Vec<Settled> {
        settlements
            .iter()
            .map(|settlement| {
                if !self.holds(&settlement.lease) {
                    return Settled::Stale;
                }
                let id = settlement.lease.id;
                let Some(held) = self.take(id) else { return Settled::Stale };
                match &settlement.then {
                    Then::Gone => {}
                    Then::Again(again) => {
                        self.put(id, (**again).clone(), None, now);
                    }
                    Then::Back => self.put_back(id, held, Spot::Ready),
                    Then::Quarantine => self.put_back(id, held, Spot::Quarantine),
                    Then::Later(until) => {
                        self.put(id, held.envelope.due_at(*until), None, now);
                        if let Some(waits) = self.jobs.get_mut(&id) {
                            waits.orphaned = held.orphaned;
                        }
                    }
                }
                Settled::Done
            })
            .collect()
    }

    pub(super) fn renew(&mut self, leases: &[Lease], length: Duration, now: Timestamp) -> Renewed {
        let until = now.after(length).as_millis();
        let absurd = now.after(length.saturating_mul(10)).as_millis();
        let held =
            leases.iter().map(|lease| self.holds(lease) && self.lengthen(lease.id, until, absurd));
        Renewed { held: held.collect(), generation: self.generation }
    }

    pub(super) fn reassert(
        &mut self,
        jobs: &[Reassertion<'_>],
        length: Duration,
        now: Timestamp,
    ) -> Vec<Reasserted> {
        let until = now.after(length).as_millis();
        let absurd = now.after(length.saturating_mul(10)).as_millis();
        jobs.iter().map(|job| self.reassert_one(*job, until, absurd)).collect()
    }

    pub(super) fn held(&self, worker: &WorkerId) -> Vec<Lease> {
        let leases = self.jobs.iter().filter_map(|(id, held)| match &held.spot {
            Spot::Leased { token, worker: holder, .. } if holder == worker => {
                Some(Lease { id: *id, token: *token, worker: holder.clone() })
            }
            _ => None,
        });
        leases.collect()
    }

    pub(super) fn reap(&mut self, whose: Reap<'_>, now: Timestamp) -> Vec<JobId> {
        let ids: Vec<JobId> = self
            .leased
            .iter()
            .take_while(|(deadline, _)| match whose {
                Reap::Expired => *deadline <= now.as_millis(),
                Reap::ExpiredBy(time) => *deadline <= time.as_millis(),
                Reap::Worker(_) => true,
            })
            .map(|(_, id)| *id)
            .filter(|id| match whose {
                Reap::Expired | Reap::ExpiredBy(_) => true,
                Reap::Worker(gone) => self.holder(*id) == Some(gone),
            })
            .take(BATCH_MAX)
            .collect();
        for id in &ids {
            if let Some(mut held) = self.take(*id) {
                // An expired lease says nothing about its worker.
                let crashed = u8::from(matches!(whose, Reap::Worker(_)));
                held.orphaned = ORPHANED_MAX.min(held.orphaned + crashed);
                self.put_back(*id, held, Spot::Ready);
            }
        }
        ids
    }

    pub(super) fn remove(&mut self, id: JobId) -> Removed {
        match self.jobs.get(&id).map(|held| &held.spot) {
            None => Removed::Absent,
            Some(Spot::Leased { .. }) => Removed::Running,
            Some(Spot::Ready | Spot::Quarantine | Spot::Delayed) => {
                self.take(id);
                Removed::Removed
            }
        }
    }

    pub(super) fn find(&self, id: JobId) -> Option<Place> {
        self.jobs.get(&id).map(|held| match &held.spot {
            Spot::Ready | Spot::Quarantine => Place::Ready,
            Spot::Delayed => Place::Delayed(Timestamp::from_millis(order::due_ms(&held.envelope))),
            Spot::Leased { worker, .. } => Place::Running(worker.clone()),
        })
    }

    pub(super) fn ahead_of(&self, id: JobId) -> Option<u64> {
        self.ready.iter().position(|(_, other)| *other == id).map(count)
    }

    pub(super) fn depth(&self, now: Timestamp) -> Depth {
        let due = self.delayed.iter().take_while(|(due, _)| *due <= now.as_millis()).count();
        let oldest = self
            .ready
            .iter()
            .take(OLDEST_AMONG)
            .filter_map(|(_, id)| self.jobs.get(id))
            .map(|held| order::due_ms(&held.envelope))
            .chain(self.delayed.first().map(|(due, _)| *due))
            .min();
        let oldest = oldest.map_or(now, Timestamp::from_millis);
        Depth {
            ready: count(self.ready.len() + self.quarantine.len() + due),
            delayed: count(self.delayed.len() - due),
            running: count(self.leased.len()),
            oldest_ready_age: now.since(oldest),
            beyond: self.marks.gap().is_some(),
        }
    }

    /// Allows claims in `generation`, unless a later one is open already.
    pub(super) fn open(&mut self, generation: u32) {
        if self.generation.is_some_and(|held| held >= generation) {
            return;
        }
        self.generation = Some(generation);
        self.sequence = 0;
        self.marks.lose();
        self.wake = true;
    }

    /// Whether a claim may have something to do.
    pub(super) fn stirs(&self) -> bool {
        let waiting = self.ready.len() + self.quarantine.len() + self.delayed.len();
        waiting > 0 || self.generation.is_none() || self.marks.gap().is_some()
    }

    pub(super) fn has_leases(&self) -> bool {
        !self.leased.is_empty()
    }

    /// Who holds leases of the present generation, one entry a lease.
    pub(super) fn holders(&self) -> impl Iterator<Item = &WorkerId> {
        self.jobs.values().filter_map(|held| match &held.spot {
            Spot::Leased { token, worker, .. } if Some(token.generation) == self.generation => {
                Some(worker)
            }
            _ => None,
        })
    }

    /// Takes the wake token, if there is one.
    pub(super) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake)
    }

    pub(super) fn has_wake(&self) -> bool {
        self.wake
    }

    /// Puts a job where its time says, and wakes a waiter if that changes what he waits for.
    fn put(&mut self, id: JobId, envelope: Envelope, fresh_in: Option<u32>, now: Timestamp) {
        let due = order::due_ms(&envelope);
        let spot = if due <= now.as_millis() {
            self.ready.insert((order::score(&envelope), id));
            self.wake = true;
            Spot::Ready
        } else {
            self.wake |= self.delayed.first().is_none_or(|(earliest, _)| due < *earliest);
            self.delayed.insert((due, id));
            Spot::Delayed
        };
        self.jobs.insert(id, Held { envelope, fresh_in, orphaned: 0, spot });
    }

    /// Makes a job that was claimed due again, flagged, whatever its time says.
    fn put_back(&mut self, id: JobId, held: Held, spot: Spot) {
        let place = match spot {
            Spot::Quarantine => &mut self.quarantine,
            Spot::Ready | Spot::Delayed | Spot::Leased { .. } => &mut self.ready,
        };
        place.insert((order::score(&held.envelope), id));
        self.jobs.insert(id, Held { fresh_in: None, spot, ..held });
        self.wake = true;
    }

    fn reassert_one(&mut self, job: Reassertion<'_>, deadline: i64, absurd: i64) -> Reasserted {
        let Reassertion { lease, envelope } = job;
        if self.holds(lease) && self.lengthen(lease.id, deadline, absurd) {
            return Reasserted::Held;
        }
        if let Some(Spot::Leased { token, .. }) = self.jobs.get(&lease.id).map(|held| &held.spot)
            && *token >= lease.token
        {
            return Reasserted::Taken;
        }
        let orphaned = self.take(lease.id).map_or(0, |held| held.orphaned);
        let spot = Spot::Leased { token: lease.token, worker: lease.worker.clone(), deadline };
        self.leased.insert((deadline, lease.id));
        let held = Held { envelope: envelope.clone(), fresh_in: None, orphaned, spot };
        self.jobs.insert(lease.id, held);
        Reasserted::Held
    }

    pub(super) fn take(&mut self, id: JobId) -> Option<Held> {
        let held = self.jobs.remove(&id)?;
        match held.spot {
            Spot::Ready => self.ready.remove(&(order::score(&held.envelope), id)),
            Spot::Quarantine => self.quarantine.remove(&(order::score(&held.envelope), id)),
            Spot::Delayed => self.delayed.remove(&(order::due_ms(&held.envelope), id)),
            Spot::Leased { deadline, .. } => self.leased.remove(&(deadline, id)),
        };
        Some(held)
    }

    pub(super) fn promote(&mut self, most: usize, now: Timestamp) {
        for _ in 0..most {
            match self.delayed.first() {
                Some((due, _)) if *due <= now.as_millis() => {}
                _ => return,
            }
            let Some((_, id)) = self.delayed.pop_first() else { return };
            let Some(held) = self.jobs.get_mut(&id) else { continue };
            held.spot = Spot::Ready;
            self.ready.insert((order::score(&held.envelope), id));
        }
    }

    /// Moves a lease's end to `until`, unless it ends later; one that ends after `absurd` was
    /// granted before the clock went back.
    fn lengthen(&mut self, id: JobId, until: i64, absurd: i64) -> bool {
        let Some(Spot::Leased { deadline, .. }) = self.jobs.get_mut(&id).map(|held| &mut held.spot)
        else {
            return false;
        };
        if until > *deadline || *deadline > absurd {
            self.leased.remove(&(*deadline, id));
            *deadline = until;
            self.leased.insert((until, id));
        }
        true
    }

    fn holds(&self, lease: &Lease) -> bool {
        matches!(
            self.jobs.get(&lease.id).map(|held| &held.spot),
            Some(Spot::Leased { token, worker, .. })
                if *token == lease.token && *worker == lease.worker
        )
    }

    fn holder(&self, id: JobId) -> Option<&WorkerId> {
        match &self.jobs.get(&id)?.spot {
            Spot::Leased { worker, .. } => Some(worker),
            Spot::Ready | Spot::Quarantine | Spot::Delayed => None,
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

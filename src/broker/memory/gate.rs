//! A queue's gate in memory; also the model that the Redis scripts are tested against.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::gate::ramp;
use crate::broker::{
    Breaker, CALLS_OVER, Gate, Observed, PROBE_TERM, PROBES, Phase, RAMP_STEP, Tally,
};
use crate::job::{Hold, Timestamp};

/// A limited queue is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A gate, and what went through it.
#[derive(Debug, Default)]
pub(super) struct Gatekeeper {
    gate: Gate,
    /// Probes left, and since when.
    probes: Option<(u32, Timestamp)>,
    /// Jobs that passed while the breaker was closing.
    ramped: u64,
    /// Calls and bad ones, by the second.
    calls: BTreeMap<i64, (u32, u32)>,
}

/// What a gate lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nothing; perhaps from then on.
    Shut(Option<Timestamp>),
    /// Whatever is asked for.
    Free,
    /// So many; more perhaps from then on.
    Some(usize, Timestamp),
}

impl Gatekeeper {
    pub(super) fn gate(&self) -> Gate {
        self.gate
    }

    pub(super) fn passage(&self, now: Timestamp) -> Passage {
        if self.gate.hold.paused || self.gate.hold.forced_open {
            return Passage::Shut(None);
        }
        if let Some(at) = self.gate.opens_at(now) {
            return Passage::Shut(Some(at));
        }
        match self.gate.breaker.phase {
            Phase::Opened { .. } => {
                let (left, since) = self.present_probes(now);
                Passage::Some(left as usize, since.after(PROBE_TERM))
            }
            Phase::Closing { since } if now < since.after(2 * RAMP_STEP) => {
                let passed = ramp(self.gate.breaker.rate, now.since(since));
                let left = passed.saturating_sub(self.ramped);
                Passage::Some(usize::try_from(left).unwrap_or(usize::MAX), now.after(LOOK_AGAIN))
            }
            Phase::Closing { .. } | Phase::Closed => Passage::Free,
        }
    }

    /// Takes note of jobs that pass; answers whether they are the first probes.
    pub(super) fn pass(&mut self, jobs: usize, now: Timestamp) -> bool {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        match self.gate.breaker.phase {
            Phase::Opened { .. } if jobs > 0 => {
                let (left, since) = self.present_probes(now);
                self.probes.replace((left.saturating_sub(jobs), since)).is_none()
            }
            Phase::Closing { .. } => {
                self.ramped += u64::from(jobs);
                false
            }
            Phase::Opened { .. } | Phase::Closed => false,
        }
    }

    fn present_probes(&self, now: Timestamp) -> (u32, Timestamp) {
        self.probes.filter(|(_, since)| now < since.after(PROBE_TERM)).unwrap_or((PROBES, now))
    }

    pub(super) fn observe(&mut self, tally: Tally, now: Timestamp) -> Observed {
        let second = now.as_millis().div_euclid(1_000);
        if tally.epoch == self.gate.breaker.epoch && tally.calls > 0 {
            let (calls, bad) = self.calls.entry(second).or_default();
            *calls = calls.saturating_add(tally.calls);
            *bad = bad.saturating_add(tally.bad);
        }
        if !matches!(self.gate.breaker.phase, Phase::Opened { .. }) {
            let over = i64::try_from(CALLS_OVER.as_secs()).unwrap_or(i64::MAX);
            self.calls = self.calls.split_off(&(second - over + 1));
        }
        let (calls, bad) =
            self.calls.values().fold((0_u32, 0_u32), |(calls, bad), (more, worse)| {
                (calls.saturating_add(*more), bad.saturating_add(*worse))
            });
        Observed { now, gate: self.gate, calls, bad }
    }

    /// Changes the breaker, if it is still in this epoch; answers whether it was.
    pub(super) fn switch(&mut self, epoch: u64, to: Breaker) -> bool {
        if self.gate.breaker.epoch != epoch {
            return false;
        }
        self.gate.breaker = Breaker { epoch: epoch + 1, ..to };
        self.probes = None;
        self.ramped = 0;
        self.calls.clear();
        true
    }

    pub(super) fn hold(&mut self, hold: Hold) {
        if hold.revision >= self.gate.hold.revision {
            self.gate.hold = hold;
        }
    }

    /// Shuts it until then, if it is not shut for longer.
    pub(super) fn shut(&mut self, until: Timestamp) {
        self.gate.shut_until = self.gate.shut_until.max(Some(until));
    }
}

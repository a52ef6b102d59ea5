//! A lane's bounded window: putting jobs out, and the marks between window and ledger.

use std::time::Duration;

use uuid::Uuid;

use super::lane::{Lane, Spot};
use crate::broker::{BATCH_MAX, Beyond, Refill, order};
use crate::job::{JobId, Timestamp, Turn};

/// The marks between what is held and what waits in the ledger only.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// From here on the ledger may have jobs that are not held.
    gap: Option<Turn>,
    /// From here on pushes are left to the ledger.
    cutoff: Option<Turn>,
    /// The refill under way, and when another may begin.
    round: Option<(String, Timestamp)>,
}

impl Marks {
    /// Nothing is known to be held; a refill under way knows nothing of that.
    pub(super) fn lose(&mut self) {
        self.gap = Some(Turn::FIRST);
        self.round = None;
    }

    pub(super) fn leave(&self, turn: Turn) -> bool {
        self.cutoff.is_some_and(|cutoff| turn >= cutoff)
    }

    pub(super) fn gap(&self) -> Option<Turn> {
        self.gap
    }

    pub(super) fn cutoff(&self) -> Option<Turn> {
        self.cutoff
    }

    fn lower(&mut self, to: Turn) {
        self.gap = Some(self.gap.map_or(to, |gap| gap.min(to)));
        self.cutoff = Some(self.cutoff.map_or(to, |cutoff| cutoff.min(to)));
    }

    fn is_latest(&self, refill: &Refill) -> bool {
        self.round.as_ref().is_some_and(|(round, _)| *round == refill.round)
    }
}

impl Lane {
    /// Puts out what is too many for a window of `window` jobs, the last ones first; leased jobs
    /// and those recorded nowhere else stay.
    pub(super) fn trim(&mut self, window: usize, now: Timestamp) {
        while self.waiting() > window {
            let mut excess = (self.waiting() - window).min(BATCH_MAX);
            // What is not due yet goes first.
            let out = self.last_delayed(excess, now);
            excess -= out.len();
            let mut first = self.put_out(&out);
            if excess > 0 {
                // What fell due since the last claim has its place among the due ones.
                self.promote(BATCH_MAX, now);
                let out = self.last_ready(excess);
                first = self.put_out(&out).or(first);
            }
            match first {
                Some(first) => self.marks.lower(first),
                None => return,
            }
        }
    }

    fn last_delayed(&self, most: usize, now: Timestamp) -> Vec<JobId> {
        let later = self.delayed.iter().rev().take_while(|(due, _)| *due > now.as_millis());
        self.that_may_go(later, most)
    }

    fn last_ready(&self, most: usize) -> Vec<JobId> {
        self.that_may_go(self.ready.iter().rev(), most)
    }

    fn that_may_go<'a>(
        &self,
        last: impl Iterator<Item = &'a (i64, JobId)>,
        most: usize,
    ) -> Vec<JobId> {
        let may_go = |id: &JobId| {
            self.jobs.get(id).is_none_or(|held| order::may_wait_elsewhere(&held.envelope))
        };
        last.take(BATCH_MAX).map(|(_, id)| *id).filter(may_go).take(most).collect()
    }

    /// Takes jobs out, the last ones first; answers the turn of the first of them.
    fn put_out(&mut self, jobs: &[JobId]) -> Option<Turn> {
        let mut first = None;
        for id in jobs {
            if let Some(held) = self.take(*id) {
                let at_ms = match held.spot {
                    Spot::Ready | Spot::Quarantine => order::score(&held.envelope),
                    Spot::Delayed | Spot::Leased { .. } => order::due_ms(&held.envelope),
                };
                first = Some(Turn { at_ms, id: *id });
            }
        }
        first
    }

    fn waiting(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// How many jobs before the gap wait, as far as it takes to know whether they are more than
    /// `enough`.
    fn held_before(&self, gap: Turn, enough: usize, now: Timestamp) -> usize {
        // Nothing is known to be held if the gap begins before everything.
        if gap == Turn::FIRST {
            return 0;
        }
        let until = gap.at_ms.max(now.as_millis());
        let delayed = self.delayed.iter().take_while(|(due, _)| *due <= until);
        let more = enough.saturating_add(1).saturating_sub(self.ready.len());
        self.ready.len() + delayed.take(more).count()
    }

    /// What the ledger may have for the window.
    pub(super) fn beyond(&self, window: usize, now: Timestamp) -> Beyond {
        let enough = order::low_water(window);
        match self.marks.gap {
            None => Beyond::Nothing,
            Some(gap) if self.held_before(gap, enough, now) <= enough => Beyond::Low,
            Some(_) => Beyond::More,
        }
    }

    pub(super) fn begin_refill(
        &mut self,
        window: usize,
        term: Duration,
        now: Timestamp,
    ) -> Option<Refill> {
        let from = self.marks.gap?;
        let under_way = self.marks.round.as_ref().is_some_and(|(_, until)| *until > now);
        if under_way || self.beyond(window, now) != Beyond::Low {
            return None;
        }
        let round = Uuid::new_v4().simple().to_string();
        self.marks.round = Some((round.clone(), now.after(term)));
        let room = window - self.held_before(from, order::low_water(window), now);
        Some(Refill { round, from, room })
    }

    pub(super) fn widen(&mut self, refill: &Refill, until: Option<Turn>) -> bool {
        // Jobs before the gap that were put out since would be left behind.
        let goes_on = self.marks.is_latest(refill) && self.marks.gap == Some(refill.from);
        if goes_on {
            self.marks.cutoff = until;
        }
        goes_on
    }

    pub(super) fn end_refill(&mut self, refill: &Refill, until: Option<Turn>) {
        if self.marks.is_latest(refill) {
            let marks = [until, self.marks.cutoff];
            self.marks.gap = marks.into_iter().flatten().min();
            self.marks.round = None;
        }
    }
}

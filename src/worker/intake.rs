//! Where claimed jobs go once it is known what becomes of them: to the places, or back.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::admit::{Admitted, handed_back, put_off};
use super::inflight::InFlight;
use super::judge::judge;
use super::places::Places;
use super::run::{Ended, Judgement, Run};
use crate::broker::Delivery;
use crate::clock::SharedClock;
use crate::job::Timestamp;

/// Takes claimed jobs further.
pub(super) struct Intake {
    pub(super) inflight: Arc<InFlight>,
    pub(super) places: Arc<Places>,
    pub(super) judgements: mpsc::UnboundedSender<Judgement>,
    pub(super) clock: SharedClock,
}

impl Intake {
    /// Lets the jobs that run wait for a place, and has the others settled.
    pub(super) fn hand_on(&self, admitted: Admitted) {
        for judgement in admitted.judged {
            self.judged(judgement);
        }
        let runs: Vec<Arc<Run>> = admitted.runs.into_iter().map(Arc::new).collect();
        self.inflight.admitted(&runs);
        if crate::planted!(AckBeforeRun) {
            for run in &runs {
                let _ = self.judgements.send(self.unearned(run));
            }
        }
        self.places.put(runs);
    }

    /// Lets a job wait in the broker, at no attempt's cost.
    pub(super) fn put_off(&self, delivery: Delivery, until: Timestamp) {
        self.judged(put_off(delivery, until));
    }

    /// The same of a job that was set aside.
    pub(super) fn put_off_aside(&self, delivery: Delivery, until: Timestamp) {
        self.inflight.left_aside();
        let _ = self.judgements.send(put_off(delivery, until));
    }

    /// Lets another worker have a job that has not begun.
    pub(super) fn hand_back(&self, delivery: Delivery) {
        self.judged(handed_back(delivery));
    }

    fn judged(&self, judgement: Judgement) {
        self.inflight.judged_unstarted(&judgement.queue);
        let _ = self.judgements.send(judgement);
    }

    /// The judgement of a job that did what it should, about one that has not begun: a planted bug.
    fn unearned(&self, run: &Run) -> Judgement {
        let now = self.clock.now();
        judge(run, &Ended::Answered { started_at: now, ended_at: now, result: Ok(()) }, 0.0).0
    }
}

//! What happens with every run that ended: it is judged, counted and sent to be recorded, once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::Level;

use super::blocks::Blocks;
use super::inflight::InFlight;
use super::judge::judge;
use super::meter::Meter;
use super::places::Places;
use super::run::{Ended, Judgement, Run};
use super::settle::Recordable;
use super::standstill::Standstill;
use super::tempo::Tempo;
use crate::gate::breaker::Took;
use crate::gate::watch::Watch;
use crate::job::{ErrorClass, JobError, Outcome, Queue, RateScope, Reason, TraceParent};

/// Where runs end.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) inflight: Arc<InFlight>,
    pub(super) places: Arc<Places>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) meter: Arc<Meter>,
    pub(super) watch: Arc<Watch>,
    pub(super) tempo: Arc<Tempo>,
    pub(super) standstill: Arc<Standstill>,
    /// Every queue that jobs can be routed to.
    pub(super) queues: Arc<[Queue]>,
    pub(super) judgements: mpsc::UnboundedSender<Judgement>,
    pub(super) effects: mpsc::UnboundedSender<Recordable>,
}

impl Ends {
    /// A handler ended, or was dropped.
    pub(super) fn ended(&self, run: &Run, ended: &Ended) {
        if run.judged.swap(true, Ordering::SeqCst) {
            self.inflight.let_go(&run.cx.queue);
            self.places.freed(&run.cx.queue);
            return;
        }
        let judgement = self.judged(run, ended);
        self.inflight.judged(&run.cx.queue);
        self.places.freed(&run.cx.queue);
        self.record(run, judgement);
    }

    /// A handler goes on although its attempt is over.
    pub(super) fn overdue(&self, run: &Run, ended: &Ended) {
        // Before the mark, after which the handler may say that it let go.
        self.inflight.judged_overdue();
        if run.judged.swap(true, Ordering::SeqCst) {
            self.inflight.not_overdue();
            return;
        }
        let judgement = self.judged(run, ended);
        self.record(run, judgement);
    }

    fn judged(&self, run: &Run, ended: &Ended) -> Judgement {
        let jitter = rand::random();
        // A handler's error is foreign code, and is asked here for its words. Without a judgement
        // the job would be neither run nor given back.
        let judging = AssertUnwindSafe(|| judge(run, ended, jitter));
        let (judgement, outcome) =
            catch_unwind(judging).unwrap_or_else(|_| judge(run, &without_words(ended), jitter));
        if let Some(outcome) = outcome {
            observe(run, ended, &outcome, &self.meter);
            self.tempo.ended(&run.cx.queue, ended);
        }
        if let Ended::Answered { started_at, ended_at, result } = ended {
            let result = result.as_ref().map(|&()| ());
            // A process that stood still knows nothing of its platform's health.
            if !run.started.get().is_some_and(|start| self.standstill.since(*start)) {
                let whole = ended_at.since(*started_at);
                let took = Took { whole, calling: run.cx.breaker.called_for() };
                self.watch.note(&run.cx.queue, run.epoch, result, took);
            }
        }
        self.heed_limit(run, ended, judgement)
    }

    /// Lets others wait, too, when a platform said that it has had enough. The jobs of the account
    /// that were under way together come back one after the other.
    fn heed_limit(&self, run: &Run, ended: &Ended, mut judgement: Judgement) -> Judgement {
        let Ended::Answered { ended_at, result: Err(error), .. } = ended else { return judgement };
        let ErrorClass::RateLimited { until, scope } = error.class() else { return judgement };
        let queue = &run.cx.queue;
        match (scope, run.envelope.account) {
            (RateScope::Account, Some(account)) => {
                self.blocks.block(account, until);
                let turn = self.blocks.put_off(Some(account));
                if let Some(at) = turn.filter(|at| *at > until && *at < run.expires_at()) {
                    judgement.run_at(at, *ended_at);
                }
            }
            // Whose account it was is not known.
            (RateScope::Account, None) => {}
            (RateScope::Endpoint, _) => self.watch.shut(queue, until, *ended_at),
            (RateScope::App, _) => {
                let same = |other: &&Queue| other.platform() == queue.platform();
                for sibling in self.queues.iter().filter(same) {
                    self.watch.shut(sibling, until, *ended_at);
                }
            }
        }
        judgement
    }

    fn record(&self, run: &Run, judgement: Judgement) {
        // Closed only when the worker is gone; then the lease runs out and the job runs again.
        match run.cx.effect.get() {
            Some(effect) => drop(self.effects.send((effect, judgement))),
            None => drop(self.judgements.send(judgement)),
        }
    }
}

/// The same end, with an error of ours in place of one that panics.
fn without_words(ended: &Ended) -> Ended {
    match ended {
        Ended::TakenAway => Ended::TakenAway,
        Ended::PutOff(until) => Ended::PutOff(*until),
        Ended::Answered { started_at, ended_at, .. } => {
            let error =
                JobError::new(ErrorClass::Bug, "the handler's error panicked when asked why");
            Ended::Answered { started_at: *started_at, ended_at: *ended_at, result: Err(error) }
        }
    }
}

/// What the lines of attempts are filtered by.
const ATTEMPTS: &str = "postworks::attempts";

/// Counts and logs an attempt. A failure is logged here and nowhere else.
fn observe(run: &Run, ended: &Ended, outcome: &Outcome, meter: &Meter) {
    let Ended::Answered { started_at, ended_at, .. } = ended else { return };
    let took = ended_at.since(*started_at);
    meter.attempt(&run.cx.queue, run.cx.attempt, outcome);
    meter.times(&run.envelope.kind, started_at.since(run.envelope.run_at), took);
    if matches!(outcome, Outcome::Completed | Outcome::Dead { .. } | Outcome::Cancelled) {
        meter.total(&run.envelope.kind, ended_at.since(run.envelope.created_at));
    }
    tell(run, took, outcome);
}

/// The one line of an attempt. Every line about a job names it, its kind, queue, platform and trace
/// alike; whoever has too many of these lines switches off their target.
fn tell(run: &Run, took: Duration, outcome: &Outcome) {
    // JSON has no numbers of 128 bits.
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    macro_rules! tell {
        ($level:ident, $words:tt, $($more:tt)*) => {
            tracing::event!(
                target: ATTEMPTS,
                Level::$level,
                {
                    job.id = %run.cx.id,
                    job.kind = %run.cx.kind,
                    job.queue = %run.cx.queue,
                    job.platform = run.cx.queue.platform(),
                    job.attempt = run.cx.attempt,
                    trace_id = run.cx.trace.map(TraceParent::trace_id),
                    outcome = outcome.as_str(),
                    duration_ms,
                    $($more)*
                },
                $words
            )
        };
    }
    match outcome {
        Outcome::Completed => tell!(INFO, "job completed",),
        Outcome::Cancelled => tell!(INFO, "job cancelled",),
        Outcome::Snooze { until, why } => {
            tell!(INFO, "job snoozed", %until, why = why.as_str(),);
        }
        Outcome::Retry { at, reason: Reason { class, message, .. } } => {
            tell!(INFO, "attempt failed, another follows", %at, class, error = message,);
        }
        Outcome::Dead { reason: Reason { category, class, message } } => {
            tell!(WARN, "job is dead", %category, class, error = message,);
        }
    }
}

//! From how a run ended to what ledger and broker are told.

use std::time::Duration;

use super::run::{Ended, Judgement, Retry, Run};
use crate::broker::Then;
use crate::job::{
    Attempt, Durability, Envelope, NewJob, Outcome, Queue, SnoozeReason, Timestamp, Uniqueness,
    decide,
};
use crate::ledger::{FailedAttempt, Next, Verdict};

/// Jobs due later than this wait in the ledger only; the relay brings them in time.
pub(crate) const BROKER_HORIZON: Duration = Duration::from_secs(3_600);

/// A run's judgement and, for logs and metrics, its outcome.
pub(super) fn judge(run: &Run, ended: &Ended, jitter: f64) -> (Judgement, Option<Outcome>) {
    let (started_at, ended_at, result) = match ended {
        Ended::Answered { started_at, ended_at, result } => (started_at, ended_at, result),
        Ended::TakenAway => return (taken_away(run), None),
        Ended::PutOff(until) => return (put_off(run, *until), None),
    };
    let attempt = Attempt {
        number: run.envelope.attempt(),
        max: run.envelope.max_attempts,
        expires_at: run.expires_at(),
        now: *ended_at,
        jitter,
    };
    let mut outcome = decide(result.as_ref().map(|&()| ()), attempt, &run.spec.retry);
    if let (Outcome::Dead { reason }, Some(effect)) = (&mut outcome, run.cx.effect.get()) {
        *reason = effect.dies_of(reason.clone());
    }
    let failed = result.as_ref().err().map(|error| FailedAttempt {
        n: attempt.number,
        started_at: *started_at,
        ended_at: *ended_at,
        outcome: outcome.as_str().to_owned(),
        error: error.chain(),
        worker: run.lease.worker.clone(),
    });
    let next = next(run, &outcome, *ended_at);
    let then = then(&run.envelope, attempt.expires_at, &next, *ended_at);
    // A snooze is no attempt, so it leaves no row.
    let failed = failed.filter(|_| !matches!(outcome, Outcome::Snooze { .. }));
    let recorded =
        run.envelope.durability == Durability::Ledger || matches!(outcome, Outcome::Dead { .. });
    let verdict = recorded.then_some(Verdict {
        id: run.lease.id,
        token: run.lease.token,
        then: next,
        failed,
    });
    let retry = match outcome {
        Outcome::Retry { at, .. } => {
            Some(Retry { at, ended_at: *ended_at, expires_at: attempt.expires_at })
        }
        _ => None,
    };
    let first_attempt = attempt.number == 1;
    (Judgement { retry, first_attempt, ..judgement(run, verdict, then) }, Some(outcome))
}

/// It goes back as it came.
fn taken_away(run: &Run) -> Judgement {
    if crate::planted!(BurnOnDrain) {
        let next =
            Next::Waits { until: run.envelope.run_at, failed_attempts: run.envelope.attempt() };
        let then = then(&run.envelope, run.envelope.expires_at, &next, run.envelope.run_at);
        let (id, token) = (run.lease.id, run.lease.token);
        return judgement(run, Some(Verdict { id, token, then: next, failed: None }), then);
    }
    judgement(run, None, Then::Back)
}

/// Nothing has happened: it waits as it is, at no attempt's cost. One that expires before is
/// looked at then.
fn put_off(run: &Run, until: Timestamp) -> Judgement {
    judgement(run, None, Then::Later(until.min(run.envelope.expires_at)))
}

fn judgement(run: &Run, verdict: Option<Verdict>, then: Then) -> Judgement {
    Judgement {
        queue: run.cx.queue.clone(),
        lease: run.lease.clone(),
        verdict,
        then,
        retry: None,
        first_attempt: false,
    }
}

impl Judgement {
    /// Lets a retry wait for its slot, unless it would expire before. Ledger and broker are told
    /// the same time.
    pub(super) fn wait_for(&mut self, slot: Timestamp) {
        let Some(retry) = self.retry else { return };
        if slot > retry.at && slot < retry.expires_at {
            self.run_at(slot, retry.ended_at);
        }
    }

    /// Moves the time until which the job waits, if it waits.
    pub(super) fn run_at(&mut self, at: Timestamp, now: Timestamp) {
        let recorded = match &mut self.verdict {
            Some(Verdict { then: Next::Waits { until, .. }, .. }) => {
                *until = at;
                true
            }
            _ => false,
        };
        let Then::Again(envelope) = &mut self.then else { return };
        if recorded && envelope.durability == Durability::Ledger && at >= now.after(BROKER_HORIZON)
        {
            self.then = Then::Gone;
        } else {
            envelope.run_at = at;
        }
    }
}

fn next(run: &Run, outcome: &Outcome, at: Timestamp) -> Next {
    let failed_attempts = run.envelope.failed_attempts;
    match outcome {
        Outcome::Completed => Next::Completed { at },
        Outcome::Cancelled => Next::Cancelled { at },
        Outcome::Retry { at, .. } => {
            Next::Waits { until: *at, failed_attempts: run.envelope.attempt() }
        }
        Outcome::Snooze { until, why } if why.parks() => {
            let kept_until =
                (*why == SnoozeReason::NeedsReauth).then(|| at.after(run.spec.reauth_wait));
            Next::Parked { until: *until, why: why.as_str(), kept_until }
        }
        Outcome::Snooze { until, .. } => Next::Waits { until: *until, failed_attempts },
        Outcome::Dead { reason } => Next::Dead {
            at,
            reason: reason.clone(),
            failed_attempts: run.envelope.attempt(),
            job: (run.envelope.durability == Durability::Broker)
                .then(|| Box::new(row_of(&run.envelope, &run.cx.queue))),
        },
    }
}

/// What the broker does with a job that the ledger is told `next` of.
fn then(envelope: &Envelope, expires_at: Timestamp, next: &Next, now: Timestamp) -> Then {
    let again = |run_at: Timestamp, failed_attempts: u32| {
        let envelope = envelope.clone().due_at(run_at);
        Then::Again(Box::new(Envelope { failed_attempts, expires_at, ..envelope }))
    };
    match next {
        Next::Waits { until, failed_attempts }
            if envelope.durability == Durability::Broker || *until < now.after(BROKER_HORIZON) =>
        {
            again(*until, *failed_attempts)
        }
        // Without a ledger row there is nowhere else to park.
        Next::Parked { until, .. } if envelope.durability == Durability::Broker => {
            again(*until, envelope.failed_attempts)
        }
        _ => Then::Gone,
    }
}

/// The ledger row of a job that has none yet.
pub(super) fn row_of(envelope: &Envelope, queue: &Queue) -> NewJob {
    NewJob {
        id: envelope.id,
        tenant: envelope.tenant,
        kind: envelope.kind.clone(),
        kind_version: envelope.kind_version,
        queue: queue.clone(),
        args: envelope.args.get().to_owned(),
        failed_attempts: envelope.failed_attempts,
        max_attempts: envelope.max_attempts,
        priority_s: envelope.priority_s,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: envelope.account,
        run_at: envelope.run_at,
        created_at: envelope.created_at,
        expires_at: envelope.expires_at,
        durability: envelope.durability,
        trace: envelope.trace,
        waits: None,
    }
}

//! Looks at claimed jobs before they run: what cannot or must not run is judged here.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::judge::row_of;
use super::question::{Answer, Answers};
use super::registry::{Registry, Route};
use super::run::{Judgement, Run};
use super::{BreakerView, EffectSlot, Family, JobContext};
use crate::broker::{Delivery, Then};
use crate::clock::SharedClock;
use crate::gate::watch::Watch;
use crate::job::{
    Category, DecodeError, Durability, Edit, Envelope, NewJob, Reason, SnoozeReason, Tenant,
    Timestamp, TraceParent, Uniqueness,
};
use crate::ledger::{Ledger, Next, Standing, Verdict};

/// A job that was under way when this many workers crashed runs alone: it may be the culprit, or
/// only a neighbour.
const QUARANTINED_FROM: u32 = 2;
/// A job that took this many workers down is not run again.
const CRASHES_MAX: u32 = 3;
/// A job for a newer worker is offered again after this long, unless such a worker starts before;
/// also one whose row makes no sense to this program.
const PARK: Duration = Duration::from_secs(300);
/// The same for a job that has no row, which a newer worker cannot find: it must come by.
const PARK_UNRECORDED: Duration = Duration::from_secs(60);

/// Decides which claimed jobs run.
pub(super) struct Admission {
    pub(super) registry: Registry,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: SharedClock,
    pub(super) watch: Arc<Watch>,
}

/// A claimed job, and the token that cancels it.
pub(super) type InHand = (Delivery, CancellationToken);

/// What becomes of claimed jobs.
#[derive(Default)]
pub(super) struct Admitted {
    pub(super) runs: Vec<Run>,
    pub(super) judged: Vec<Judgement>,
}

/// A delivery that passed the checks that need no ledger.
struct Candidate {
    delivery: Delivery,
    envelope: Envelope,
    route: Route,
    cancelled: CancellationToken,
    /// How many workers crashed while they ran it.
    crashes: u32,
}

impl Admission {
    /// Sorts claimed jobs into those that run and those that do not, by what the ledger answered
    /// about those that [need](Self::needs_ledger) it.
    pub(super) fn admit(&self, claimed: Vec<InHand>, mut answers: Answers) -> Admitted {
        let now = self.clock.now();
        let mut admitted = Admitted::default();
        for (mut delivery, cancelled) in claimed {
            let standing = match answers.remove(&delivery.lease.id) {
                None => None,
                Some(Answer { standing: None, .. }) => {
                    admitted.judged.push(put_off(delivery, now.after(PARK)));
                    continue;
                }
                Some(Answer { standing, envelope }) => {
                    if let Some(envelope) = envelope {
                        restore(&mut delivery, envelope);
                    }
                    standing
                }
            };
            self.sort(delivery, cancelled, standing, now, &mut admitted);
        }
        admitted
    }

    /// Every delivery that is not provably the first, and every one of an effect or of a job whose
    /// unique key is free once it has started, is checked and stamped in the ledger before it starts.
    pub(super) fn needs_ledger(&self, delivery: &Delivery) -> bool {
        match &delivery.envelope {
            Ok(envelope) => {
                // Effects are stamped even so: without a claim on record they would send nothing.
                let flagged = delivery.flagged && !crate::planted!(UnflaggedSweep);
                envelope.durability == Durability::Ledger
                    && (flagged
                        || envelope.stamped_first
                        || self
                            .registry
                            .route(&envelope.kind)
                            .is_none_or(|route| route.spec.effect))
            }
            Err(_) => true,
        }
    }

    fn sort(
        &self,
        mut delivery: Delivery,
        cancelled: CancellationToken,
        standing: Option<Standing>,
        now: Timestamp,
        admitted: &mut Admitted,
    ) {
        let envelope = std::mem::replace(&mut delivery.envelope, Err(DecodeError::TooLong(0)));
        let mut envelope = match envelope {
            Ok(envelope) => envelope,
            Err(error) => {
                admitted.judged.push(unreadable(delivery, &error, standing, now));
                return;
            }
        };
        // What has no row is counted by the broker alone.
        let mut crashes = match envelope.durability {
            Durability::Broker => u32::from(delivery.orphaned),
            Durability::Ledger => 0,
        };
        match standing {
            None => {}
            Some(Standing::Yours { failed_attempts, crashes: recorded, expires_at, edit }) => {
                let Some(latest) = with_edit(envelope, edit) else {
                    admitted.judged.push(put_off(delivery, now.after(PARK)));
                    return;
                };
                envelope = latest;
                envelope.failed_attempts = failed_attempts;
                // A person may have moved the job since the broker got it.
                envelope.expires_at = expires_at;
                crashes = recorded;
            }
            Some(standing) => {
                admitted.judged.push(refused(delivery, envelope, standing, now));
                return;
            }
        }
        let Some(route) = self.known(&envelope) else {
            admitted.judged.push(for_newer_worker(delivery, envelope, now));
            return;
        };
        let candidate = Candidate { delivery, envelope, route, cancelled, crashes };
        if let Some(reason) = candidate.hopeless(now) {
            admitted.judged.push(candidate.dead(reason, now));
            return;
        }
        if crashes >= QUARANTINED_FROM && !candidate.delivery.quarantined {
            admitted.judged.push(candidate.quarantine());
            return;
        }
        let family = Family::new(&self.ledger, &self.clock);
        admitted.runs.push(candidate.into_run(&self.watch, family, now));
    }

    fn known(&self, envelope: &Envelope) -> Option<Route> {
        let route = self.registry.route(&envelope.kind)?;
        (envelope.kind_version <= route.spec.version).then(|| route.clone())
    }
}

impl Candidate {
    fn hopeless(&self, now: Timestamp) -> Option<Reason> {
        let (category, message) = if self.crashes >= CRASHES_MAX {
            let times = self.crashes;
            let alone = "the last one ran nothing else";
            (Category::Poison, format!("{times} workers crashed while they ran this job; {alone}"))
        } else if self.envelope.expires_at <= now && !self.route.handler.ends_expired() {
            let at = self.envelope.expires_at;
            (Category::Expired, format!("expired at {at} before it could run"))
        } else {
            return None;
        };
        Some(Reason { category, class: category.as_str().to_owned(), message })
    }

    fn quarantine(self) -> Judgement {
        tracing::warn!(
            job.id = %self.envelope.id, job.kind = %self.envelope.kind,
            job.queue = %self.delivery.queue, job.platform = self.delivery.queue.platform(),
            trace_id = self.envelope.trace.map(TraceParent::trace_id), crashes = self.crashes,
            "workers crashed while they ran this job; it runs alone now"
        );
        judged(self.delivery, None, Then::Quarantine)
    }

    fn dead(self, reason: Reason, at: Timestamp) -> Judgement {
        tracing::warn!(
            job.id = %self.envelope.id, job.kind = %self.envelope.kind,
            job.queue = %self.delivery.queue, job.platform = self.delivery.queue.platform(),
            trace_id = self.envelope.trace.map(TraceParent::trace_id),
            category = %reason.category, error = reason.message, "job is dead; it did not run"
        );
        let job = (self.envelope.durability == Durability::Broker)
            .then(|| Box::new(row_of(&self.envelope, &self.delivery.queue)));
        let failed_attempts = self.envelope.failed_attempts;
        judged(self.delivery, Some(Next::Dead { at, reason, failed_attempts, job }), Then::Gone)
    }

    fn into_run(self, watch: &Arc<Watch>, family: Family, now: Timestamp) -> Run {
        let Self { delivery, envelope, route, cancelled, .. } = self;
        let breaker = BreakerView::new(watch, &delivery.queue, delivery.epoch);
        let cx = JobContext {
            id: envelope.id,
            tenant: envelope.tenant,
            kind: envelope.kind.clone(),
            queue: delivery.queue,
            attempt: envelope.attempt(),
            max_attempts: envelope.max_attempts,
            created_at: envelope.created_at,
            run_at: envelope.run_at,
            expires_at: envelope.expires_at,
            deadline: now.after(route.spec.timeout),
            trace: envelope.trace,
            token: delivery.lease.token,
            worker: delivery.lease.worker.clone(),
            cancelled,
            breaker,
            effect: EffectSlot::default(),
            family,
        };
        Run {
            lease: delivery.lease,
            envelope,
            spec: route.spec,
            handler: route.handler,
            cx,
            epoch: delivery.epoch,
            started: OnceLock::new(),
            judged: AtomicBool::new(false),
        }
    }
}

/// Puts the record's envelope in place of bytes that cannot be read.
fn restore(delivery: &mut Delivery, envelope: Envelope) {
    tracing::error!(
        job.id = %delivery.lease.id, job.queue = %delivery.queue,
        "the broker held bytes that are no envelope; the job runs from the record"
    );
    delivery.envelope = Ok(envelope);
}

fn judged(delivery: Delivery, next: Option<Next>, then: Then) -> Judgement {
    let verdict = next.map(|then| Verdict {
        id: delivery.lease.id,
        token: delivery.lease.token,
        then,
        failed: None,
    });
    let Delivery { queue, lease, .. } = delivery;
    Judgement { queue, lease, verdict, then, retry: None, first_attempt: false }
}

/// The job with the arguments that took the place of the broker's; `None` if the record's are no JSON.
fn with_edit(envelope: Envelope, edit: Option<Box<Edit>>) -> Option<Envelope> {
    let Some(edit) = edit else { return Some(envelope) };
    let id = envelope.id;
    envelope
        .edited(*edit)
        .inspect_err(|error| tracing::error!(job.id = %id, %error, "its arguments make no sense"))
        .ok()
}

/// The ledger says that the broker's copy is out of date.
fn refused(
    delivery: Delivery,
    envelope: Envelope,
    standing: Standing,
    now: Timestamp,
) -> Judgement {
    match standing {
        Standing::NotYet { until, edit } => match with_edit(envelope, edit) {
            Some(latest) => judged(delivery, None, Then::Again(Box::new(latest.due_at(until)))),
            None => put_off(delivery, until),
        },
        Standing::Unknown => {
            let job = row_of(&envelope, &delivery.queue);
            let message = "the ledger knows no such job; somebody else wrote it into the broker";
            dead_as_bug(delivery, message.to_owned(), job, now)
        }
        Standing::Yours { .. } | Standing::Ended(_) | Standing::Parked | Standing::Superseded => {
            judged(delivery, None, Then::Gone)
        }
    }
}

/// Bytes we cannot read, of a job that the record does not have live: kept for a person if it has
/// none at all, dropped if it has ended, parked if a newer program wrote them.
fn unreadable(
    delivery: Delivery,
    error: &DecodeError,
    standing: Option<Standing>,
    now: Timestamp,
) -> Judgement {
    tracing::error!(
        job.id = %delivery.lease.id, job.queue = %delivery.queue,
        error = error as &dyn std::error::Error,
        "the broker held an envelope that cannot be read"
    );
    match (standing, error) {
        // The program that can read it can also tell where it is recorded.
        (Some(Standing::Unknown) | None, DecodeError::Newer(_)) => {
            put_off(delivery, now.after(PARK_UNRECORDED))
        }
        (Some(Standing::Unknown) | None, _) => {
            let job = stand_in(&delivery, now);
            dead_as_bug(delivery, format!("unreadable envelope in the broker: {error}"), job, now)
        }
        (Some(Standing::Yours { .. }), DecodeError::Newer(_)) => {
            let parked = newer_worker(now);
            judged(delivery, Some(parked), Then::Gone)
        }
        _ => judged(delivery, None, Then::Gone),
    }
}

fn for_newer_worker(delivery: Delivery, envelope: Envelope, now: Timestamp) -> Judgement {
    tracing::warn!(
        job.id = %envelope.id, job.kind = %envelope.kind,
        job.queue = %delivery.queue, job.platform = delivery.queue.platform(),
        trace_id = envelope.trace.map(TraceParent::trace_id), version = envelope.kind_version,
        "no handler here for this kind and version; parked for a newer worker"
    );
    if envelope.durability == Durability::Broker {
        return put_off(delivery, now.after(PARK_UNRECORDED));
    }
    judged(delivery, Some(newer_worker(now)), Then::Gone)
}

/// It goes back as it was claimed, and is due at once.
pub(super) fn handed_back(delivery: Delivery) -> Judgement {
    judged(delivery, None, Then::Back)
}

/// It stays in the broker as it is, at no attempt's cost.
pub(super) fn put_off(delivery: Delivery, until: Timestamp) -> Judgement {
    judged(delivery, None, Then::Later(until))
}

fn newer_worker(now: Timestamp) -> Next {
    let why = SnoozeReason::NewerWorker.as_str();
    Next::Parked { until: now.after(PARK), why, kept_until: None }
}

fn dead_as_bug(delivery: Delivery, message: String, job: NewJob, at: Timestamp) -> Judgement {
    let reason = Reason { category: Category::Bug, class: "bug".to_owned(), message };
    let job = Some(Box::new(job));
    let next = Next::Dead { at, reason, failed_attempts: 0, job };
    judged(delivery, Some(next), Then::Gone)
}

/// A row for a job of which nothing but the id can be read.
fn stand_in(delivery: &Delivery, now: Timestamp) -> NewJob {
    NewJob {
        id: delivery.lease.id,
        tenant: Tenant::DEFAULT,
        kind: delivery.queue.kind(),
        kind_version: 0,
        queue: delivery.queue.clone(),
        args: "null".to_owned(),
        failed_attempts: 0,
        max_attempts: 1,
        priority_s: 0,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: None,
        run_at: now,
        created_at: now,
        expires_at: now,
        durability: Durability::Ledger,
        trace: None,
        waits: None,
    }
}

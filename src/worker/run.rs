//! A claimed job on its way through the worker.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::JobContext;
use super::registry::Dispatch;
use crate::broker::{Lease, Then};
use crate::job::{Envelope, JobError, KindSpec, Queue, Timestamp};
use crate::ledger::Verdict;

/// A claimed job that is going to run.
pub(super) struct Run {
    pub(super) lease: Lease,
    pub(super) envelope: Envelope,
    pub(super) spec: Arc<KindSpec>,
    pub(super) handler: Arc<dyn Dispatch>,
    pub(super) cx: JobContext,
    /// The breaker's epoch at the claim.
    pub(super) epoch: u64,
    /// When its handler started.
    pub(super) started: OnceLock<Instant>,
    /// Whether its end was judged: once, whoever reports it.
    pub(super) judged: AtomicBool,
}

impl Run {
    /// Until when the job is of use, as far as this run knows.
    pub(super) fn expires_at(&self) -> Timestamp {
        let recorded = self.envelope.expires_at;
        self.cx.effect.get().map_or(recorded, |effect| effect.expires_at(recorded))
    }
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The handler answered, or was cut off by its timeout or a panic.
    Answered { started_at: Timestamp, ended_at: Timestamp, result: Result<(), JobError> },
    /// The worker took the job from its handler: it drains, or the lease was lost.
    TakenAway,
    /// The handler was not asked: the job's account is blocked until then.
    PutOff(Timestamp),
}

/// What ledger and broker are told of a claimed job.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) queue: Queue,
    pub(super) lease: Lease,
    /// For the ledger; `None` if it has nothing to learn.
    pub(super) verdict: Option<Verdict>,
    /// For the broker.
    pub(super) then: Then,
    /// If the attempt failed and another follows.
    pub(super) retry: Option<Retry>,
    /// Whether this was the job's first attempt.
    pub(super) first_attempt: bool,
}

/// When a failed attempt is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

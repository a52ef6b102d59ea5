//! What a broker is told about jobs, and what it answers.

use uuid::Uuid;

use super::Beyond;
use crate::job::{DecodeError, Envelope, JobId, Queue, Timestamp, Token, WorkerId};

/// A job to put in.
#[derive(Debug, Clone)]
pub struct Push {
    /// The job.
    pub envelope: Envelope,
    /// Whether the worker must ask the ledger before it starts the job. Only the enqueuing call,
    /// right after the commit, may say no.
    pub flagged: bool,
    /// A push that lands later than this is flagged whatever `flagged` says: by then the relay
    /// may have pushed the job as well.
    pub fresh_until: Timestamp,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits now.
    Added,
    /// The broker already held a job of that id, waiting or running. Nothing was changed.
    Held,
    /// Its turn comes after those of the window: it waits in the ledger, and a refill brings it.
    Left,
}

/// The right to run a job until a deadline, and the fence against those who had it before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The claim's fencing token.
    pub token: Token,
    /// Who holds it.
    pub worker: WorkerId,
}

/// A claimed job.
#[derive(Debug)]
pub struct Delivery {
    /// The queue it came from.
    pub queue: Queue,
    /// The right to run it.
    pub lease: Lease,
    /// The job, or why the broker's bytes cannot be read.
    pub envelope: Result<Envelope, DecodeError>,
    /// Whether the ledger must be asked before it starts.
    pub flagged: bool,
    /// How often a worker vanished while it ran this job, as far as the broker remembers; the
    /// record's count is the one that matters, for jobs that have a record.
    pub orphaned: u8,
    /// Whether it was in quarantine: nothing else may run in the process meanwhile.
    pub quarantined: bool,
    /// The breaker's epoch at the claim.
    pub epoch: u64,
}

impl Delivery {
    /// The job's account, if it has one and can be read.
    pub(crate) fn account(&self) -> Option<Uuid> {
        self.envelope.as_ref().ok()?.account
    }
}

/// The answer to a claim.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The jobs, best first.
    pub deliveries: Vec<Delivery>,
    /// When the next delayed job falls due, if there is one; or when the gate lets more pass.
    pub next_due: Option<Timestamp>,
    /// What time it is there: the one to tell by how long `next_due` is away.
    pub now: Timestamp,
    /// Whether due jobs are left that the gate lets pass.
    pub more: bool,
    /// Whether jobs are left in quarantine.
    pub quarantined: bool,
    /// The queue's present generation.
    pub generation: u32,
    /// What the ledger may have for the window.
    pub beyond: Beyond,
    /// The breaker's epoch.
    pub epoch: u64,
    /// Whether these are the first probes since the breaker opened.
    pub first_probes: bool,
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The queue's present generation; `None` until it was opened after the broker's last start.
    ///
    /// A lease of this generation that is not held was taken back. One of an earlier generation
    /// may just as well have been wiped, and can be re-asserted.
    pub generation: Option<u32>,
    /// Whether each lease is still held, in order.
    pub held: Vec<bool>,
}

/// A running job whose lease the broker lost.
#[derive(Debug, Clone, Copy)]
pub struct Reassertion<'a> {
    /// The lease, as it was.
    pub lease: &'a Lease,
    /// The job, as it runs.
    pub envelope: &'a Envelope,
}

/// What became of a re-assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasserted {
    /// The lease is held, and the job waits nowhere.
    Held,
    /// A later claim has the job. Nothing was changed.
    Taken,
}

/// What happens to a leased job.
#[derive(Debug, Clone)]
pub enum Then {
    /// It ended, or waits in the ledger only: nothing of it stays.
    Gone,
    /// It waits again, flagged, with this envelope (whose `run_at` says until when).
    Again(Box<Envelope>),
    /// It goes back as it was claimed, flagged: due at once, nothing burnt.
    Back,
    /// The same, but into quarantine: only a worker that runs nothing else gets it.
    Quarantine,
    /// It waits until then as it was claimed, flagged, nothing burnt; also bytes that this
    /// program cannot read.
    Later(Timestamp),
}

/// A leased job and what happens to it.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The right to say so.
    pub lease: Lease,
    /// What happens.
    pub then: Then,
}

/// Whether a settlement counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Done,
    /// The lease was not held any more: nothing was changed.
    Stale,
}

/// Whose leases to take back.
#[derive(Debug, Clone, Copy)]
pub enum Reap<'a> {
    /// Those past their deadline.
    Expired,
    /// Those whose deadline is past at this time: one that the caller has found to be right.
    ExpiredBy(Timestamp),
    /// Those of a worker that is known to be gone.
    Worker(&'a WorkerId),
}

//! The index for dispatch: which jobs wait, which are due, who runs them.
//!
//! A broker may lose everything at any time; the ledger is the record, and what a broker lost is
//! pushed again. The one thing only a broker knows is who runs a job now: a *lease*.
//!
//! Two implementations are held together by one conformance suite (`testing::broker`):
//! [`memory::MemoryBroker`] and [`redis::RedisBroker`].

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::finding::Finding;
use crate::job::{Hold, JobId, Queue, Timestamp, Turn, WorkerId};

mod exchange;
mod gate;
pub mod memory;
mod operation;
mod order;
mod presence;
mod quota;
pub mod redis;
mod server_use;
mod slots;
mod window;

pub use exchange::{
    Claimed, Delivery, Lease, Push, Pushed, Reap, Reasserted, Reassertion, Renewed, Settled,
    Settlement, Then,
};
pub use gate::{
    Breaker, CALLS_OVER, Gate, Observed, PROBE_TERM, PROBES, Phase, Position, RAMP_STEP, Tally,
};
pub use operation::Operation;
pub use presence::{Presence, ROSTER_MAX, Ran};
pub use quota::{Call, Room, Scope};
pub use server_use::ServerUse;
pub use window::{Beyond, Refill, WINDOW};

/// Most jobs in one call of any method here.
pub const BATCH_MAX: usize = 1_000;

/// The longest that an account is blocked: the longest windows of platforms are a month's.
pub const BLOCK_MAX: Duration = Duration::from_secs(32 * 24 * 3_600);

/// What went wrong between us and the broker. The messages hold their cause, since a log in JSON
/// shows no others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker cannot be reached, or answers that it cannot serve now. Trying later helps.
    #[error("the broker is unavailable: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The node of the broker that holds the queue cannot be reached, or cannot serve now; others
    /// can. Trying later helps.
    #[error("the broker's node for this queue is unavailable: {0}")]
    NodeAway(Box<dyn std::error::Error + Send + Sync>),
    /// The queue was never opened, or the broker restarted or lost its memory since: nothing may
    /// be claimed until [`Broker::open`] was called with a new generation.
    #[error("queue {queue} needs a new generation (the broker holds {held:?})")]
    NeedsGeneration {
        /// The queue.
        queue: Queue,
        /// The generation the broker still holds, if any.
        held: Option<u32>,
    },
    /// The broker answered something that makes no sense; trying again does not help.
    #[error("the broker answered nonsense: {0}")]
    Protocol(String),
    /// The broker refuses us: wrong password, missing permission, too old.
    #[error("the broker refuses us: {0}")]
    Refused(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether it is about the broker as a whole, and not about one queue or call: everything will
    /// fail alike until the broker is back, or a person has put it right.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Refused(_))
    }

    /// Logs an error that is about one queue, and so keeps nobody from the others: what cannot be
    /// done there, in `words`. That a node is away its broker has logged.
    pub fn log_of(&self, queue: &Queue, words: &str) {
        let error = self as &dyn std::error::Error;
        match self {
            Self::NodeAway(_) => tracing::debug!(job.queue = %queue, error, "{words}"),
            _ => tracing::error!(job.queue = %queue, error, "{words}"),
        }
    }
}

/// Where the broker holds a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Due, perhaps in quarantine.
    Ready,
    /// Waits for this time: its own, or the one it was put off to.
    Delayed(Timestamp),
    /// Leased.
    Running(WorkerId),
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It waited, and is gone.
    Removed,
    /// A worker holds it; nothing was changed.
    Running,
    /// The broker does not hold it.
    Absent,
}

/// How a broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Its time.
    pub now: Timestamp,
    /// For how long our connection to it has held: others have lost theirs when we lost ours.
    /// [`Duration::MAX`] if it never broke.
    pub unbroken: Duration,
}

/// How much is in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Due and unclaimed, also those in quarantine.
    pub ready: u64,
    /// Waiting for their time.
    pub delayed: u64,
    /// Leased.
    pub running: u64,
    /// How long the oldest due job has waited, looking at the best-placed 100 only.
    pub oldest_ready_age: Duration,
    /// Whether more jobs may wait in the ledger only.
    pub beyond: bool,
}

/// Holds the jobs that wait or run, and hands them out.
///
/// Every method may be repeated after an error without harm: a push skips what is held, a settle
/// is fenced by its lease.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Puts jobs into a queue; answers one [`Pushed`] a job, in order. What the queue's window has
    /// no room for afterwards is put out again, those whose turn comes last first; jobs that are
    /// recorded nowhere else are always taken, and stay.
    async fn push(&self, queue: &Queue, jobs: &[Push]) -> Result<Vec<Pushed>, Error>;

    /// Takes up to `limit` due jobs, best first, under a lease of length `lease`.
    ///
    /// Delayed jobs that fell due are promoted first, a bounded number a call. If due jobs are
    /// left, another waiter is woken.
    ///
    /// # Errors
    /// [`Error::NeedsGeneration`] until the queue was opened after the broker's last start.
    async fn claim(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error>;

    /// As [`claim`](Self::claim), for a worker in whose process nothing else runs: if a job is in
    /// quarantine, it takes the best-placed one of these and nothing else, whatever `limit` is.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    async fn claim_alone(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error>;

    /// Adds calls to those of the fleet, if they are of the breaker's present epoch; answers how
    /// the gate is.
    async fn observe(&self, queue: &Queue, tally: Tally) -> Result<Observed, Error>;

    /// Changes a queue's breaker, if it is still in `epoch`; answers whether it was. Whoever waits
    /// for the queue looks again.
    async fn switch(&self, queue: &Queue, epoch: u64, to: Breaker) -> Result<bool, Error>;

    /// Writes what people want of a queue, unless a later wish is there.
    async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), Error>;

    /// Lets nothing be claimed from a queue until then; never shortens such a time.
    async fn shut(&self, queue: &Queue, until: Timestamp) -> Result<(), Error>;

    /// The queues' gates, `None` for one whose node is away; and the broker's time.
    ///
    /// # Errors
    /// [`Error::NodeAway`] if that is so of all of them.
    async fn gates(&self, queues: &[Queue]) -> Result<(Vec<Option<Gate>>, Timestamp), Error>;

    /// Ends leases; answers one [`Settled`] each, in order.
    async fn settle(&self, queue: &Queue, jobs: &[Settlement]) -> Result<Vec<Settled>, Error>;

    /// Lengthens leases to `lease` from now, also in a queue that was not opened yet. A lease is
    /// never shortened, unless it ends more than ten times `lease` from now: the broker's clock
    /// went back then.
    async fn renew(
        &self,
        queue: &Queue,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Renewed, Error>;

    /// Writes leases that the broker lost, with their own tokens, to last for `lease` from now;
    /// answers one [`Reasserted`] each, in order.
    ///
    /// A job that waits is taken out of its place. A lease of an earlier claim is replaced: its
    /// holder was superseded by this one before the broker forgot about it. The caller knows from
    /// the ledger that the job is still his.
    async fn reassert(
        &self,
        queue: &Queue,
        jobs: &[Reassertion<'_>],
        lease: Duration,
    ) -> Result<Vec<Reasserted>, Error>;

    /// The leases that a worker holds, at most 20,000.
    async fn held(&self, queue: &Queue, worker: &WorkerId) -> Result<Vec<Lease>, Error>;

    /// Takes leases back, at most [`BATCH_MAX`]; their jobs are due at once and flagged. Those of
    /// a worker that is gone count one more vanished worker. Answers their ids.
    async fn reap(&self, queue: &Queue, whose: Reap<'_>) -> Result<Vec<JobId>, Error>;

    /// Takes a waiting job out.
    async fn remove(&self, queue: &Queue, id: JobId) -> Result<Removed, Error>;

    /// Where jobs are; `None` for those the broker does not hold.
    async fn find(&self, queue: &Queue, ids: &[JobId]) -> Result<Vec<Option<Place>>, Error>;

    /// How much is in each queue; `None` for one whose node is away.
    ///
    /// # Errors
    /// [`Error::NodeAway`] if that is so of all of them.
    async fn depth(&self, queues: &[Queue]) -> Result<Vec<Option<Depth>>, Error>;

    /// Allows claims in `generation`, if it is greater than the one held. Call it with a number
    /// fresh from the ledger. Jobs and leases that survived stay, flagged; but some may be lost,
    /// so that the gap begins before everything.
    async fn open(&self, queue: &Queue, generation: u32) -> Result<(), Error>;

    /// Whether workers may be alive whose leases were lost with the broker's memory. Not if it
    /// lives and dies with their process.
    fn is_outlived(&self) -> bool {
        true
    }

    /// Whether any of these queues has a gap. As cheap as [`stirs`](Self::stirs).
    async fn has_gaps(&self, queues: &[Queue]) -> Result<bool, Error>;

    /// The queues' cutoffs; `None` where every job that is due soon is taken.
    async fn cutoffs(&self, queues: &[Queue]) -> Result<Vec<Option<Turn>>, Error>;

    /// Begins a refill, if the queue has a gap, its window is half empty, and no other refill was
    /// begun less than `term` ago that has not ended.
    async fn begin_refill(&self, queue: &Queue, term: Duration) -> Result<Option<Refill>, Error>;

    /// Puts the cutoff at `until`, before the ledger is read up to there; `None` takes everything.
    /// Answers whether the refill goes on: not if another was begun, or jobs before its start
    /// were put out since. Then nothing was changed, and it must end where it began.
    async fn widen(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<bool, Error>;

    /// Ends a refill that pushed everything before `until`: moves the gap there, or to the cutoff
    /// if that was lowered meanwhile; closes it if neither is. A refill that is not the queue's
    /// latest changes nothing.
    async fn end_refill(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<(), Error>;

    /// Returns the queue in which a job became claimable, or `None` after `timeout`. One waiter
    /// is woken; a claim that leaves work behind wakes the next.
    async fn wait(&self, queues: &[Queue], timeout: Duration) -> Result<Option<Queue>, Error>;

    /// Whether a claim from one of these queues may have something to do: jobs wait there, due or
    /// not, or may wait in the ledger only, or the queue must be opened. One cheap look, for callers who found nothing last time.
    async fn stirs(&self, _queues: &[Queue]) -> Result<bool, Error> {
        Ok(true)
    }

    /// Whether any job of these queues is leased. As cheap as [`stirs`](Self::stirs).
    async fn leased(&self, _queues: &[Queue]) -> Result<bool, Error> {
        Ok(true)
    }

    /// The workers that hold leases of these queues and have no connection. One that lives may be
    /// among them while it reconnects, so ask twice.
    async fn vanished(&self, _queues: &[Queue]) -> Result<HashSet<WorkerId>, Error> {
        Ok(HashSet::new())
    }

    /// Whether the caller is to do a chore that one node in a while is enough for: yes for one
    /// caller in each `term`.
    async fn elect(&self, _chore: &str, _term: Duration) -> Result<bool, Error> {
        Ok(true)
    }

    /// Whether the caller has an office for the next `term`: one caller has it, and keeps it for as
    /// long as he asks again in time.
    async fn keep_office(&self, _office: &str, _term: Duration) -> Result<bool, Error> {
        Ok(true)
    }

    /// Blocks an account for the whole fleet until then, for [`BLOCK_MAX`] at most; a longer block
    /// is never shortened. A broker that loses its memory forgets it, and the platform says it
    /// again.
    async fn block(&self, account: Uuid, until: Timestamp) -> Result<(), Error>;

    /// Until when accounts are blocked; `None` for those that are not.
    async fn blocked(&self, accounts: &[Uuid]) -> Result<Vec<Option<Timestamp>>, Error>;

    /// Lets calls be made within their quotas, in the order given; answers one [`Room`] each. A
    /// call takes room in all of its quotas at once, or in none and is told when to ask again.
    ///
    /// Room that a call took is not given back if it is not made. A broker that loses its memory
    /// forgets what was used, so up to a quota's [`urgent`](crate::job::Flow::urgent) calls more
    /// may be made.
    async fn take_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error>;

    /// What [`take_room`](Self::take_room) would answer each call if no other were made.
    async fn look_for_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error>;

    /// Takes `count` slots for retries of this queue, which are given out at `per_second` (any
    /// rate is taken as one between one a day and 100,000 a second); answers the time of the first.
    /// The next follow at the same distance. Slots of the past are not made up for.
    async fn reserve_retries(
        &self,
        queue: &Queue,
        count: u32,
        per_second: f64,
    ) -> Result<Timestamp, Error>;

    /// The workers that have a connection open now. Workers of an embedded broker are those of
    /// this process.
    async fn connected(&self) -> Result<HashSet<WorkerId>, Error>;

    /// Says that this process runs jobs of these queues, for as long as it is connected.
    fn serves(&self, queues: &[Queue]);

    /// How many workers that are connected now run jobs of each queue. Of an embedded broker's
    /// process it is told only whether it does.
    async fn served(&self, queues: &[Queue]) -> Result<Vec<usize>, Error>;

    /// Notes what a process says of itself; believed for so long, unless it says so again.
    async fn announce(&self, who: &WorkerId, what: &Presence, lasts: Duration)
    -> Result<(), Error>;

    /// Forgets what a process said, since it goes.
    async fn leave(&self, who: &WorkerId) -> Result<(), Error>;

    /// What the processes that live say of themselves, [`ROSTER_MAX`] at most. A broker that loses
    /// its memory knows of each again once that has announced itself anew.
    async fn roster(&self) -> Result<Vec<Presence>, Error>;

    /// How many jobs are before a job that is due; `None` if it is not among those.
    async fn ahead_of(&self, queue: &Queue, id: JobId) -> Result<Option<u64>, Error>;

    /// What time it is there, and for how long we have been connected.
    async fn pulse(&self) -> Result<Pulse, Error>;

    /// What is right and wrong with the broker's server. Embedded brokers have none.
    async fn examine(&self) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// What the broker's server uses. Embedded brokers have none.
    async fn server_use(&self) -> Result<Option<ServerUse>, Error> {
        Ok(None)
    }

    /// Whether the broker answers.
    async fn ping(&self) -> Result<(), Error>;

    /// Another handle with connections of its own, for a caller that must not wait behind
    /// others; made on the runtime that will use it.
    async fn dedicated(&self) -> Result<std::sync::Arc<dyn Broker>, Error>;
}

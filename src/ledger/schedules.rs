//! Jobs that are made again and again, as the ledger remembers them.

use std::time::Duration;

use uuid::Uuid;

use super::{Db, Holder};
use crate::job::schedule::{Missed, Overlap};
use crate::job::{JobId, Kind, NewJob, Queue, Tenant, Timestamp};

/// Most schedules of a tenant.
pub const SCHEDULES_MAX: u32 = 10_000;
/// So many fires of a schedule are kept at least: the newest.
pub const FIRES_KEPT: u32 = 100;

/// Keeps schedules, in the database of the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schedules {
    pub(super) db: Db,
}

/// A job that is made again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name, unlike its tenant's others.
    pub name: String,
    /// When, as [`Cron`](crate::job::schedule::Cron) reads it.
    pub cron: String,
    /// In which zone.
    pub zone: String,
    /// The jobs' kind.
    pub kind: Kind,
    /// Their arguments: JSON.
    pub args: String,
    /// The queue they wait in.
    pub queue: Queue,
    /// The account they are about.
    pub account: Option<Uuid>,
    /// Their head start, in seconds.
    pub priority_s: u32,
    /// Their attempts in all; the kind's if `None`.
    pub max_attempts: Option<u32>,
    /// What becomes of times that were missed.
    pub missed: Missed,
    /// What becomes of times that come too soon.
    pub overlap: Overlap,
    /// The jobs run some part of this after their times.
    pub jitter: Duration,
    /// When it was made.
    pub created_at: Timestamp,
    /// The next time; `None` while it is paused.
    pub next_at: Option<Timestamp>,
    /// Who paused it.
    pub paused: Option<Holder>,
    /// How many times were had.
    pub fires: u64,
    /// The program made it by itself, and keeps it.
    pub built_in: bool,
}

/// A time that was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    /// The time.
    pub at: Timestamp,
    /// When it was had.
    pub made_at: Timestamp,
    /// Its job; `None` if that of an earlier time was not done, and jobs must not overlap.
    pub job: Option<JobId>,
    /// A person did it.
    pub by_hand: bool,
}

/// What is to become of a schedule that is due.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The times, and the job of each.
    pub fires: Vec<(Timestamp, NewJob)>,
    /// The next time.
    pub next_at: Option<Timestamp>,
    /// It can fire no more, and is paused for this reason.
    pub paused: Option<Holder>,
}

/// What became of the schedules that were due.
#[derive(Debug, Clone, Default)]
pub struct Fired {
    /// So many were due, at most as many as were asked for.
    pub schedules: usize,
    /// The jobs that were made; the caller tells the broker.
    pub made: Vec<NewJob>,
}

/// What became of adding a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Now,
    /// Another one has the name.
    NameTaken,
    /// There are [`SCHEDULES_MAX`].
    TooMany,
}

/// What became of letting a schedule's job run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RanNow {
    /// It was made.
    Made,
    /// There is no such schedule.
    Missing,
    /// The job of an earlier time is not done, and jobs must not overlap; or the schedule fires by
    /// itself this very moment.
    Overlaps(Option<JobId>),
}

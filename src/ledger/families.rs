//! Jobs that wait for others, as the ledger remembers them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Db;
use crate::job::{JobId, Kind, NewJob, State, Timestamp};

/// Keeps families, in the database of the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Families {
    pub(super) db: Db,
}

impl Families {
    /// The families in this database, whose tables must be there ([`Db::migrate`]).
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Told when a job that others wait for ended through this process' connections.
    pub fn ends(&self) -> &Arc<Notify> {
        self.db.ends()
    }
}

/// A job that another one waits for, or waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentJob {
    /// Which job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// How it ended, as the one that waited was told: what became of it since is not told. `None` as
    /// long as it has not ended, or that was not told yet.
    pub outcome: Option<State>,
    /// Where it stands now; `None` if its row is gone. `Ready` as in
    /// [`JobRow::state`](super::JobRow).
    pub state: Option<State>,
    /// Why it is dead, in words.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A parent that a job cannot wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfitParent {
    /// The job that was to wait.
    pub child: JobId,
    /// For this one.
    pub parent: JobId,
    /// In this state it has ended already, and the job is to fail with it; `None` if its tenant has
    /// no such job on record.
    pub ended: Option<State>,
}

impl UnfitParent {
    /// What is wrong with it, for whoever named it.
    pub fn words(&self) -> String {
        let parent = self.parent;
        match self.ended {
            None => format!(
                "there is no job {parent} on record; jobs of a kind with durability broker are on none"
            ),
            Some(state) => format!(
                "job {parent} is {state} already, and the job would fail with it; say continue in \
                 on_failure, or put {parent} back first"
            ),
        }
    }
}

impl fmt::Display for UnfitParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

/// What became of telling children how their parents ended.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// So many ends were found, at most as many as were asked for.
    pub found: usize,
    /// So many times a child was told of an end.
    pub told: usize,
    /// Parents of which every child was told.
    pub done: usize,
    /// The jobs that are live now; the caller tells the broker.
    pub live: Vec<NewJob>,
    /// How many jobs died with a parent.
    pub died: usize,
}

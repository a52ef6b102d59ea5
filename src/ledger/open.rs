//! Live jobs as brokers want them: page by page, in the order of their turns.

use super::Error;
use crate::job::{JobId, NewJob, Queue, Timestamp, Turn};

/// A page of live jobs.
#[derive(Debug)]
pub struct Page<At> {
    /// The jobs, in the order asked for.
    pub jobs: Vec<NewJob>,
    /// Rows left out since this program cannot have written them: which job, and what is wrong.
    pub unreadable: Vec<(JobId, Error)>,
    /// Where the next page goes on; `None` if this was the last.
    pub next: Option<At>,
}

/// The live jobs of a queue whose turns lie in a span, and that are due soon.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The queue.
    pub queue: &'a Queue,
    /// From this turn on.
    pub from: Turn,
    /// Before this turn, if it ends.
    pub until: Option<Turn>,
    /// The time at which turns are told.
    pub now: Timestamp,
    /// Due before this.
    pub due_before: Timestamp,
}

/// How many live jobs of a queue are due, and how many are due soon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Due, running ones among them.
    pub due: u64,
    /// Due soon.
    pub later: u64,
}

impl Span<'_> {
    /// The part of it where due jobs are; `None` if there is none.
    pub(super) fn due(self) -> Option<Self> {
        let now = Turn { at_ms: self.now.as_millis(), id: JobId::from_uuid(uuid::Uuid::max()) };
        let until = self.until.map_or(now, |until| until.min(now));
        (self.from < until).then_some(Self { until: Some(until), ..self })
    }

    /// The part of it where jobs are that are not due yet; `None` if there is none.
    pub(super) fn later(self) -> Option<Self> {
        let reaches = self.until.is_none_or(|until| until.at_ms > self.now.as_millis());
        reaches.then_some(self)
    }
}

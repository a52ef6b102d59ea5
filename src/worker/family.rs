//! What a handler may know of the jobs that its own waited for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::job::{ErrorClass, JobError, JobId, Kind, State, Timestamp};
use crate::ledger::{self, Ledger};

/// A ledger that was gone is asked again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// How a job ended that this one waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentEnd {
    /// Which job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// `Completed`, `Dead` or `Cancelled`, as this job was told: what became of it since is not.
    /// `None` if it had not ended, since a person let this job run without waiting.
    pub outcome: Option<State>,
    /// Why it is dead, in words.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A run's way to the jobs that its job waited for. By default there are none.
#[derive(Clone, Default)]
pub struct Family(Option<(Arc<dyn Ledger>, SharedClock)>);

impl Family {
    pub(super) fn new(ledger: &Arc<dyn Ledger>, clock: &SharedClock) -> Self {
        Self(Some((Arc::clone(ledger), Arc::clone(clock))))
    }

    pub(super) async fn parents(&self, id: JobId) -> Result<Vec<ParentEnd>, JobError> {
        let Some((ledger, clock)) = &self.0 else { return Ok(Vec::new()) };
        let parents = ledger.parents(id).await.map_err(|error| {
            let class = match error {
                ledger::Error::Protocol(_) => ErrorClass::Bug,
                _ => ErrorClass::Unavailable { until: clock.now().after(AGAIN) },
            };
            JobError::new(class, "the ledger does not tell of the job's parents").because(error)
        })?;
        let end = |parent: ledger::ParentJob| ParentEnd {
            id: parent.id,
            kind: parent.kind,
            outcome: parent.outcome,
            reason: parent.reason,
            ended_at: parent.ended_at,
        };
        Ok(parents.into_iter().map(end).collect())
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Family")
    }
}

//! A chore: sees to it that every account is synchronised once a period.
//!
//! When that is due stands in each account's row. Here a job is made for who is due, and no more. Any
//! node may look for them, at any time.

use std::time::Duration;

use postworks::client::Producer;
use postworks::job::{ConnectorSync, NewJob};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::due_jobs::due_job;
use crate::looking::look_until;
use crate::store::{DUE_MAX, Due, Error, Store, TakenDue};

/// Between two looks, a tenth more or less. So far ahead it looks, too: each job has the time of its
/// own account, and none that of the look.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while more are due than are taken at a time.
const WHILE_MORE: Duration = Duration::from_secs(1);

/// While a job to synchronise an account has this key, another is not made.
pub fn unique_key(connector_id: Uuid) -> String {
    format!("sync:{connector_id}")
}

/// Enqueues the synchronising that is due.
pub struct Syncs {
    /// Knows the accounts.
    pub store: Store,
    /// Makes the jobs.
    pub producer: Producer,
    /// The platforms that are switched on.
    pub platforms: Vec<&'static str>,
    /// The period.
    pub every: Duration,
}

impl Syncs {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let look = || async {
            let more = self.look().await? == DUE_MAX as usize;
            Ok::<_, Error>(if more { WHILE_MORE } else { LOOK_EVERY.min(self.every) })
        };
        let every = LOOK_EVERY.min(self.every);
        look_until(stop, every, "cannot look for accounts to synchronise", look).await;
    }

    /// Looks once; answers how many accounts were due, or planned for the first time, at most
    /// [`DUE_MAX`].
    ///
    /// # Errors
    /// The ledger cannot be asked now. If it is not known whether it took the jobs, and it did, the
    /// relay pushes them.
    pub async fn look(&self) -> Result<usize, Error> {
        let planned = self.store.plan_syncs(self.every).await?;
        let ahead = LOOK_EVERY.min(self.every);
        let taken = self.store.take_syncs(&self.platforms, ahead, self.every, |due| self.job(due));
        let TakenDue { accounts, made } = taken.await?;
        if accounts > 0 {
            tracing::debug!(accounts, jobs = made.len(), "accounts are to be synchronised");
        }
        self.producer.dispatch(made);
        Ok(accounts.max(planned))
    }

    fn job(&self, due: &Due) -> Result<NewJob, Error> {
        let (job, key) = (ConnectorSync::of(due.connector_id), unique_key(due.connector_id));
        due_job(&self.producer, due, &job, key, LOOK_EVERY)
    }
}

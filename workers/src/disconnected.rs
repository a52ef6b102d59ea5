//! A chore: ends the jobs of disconnected accounts, and lets their rows be deleted.
//!
//! Disconnecting an account ends the jobs that it finds. A process may die in the middle of that, and
//! a job may have been on its way; the rows go only a minute later, in a job of their own. Any node
//! may look, at any time.

use std::time::Duration;

use postworks::client::{self, Producer};
use postworks::job::{CleanupScope, DataCleanup, Request};
use tokio_util::sync::CancellationToken;

use crate::looking::look_until;
use crate::store::{Error, Store};

/// Between two looks, a tenth more or less.
const EVERY: Duration = Duration::from_secs(30);
/// Jobs that are ended at a time.
const BATCH: u32 = 500;

/// Finishes with accounts that were disconnected.
pub struct Disconnected {
    /// Knows the accounts.
    pub store: Store,
    /// Makes the job that deletes.
    pub producer: Producer,
}

impl Disconnected {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let look = || async {
            let cancelled = self.cancel().await?;
            if cancelled > 0 {
                tracing::info!(cancelled, "jobs of disconnected accounts were cancelled");
            }
            if self.store.has_condemned().await? {
                self.clean_up().await?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(EVERY)
        };
        look_until(stop, EVERY, "cannot finish with disconnected accounts now", look).await;
    }

    /// Ends the jobs of accounts that are disconnected; answers how many.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel(&self) -> Result<u64, Error> {
        let mut cancelled = 0;
        for account in self.store.disconnecting().await? {
            let mut after = None;
            loop {
                let (jobs, last) = self.store.cancel_jobs_of(account, after, BATCH).await?;
                cancelled += u64::try_from(jobs.len()).unwrap_or(u64::MAX);
                if last.is_none() {
                    break;
                }
                after = last;
            }
        }
        Ok(cancelled)
    }

    /// Enqueues the job that deletes rows, unless it is there.
    async fn clean_up(&self) -> Result<(), client::Error> {
        let job = DataCleanup { scope: Some(CleanupScope::Connectors), dry_run: false };
        let Ok(mut request) = Request::of(&job) else { return Ok(()) };
        request.policy.unique_key = Some("disconnected".to_owned());
        let job = self.producer.prepare(request)?;
        self.producer.enqueue(vec![job]).await.map(drop)
    }
}

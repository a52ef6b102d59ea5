//! A chore: ends the jobs of disconnected accounts, and lets their rows be deleted.
//!
//! Disconnecting an account ends the jobs that it finds. A process may die in the middle of that, and
//! a job may have been on its way; the rows go only a minute later, in a job of their own. Any node
//! may look, at any time.

use std::time::Duration;

use postworks::client::{self, Producer};
use postworks::job::{CleanupScope, DataCleanup, Request};
use tokio_util::sync::CancellationToken;

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
        let mut failing = false;
        loop {
            let pause = EVERY.mul_f64(0.9 + 0.2 * rand::random::<f64>());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(error, "cannot finish with disconnected accounts now");
                    }
                    failing = true;
                }
            }
        }
    }

    async fn look(&self) -> Result<(), String> {
        let cancelled = self.cancel().await.map_err(|error| error.to_string())?;
        if cancelled > 0 {
            tracing::info!(cancelled, "jobs of disconnected accounts were cancelled");
        }
        if self.store.has_condemned().await.map_err(|error| error.to_string())? {
            self.clean_up().await.map_err(|error| error.to_string())?;
        }
        Ok(())
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

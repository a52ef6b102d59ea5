//! A chore: sees to it that accounts' tokens are renewed before they end.
//!
//! When that is due stands in each account's row. Here a job is made for who is due, and no more: the
//! job renews the tokens as any other would, under the account's lease. Any node may look for them,
//! at any time.

use std::time::Duration;

use postworks::client::Producer;
use postworks::job::{NewJob, TokenRefresh};
use tokio_util::sync::CancellationToken;

use crate::due_jobs::due_job;
use crate::looking::look_until;
use crate::store::{DUE_MAX, Due, Error, Store, TakenDue};

/// Between two looks, a tenth more or less. So far ahead it looks, too: each job has the time of its
/// own account, and none that of the look.
const EVERY: Duration = Duration::from_secs(5);
/// The same while more are due than are taken at a time. After a time without workers many may be
/// due at once, and platforms get their requests one hundred a second and node at most.
const WHILE_MORE: Duration = Duration::from_secs(1);
/// An account that was taken is due again after this, if its job has not renewed its tokens.
const COOL_DOWN: Duration = Duration::from_secs(10 * 60);

/// Enqueues the refreshes that are due.
pub struct Renewals {
    /// Knows the accounts.
    pub store: Store,
    /// Makes the jobs.
    pub producer: Producer,
    /// The platforms that are switched on.
    pub platforms: Vec<&'static str>,
}

impl Renewals {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let look = || async {
            let more = self.look().await? == DUE_MAX as usize;
            Ok::<_, Error>(if more { WHILE_MORE } else { EVERY })
        };
        look_until(stop, EVERY, "cannot look for tokens that end soon", look).await;
    }

    /// Looks once; answers how many accounts were due, at most [`DUE_MAX`].
    ///
    /// # Errors
    /// The ledger cannot be asked now. If it is not known whether it took the jobs, and it did, the
    /// relay pushes them.
    pub async fn look(&self) -> Result<usize, Error> {
        // Those that are due together are not due together again.
        let again_after = COOL_DOWN.mul_f64(rand::random_range(1.0..=1.5));
        let taken = self.store.take_due(&self.platforms, EVERY, again_after, |due| self.job(due));
        let taken = taken.await?;
        let TakenDue { accounts, made } = taken;
        if accounts > 0 {
            tracing::debug!(accounts, jobs = made.len(), "tokens end soon and are to be renewed");
        }
        self.producer.dispatch(made);
        Ok(accounts)
    }

    fn job(&self, due: &Due) -> Result<NewJob, Error> {
        let connector_id = due.connector_id;
        let key = format!("refresh:{connector_id}");
        due_job(&self.producer, due, &TokenRefresh { connector_id }, key, EVERY)
    }
}

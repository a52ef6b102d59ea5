//! Disconnects accounts: here at once, at the platform as far as that can be had.

use postworks_workers::platforms::{Secret, revoke};
use postworks_workers::store::{Disconnected, LastTokens};
use uuid::Uuid;

use super::types::{DisconnectedView, Why};
use super::{App, Error};

/// Jobs that are ended at a time.
const BATCH: u32 = 500;
/// Jobs that a caller waits for, in batches. The rest is the chore's.
const BATCHES_MAX: u32 = 20;

impl App {
    /// Disconnects an account: its tokens are gone, its jobs are cancelled, and its rows follow.
    /// Disconnecting it again changes nothing.
    ///
    /// # Errors
    /// There is no such account, or the ledger's.
    pub async fn disconnect(&self, id: Uuid, why: &Why) -> Result<DisconnectedView, Error> {
        let note = self.note("connector.remove", id.to_string(), why.reason.as_deref())?;
        let app = self.clone();
        // In a task of its own: whoever asked may go away in the middle, and tokens that are taken
        // are to be given back.
        let done = self.tasks.spawn(async move {
            let revoked = match app.store.disconnect(id, &note).await? {
                Disconnected::Missing => {
                    return Err(Error::NotFound(format!("there is no connector {id}")));
                }
                Disconnected::Before => None,
                Disconnected::Now(taken) => Some(app.give_back(*taken).await),
            };
            let cancelled_jobs = app.cancel_jobs_of(id).await?;
            tracing::info!(
                connector_id = %id, ?revoked, cancelled_jobs, "an account is disconnected"
            );
            Ok(DisconnectedView { state: "disconnecting".to_owned(), revoked, cancelled_jobs })
        });
        done.await.map_err(|error| Error::Broken(Box::new(error)))?
    }

    /// Answers whether the platform took the tokens back.
    async fn give_back(&self, taken: LastTokens) -> bool {
        let Ok(platform) = self.node.platforms.get(&taken.platform) else { return false };
        // A refresh token that a person entered is as good as one from the platform; a password for
        // apps is only its owner's to end.
        let entered = match platform.descriptor().secret {
            Secret::RefreshToken => taken.secret,
            Secret::Password | Secret::AccessToken => None,
        };
        // OAuth 2.0 takes an access token as well, where there is nothing that makes another one.
        let has_oauth = self.node.platforms.oauth(&taken.platform).is_some();
        let alone = taken.access.filter(|_| has_oauth);
        match taken.refresh.or(entered).or(alone) {
            Some(token) => revoke(platform.as_ref(), &taken.account, &token).await,
            None => false,
        }
    }

    /// Ends the account's jobs, and takes them out of the broker; answers how many.
    async fn cancel_jobs_of(&self, id: Uuid) -> Result<u64, Error> {
        let (mut cancelled, mut after) = (0, None);
        // A broker that does not answer is not asked for each of them.
        let mut there = true;
        for _ in 0..BATCHES_MAX {
            let (jobs, last) = self.store.cancel_jobs_of(id, after, BATCH).await?;
            cancelled += u64::try_from(jobs.len()).unwrap_or(u64::MAX);
            for (job, queue) in jobs {
                // One that stays there is found to be cancelled when it is claimed.
                if !there {
                    break;
                }
                if let Err(error) = self.node.broker.remove(&queue, job).await {
                    there = false;
                    tracing::debug!(job.id = %job, %error, "a cancelled job is still in the broker");
                }
            }
            if last.is_none() {
                break;
            }
            after = last;
        }
        Ok(cancelled)
    }
}

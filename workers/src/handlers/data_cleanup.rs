//! Deletes what is older than its retention, in small batches.
//!
//! A run that is cut off loses nothing: what is gone is gone, and the next run goes on with what
//! is left. Open jobs and open publications stay whatever their age.

use std::time::Duration;

use async_trait::async_trait;
use postworks::config::Retention;
use postworks::job::{CleanupScope, DataCleanup, JobError, Timestamp};
use postworks::ledger::Prune;
use postworks::worker::{Handler, JobContext};

use super::Services;
use crate::store::{Error, REQUESTS_KEPT};

/// A run stops this long before it would be cut off; the next one goes on.
const SPARE: Duration = Duration::from_secs(10);

fn kept_for(retention: &Retention, scope: CleanupScope) -> Duration {
    match scope {
        CleanupScope::Jobs => retention.jobs,
        CleanupScope::DeadLetters => retention.dead_letters,
        CleanupScope::RemotePosts => retention.remote_posts,
        CleanupScope::Publications => retention.publications,
        CleanupScope::Audit => retention.audit,
        CleanupScope::Redrives => retention.redrives,
        CleanupScope::Events => retention.events,
        CleanupScope::Requests => REQUESTS_KEPT,
        // Counted from when they expired.
        CleanupScope::Sessions | CleanupScope::OauthStates => Duration::ZERO,
        // Soon after they were disconnected, which the store knows.
        CleanupScope::Connectors => Duration::ZERO,
    }
}

/// Handles [`DataCleanup`].
pub struct CleanUp(pub Services);

#[async_trait]
impl Handler<DataCleanup> for CleanUp {
    async fn handle(&self, job: DataCleanup, cx: &JobContext) -> Result<(), JobError> {
        let now = self.0.now();
        for scope in CleanupScope::ALL
            .into_iter()
            .filter(|scope| job.scope.is_none_or(|only| only == *scope))
        {
            let before = now.before(kept_for(&self.0.retention, scope));
            let rows = self.clean(scope, before, job.dry_run, cx.deadline).await;
            let rows = rows.map_err(|error| self.0.fault(error))?;
            tracing::info!(?scope, rows, dry_run = job.dry_run, %before, "cleaned up");
        }
        Ok(())
    }
}

impl CleanUp {
    /// Deletes batch after batch until none is left or the time is up; answers how many rows.
    async fn clean(
        &self,
        scope: CleanupScope,
        before: Timestamp,
        dry_run: bool,
        deadline: Timestamp,
    ) -> Result<u64, Error> {
        let batch = self.0.retention.batch.max(1);
        // An account has rows of several kinds, and a batch is of one.
        let whole = if scope == CleanupScope::Connectors { 1 } else { u64::from(batch) };
        let mut rows = 0;
        loop {
            let gone = self.prune(scope, before, batch, dry_run).await?;
            rows += gone;
            let time_is_up = self.0.now() >= deadline.before(SPARE);
            if dry_run || gone < whole || time_is_up {
                return Ok(rows);
            }
        }
    }

    async fn prune(
        &self,
        scope: CleanupScope,
        before: Timestamp,
        batch: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        let Services { store, ledger, .. } = &self.0;
        let what = match scope {
            CleanupScope::Jobs => {
                let edits = ledger.prune(Prune::Edits, before, batch, dry_run).await?;
                return Ok(edits + ledger.prune(Prune::EndedJobs, before, batch, dry_run).await?);
            }
            CleanupScope::DeadLetters => Prune::DeadLetters,
            CleanupScope::Audit => Prune::Audit,
            CleanupScope::Redrives => Prune::Redrives,
            CleanupScope::RemotePosts => {
                return store.prune_remote_posts(before, batch, dry_run).await;
            }
            CleanupScope::Publications => {
                return store.prune_publications(before, batch, dry_run).await;
            }
            CleanupScope::Requests => return store.prune_requests(before, batch, dry_run).await,
            CleanupScope::Sessions => return store.prune_sessions(before, batch, dry_run).await,
            CleanupScope::OauthStates => {
                return store.prune_oauth_states(before, batch, dry_run).await;
            }
            CleanupScope::Events => return store.prune_events(before, batch, dry_run).await,
            CleanupScope::Connectors => return store.prune_disconnected(batch, dry_run).await,
        };
        Ok(ledger.prune(what, before, batch, dry_run).await?)
    }
}

//! Deletes what is older than its retention, in small batches.
//!
//! A run that is cut off loses nothing: what is gone is gone and noted, and the job's next run goes on
//! with what is left. Open jobs and open publications stay whatever their age. What is tenants' own goes
//! as each tenant's policy says.

mod policy;

use std::time::Duration;

use async_trait::async_trait;
use postworks::config::Retention;
use postworks::job::{CleanupScope, DataCleanup, ErrorClass, JobError, JobId, Timestamp};
use postworks::ledger::Prune;
use postworks::telemetry::metrics::CLEANUP_ROWS;
use postworks::worker::{Handler, JobContext};

use self::policy::{Bounds, oldest_kept};
use super::Services;
use crate::store::{Error, Expired, Keeps, Month, REQUESTS_KEPT, Swept};

/// A run stops this long before it would be cut off; the next one goes on...
const SPARE: Duration = Duration::from_secs(10);
/// ...after this.
const BREATH: Duration = Duration::from_secs(1);

fn kept_for(retention: &Retention, scope: CleanupScope) -> Duration {
    match scope {
        CleanupScope::Jobs => retention.jobs,
        CleanupScope::DeadLetters => retention.dead_letters,
        CleanupScope::RemotePosts => retention.remote_posts,
        CleanupScope::Metrics => retention.metrics,
        CleanupScope::Publications => retention.publications,
        CleanupScope::Audit => retention.audit,
        CleanupScope::Redrives => retention.redrives,
        CleanupScope::Events => retention.events,
        CleanupScope::Media => retention.media,
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
        let Services { store, .. } = &self.0;
        let found = async { Ok((store.cleanup_progress(cx.id).await?, store.retention().await?)) };
        let (before, policies) = found.await.map_err(|error| self.0.fault(error))?;
        let is_done =
            |scope| before.iter().any(|progress| progress.scope == scope && progress.done);
        let wanted = |scope| job.scope.is_none_or(|only| only == scope) && !is_done(scope);
        let mut ended = Vec::new();
        let mut is_whole = true;
        for scope in CleanupScope::ALL.into_iter().filter(|scope| wanted(*scope)) {
            let sweep = Sweep {
                services: &self.0,
                job: cx.id,
                scope,
                now: self.0.now(),
                stop_at: cx.deadline.before(SPARE),
                dry_run: job.dry_run,
            };
            is_whole = sweep.run(&policies).await.map_err(|error| self.0.fault(error))?;
            if !is_whole {
                break;
            }
            ended.push(scope);
        }
        // In one commit: what went was noted as it went, and whoever sweeps a scope again finds it clean.
        store.note_ended(cx.id, &ended).await.map_err(|error| self.0.fault(error))?;
        if is_whole {
            return Ok(());
        }
        let until = self.0.now().after(BREATH);
        let words = "the time of this run is up; the next one goes on";
        Err(JobError::new(ErrorClass::Unavailable { until }, words))
    }
}

/// The cleaning of a scope, as far as one run comes with it.
struct Sweep<'a> {
    services: &'a Services,
    job: JobId,
    scope: CleanupScope,
    now: Timestamp,
    stop_at: Timestamp,
    dry_run: bool,
}

impl Sweep<'_> {
    /// Answers whether it came to the scope's end.
    async fn run(&self, policies: &[Keeps]) -> Result<bool, Error> {
        let before = self.now.before(kept_for(&self.services.retention, self.scope));
        let (swept, is_done) = if CleanupScope::OF_TENANTS.contains(&self.scope) {
            self.of_tenants(&Bounds::of(self.scope, self.now, before, policies)).await?
        } else {
            self.of_nobody(before).await?
        };
        let (scope, rows, partitions) = (self.scope.as_str(), swept.rows, swept.partitions);
        let dry_run = self.dry_run;
        tracing::info!(scope, rows, partitions, dry_run, %before, is_done, "cleaned up");
        // What was counted is noted once it is whole, and as done: to count it again would double it. What
        // was deleted was noted with each batch.
        if self.dry_run && swept.rows > 0 {
            self.services.store.note_swept(self.job, self.scope, &swept, true).await?;
        }
        Ok(is_done)
    }

    fn is_late(&self) -> bool {
        self.services.now() >= self.stop_at
    }

    fn count(&self, swept: &Swept) {
        CLEANUP_ROWS.count(&[self.scope.as_str()]).increment(swept.rows);
    }

    fn batch(&self) -> u32 {
        self.services.retention.batch.max(1)
    }

    /// First the months that no tenant keeps, each at one stroke, then the rows of each.
    async fn of_tenants(&self, bounds: &Bounds) -> Result<(Swept, bool), Error> {
        let store = &self.services.store;
        let mut all = Swept::default();
        let mut from = Timestamp::from_millis(i64::MIN);
        if self.scope == CleanupScope::Metrics {
            for month in store.months_before(oldest_kept(bounds)).await? {
                all.add(&self.month(month).await?);
                from = month.ends;
                if self.is_late() {
                    return Ok((all, false));
                }
            }
        }
        for (whose, before) in bounds {
            let mut expired =
                Expired { scope: self.scope, before: *before, from, whose: whose.clone() };
            if self.dry_run {
                all.add(&store.count_expired(&expired).await?);
                continue;
            }
            loop {
                let (swept, next) = store.expire(&expired, self.batch(), self.job).await?;
                self.count(&swept);
                all.add(&swept);
                let Some(next) = next else { break };
                expired.from = next;
                if self.is_late() {
                    return Ok((all, false));
                }
            }
        }
        Ok((all, true))
    }

    async fn month(&self, month: Month) -> Result<Swept, Error> {
        if self.dry_run {
            return self.services.store.count_month(month).await;
        }
        let swept = self.services.store.drop_month(month, self.job).await?;
        self.count(&swept);
        Ok(swept)
    }

    /// Deletes batch after batch until none is left or the time is up.
    async fn of_nobody(&self, before: Timestamp) -> Result<(Swept, bool), Error> {
        // An account has rows of several kinds, and a batch is of one.
        let whole = if self.scope == CleanupScope::Connectors { 1 } else { self.batch() };
        let mut all = Swept::default();
        loop {
            let swept = Swept::of(self.prune(before).await?);
            all.add(&swept);
            if self.dry_run {
                return Ok((all, true));
            }
            self.count(&swept);
            if swept.rows > 0 {
                self.services.store.note_swept(self.job, self.scope, &swept, false).await?;
            }
            if swept.rows < u64::from(whole) {
                return Ok((all, true));
            }
            if self.is_late() {
                return Ok((all, false));
            }
        }
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let Services { store, ledger, .. } = self.services;
        let (batch, dry_run) = (self.batch(), self.dry_run);
        let what = match self.scope {
            CleanupScope::Jobs => {
                // What cleanups noted goes with their jobs.
                if !dry_run {
                    store.prune_progress(before, batch).await?;
                }
                let edits = ledger.prune(Prune::Edits, before, batch, dry_run).await?;
                return Ok(edits + ledger.prune(Prune::EndedJobs, before, batch, dry_run).await?);
            }
            CleanupScope::DeadLetters => Prune::DeadLetters,
            CleanupScope::Audit => Prune::Audit,
            CleanupScope::Redrives => Prune::Redrives,
            CleanupScope::Requests => return store.prune_requests(before, batch, dry_run).await,
            CleanupScope::Sessions => return store.prune_sessions(before, batch, dry_run).await,
            CleanupScope::OauthStates => {
                return store.prune_oauth_states(before, batch, dry_run).await;
            }
            CleanupScope::Connectors => return store.prune_disconnected(batch, dry_run).await,
            // Tenants' own.
            CleanupScope::RemotePosts
            | CleanupScope::Metrics
            | CleanupScope::Publications
            | CleanupScope::Events
            | CleanupScope::Media => return Ok(0),
        };
        Ok(ledger.prune(what, before, batch, dry_run).await?)
    }
}

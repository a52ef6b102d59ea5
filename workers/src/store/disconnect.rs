//! Disconnecting an account: its tokens at once, its jobs and rows in batches.
//!
//! One transaction marks the account and deletes its tokens' row, on which everything that renews
//! tokens compares and swaps: whoever is at it finds nothing to write to, and revives nobody. The row
//! gets another name, so that the account can be connected anew meanwhile, with a row of its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postworks::job::{JobId, Queue};
use postworks::ledger::{AuditEntry, SqlLedger, until_sure};
use postworks::{on_db, on_tx};
use secrecy::SecretString;
use uuid::Uuid;

use super::connectors::Row;
use super::events::EventKind;
use super::{Connector, Error, PAGE_MAX, Store, page_limit};
use crate::platforms::Account;
use crate::secrets::Place;

/// Rows go so long after the account was disconnected: whoever was about to write to them then has
/// done so.
pub const ROWS_KEPT: Duration = Duration::from_secs(60);

/// The accounts whose rows may go: $1 disconnected before. One with a publication whose outcome is
/// open stays: that must be settled first.
macro_rules! condemned {
    () => {
        "SELECT c.id FROM connectors c WHERE c.disconnected_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM publications p WHERE p.connector_id = c.id AND p.state = 'sending')"
    };
}

/// What was taken from an account, in memory only.
#[derive(Debug)]
pub struct LastTokens {
    /// Its platform.
    pub platform: String,
    /// The account, as it was.
    pub account: Account,
    /// What the platform may be given back: the last refresh token, or what a person entered.
    /// `None` if there was none, or it cannot be opened here.
    pub refresh: Option<SecretString>,
    /// The password that a person entered, if that is still kept.
    pub secret: Option<SecretString>,
    /// The last access token.
    pub access: Option<SecretString>,
}

/// What became of disconnecting an account.
#[derive(Debug)]
pub enum Disconnected {
    /// There is no such account.
    Missing,
    /// It was disconnected before.
    Before,
    /// It is, now.
    Now(Box<LastTokens>),
}

/// The sealed columns, and what they are sealed with.
type Sealed = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, i64);

impl Store {
    /// Disconnects an account: its tokens are gone when this returns. `note` goes to the audit, once.
    pub async fn disconnect(&self, id: Uuid, note: &AuditEntry) -> Result<Disconnected, Error> {
        // If the answer to the commit gets lost, the repetition finds nothing to take.
        let taken = Mutex::new(None);
        let done = until_sure(|| self.try_disconnect(id, note, &taken)).await?;
        Ok(match (done, taken.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            (true, Some(taken)) => Disconnected::Now(Box::new(taken)),
            (true, None) => Disconnected::Before,
            (false, _) => Disconnected::Missing,
        })
    }

    /// Answers whether there is such an account, and leaves there what it took from it.
    async fn try_disconnect(
        &self,
        id: Uuid,
        note: &AuditEntry,
        taken: &Mutex<Option<LastTokens>>,
    ) -> Result<bool, Error> {
        const LOCK: &str = "UPDATE connectors SET disconnected_at = $2 \
             WHERE id = $1 AND disconnected_at IS NULL RETURNING *";
        const THERE: &str = "SELECT COUNT(*) FROM connectors WHERE id = $1";
        const SHRED: &str = "DELETE FROM connector_tokens WHERE connector_id = $1 \
             RETURNING access_ct, refresh_ct, secret_ct, version";
        // With an id of the platform's it could be taken for the account that is connected anew.
        const RENAME: &str = "UPDATE connectors SET state = 'needs_reauth', \
             state_reason = 'disconnected', remote_id = NULL, identifier = $2 WHERE id = $1";
        // Jobs for it could do nothing any more.
        const UNSCHEDULE: &str = "DELETE FROM schedules WHERE account = $1";
        let now = self.now().as_millis();
        let mut tx = self.db.begin().await?;
        let row: Option<Row> = on_tx!(&mut tx, conn => {
            sqlx::query_as(LOCK).bind(id).bind(now).fetch_optional(conn).await
        })?;
        let Some(row) = row else {
            let there: i64 = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(THERE).bind(id).fetch_one(conn).await
            })?;
            return Ok(there > 0);
        };
        let connector = Connector::try_from(row)?;
        let sealed: Option<Sealed> = on_tx!(&mut tx, conn => {
            sqlx::query_as(SHRED).bind(id).fetch_optional(conn).await
        })?;
        on_tx!(&mut tx, conn => sqlx::query(RENAME)
            .bind(id)
            .bind(super::connectors::hidden(&connector.identifier, id))
            .execute(conn)
            .await
            .map(drop))?;
        on_tx!(&mut tx, conn => sqlx::query(UNSCHEDULE).bind(id).execute(conn).await.map(drop))?;
        self.tell(&mut tx, EventKind::Disconnected, id, None).await?;
        SqlLedger::audit_in(&mut tx, note).await?;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.take(connector, sealed));
        tx.commit().await?;
        Ok(true)
    }

    fn take(&self, connector: Connector, sealed: Option<Sealed>) -> LastTokens {
        let (access, refresh, secret, version) = sealed.unwrap_or_default();
        let connector_id = connector.id;
        let open = |column, value: Option<Vec<u8>>| {
            let place = Place { connector_id, column, version };
            // A key that is missing here must not keep an account connected.
            value.and_then(|value| match self.keys.open(&place, &value) {
                Ok(secret) => Some(secret),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%connector_id, error, "tokens that go cannot be given back");
                    None
                }
            })
        };
        LastTokens {
            account: connector.account(),
            platform: connector.platform,
            refresh: open(super::tokens::REFRESH, refresh),
            secret: open(super::tokens::SECRET, secret),
            access: open(super::tokens::ACCESS, access),
        }
    }

    /// Ends live jobs of an account, about `limit` at most, but no publication whose outcome is open:
    /// that is settled first. Answers those that it ended, and, if there may be more, what `after` is
    /// next time.
    pub async fn cancel_jobs_of(
        &self,
        connector: Uuid,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<(Vec<(JobId, Queue)>, Option<Uuid>), Error> {
        const SCHEDULED: &str = "SELECT id, job_id FROM publications \
             WHERE connector_id = $1 AND state IN ('scheduled', 'failed') AND id > $2 \
             AND EXISTS (SELECT 1 FROM jobs \
                 WHERE jobs.id = publications.job_id AND jobs.state IN ('open', 'parked')) \
             ORDER BY id LIMIT $3";
        const OPEN: &str = "SELECT job_id, sender_job FROM publications \
             WHERE connector_id = $1 AND state = 'sending'";
        let after = after.unwrap_or(Uuid::nil());
        let full = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut tx = self.db.begin().await?;
        let scheduled: Vec<(Uuid, Uuid)> = on_tx!(&mut tx, conn => sqlx::query_as(SCHEDULED)
            .bind(connector)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)?;
        let jobs: Vec<JobId> = scheduled.iter().map(|row| JobId::from_uuid(row.1)).collect();
        // Locked first: whoever records an intent locks its job as well, and is seen or refused.
        let mut live = SqlLedger::live_of_account_in(&mut tx, connector, &jobs, limit).await?;
        let open: Vec<(Uuid, Option<Uuid>)> = on_tx!(&mut tx, conn => {
            sqlx::query_as(OPEN).bind(connector).fetch_all(conn).await
        })?;
        live.retain(|(id, _)| {
            let id = id.as_uuid();
            !open.iter().any(|(job, sender)| *job == id || *sender == Some(id))
        });
        let ids: Vec<JobId> = live.iter().map(|(id, _)| *id).collect();
        SqlLedger::cancel_in(&mut tx, &ids, self.now()).await?;
        tx.commit().await?;
        let next = match scheduled.last() {
            Some((last, _)) if scheduled.len() >= full => Some(*last),
            _ => Some(after).filter(|_| live.len() >= full),
        };
        Ok((live, next))
    }

    /// Disconnected accounts whose rows are there, at most [`PAGE_MAX`].
    pub async fn disconnecting(&self) -> Result<Vec<Uuid>, Error> {
        const SQL: &str =
            "SELECT id FROM connectors WHERE disconnected_at IS NOT NULL ORDER BY id LIMIT $1";
        Ok(on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(page_limit(PAGE_MAX)).fetch_all(pool).await
        })?)
    }

    /// Whether there are rows of disconnected accounts that may go.
    pub async fn has_condemned(&self) -> Result<bool, Error> {
        const SQL: &str = concat!("SELECT COUNT(*) FROM (", condemned!(), " LIMIT 1) AS found");
        let count: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(self.condemned_before()).fetch_one(pool).await
        })?;
        Ok(count > 0)
    }

    /// Deletes at most `limit` rows of accounts that were disconnected, the accounts last; answers how
    /// many went, 0 once none is left, or, in a dry run, how many in all would go. Posts stay: they
    /// are the tenant's, not the account's.
    pub async fn prune_disconnected(&self, limit: u32, dry_run: bool) -> Result<u64, Error> {
        if dry_run {
            return self.condemned_rows().await;
        }
        const POSTS: &str = concat!(
            "DELETE FROM remote_posts WHERE (connector_id, remote_id) IN \
             (SELECT connector_id, remote_id FROM remote_posts WHERE connector_id IN (",
            condemned!(),
            ") LIMIT $2)"
        );
        const PUBLICATIONS: &str = concat!(
            "DELETE FROM publications WHERE state <> 'sending' AND id IN \
             (SELECT p.id FROM publications p WHERE p.state <> 'sending' AND p.connector_id IN (",
            condemned!(),
            ") AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = p.job_id \
             AND jobs.state IN ('open', 'parked')) LIMIT $2)"
        );
        const METRICS: &str = concat!(
            "DELETE FROM post_metrics WHERE (connector_id, remote_id, read_at) IN \
             (SELECT connector_id, remote_id, read_at FROM post_metrics WHERE connector_id IN (",
            condemned!(),
            ") LIMIT $2)"
        );
        // What else there is of an account goes with its row.
        const ACCOUNTS: &str = concat!(
            "DELETE FROM connectors WHERE id IN (SELECT gone.id FROM (",
            condemned!(),
            ") AS gone WHERE NOT EXISTS (SELECT 1 FROM publications \
             WHERE publications.connector_id = gone.id) AND NOT EXISTS (SELECT 1 FROM jobs \
             WHERE jobs.account = gone.id AND jobs.state = 'parked') \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.account = gone.id \
             AND jobs.account IS NOT NULL AND jobs.kind <> 'post_publication' \
             AND jobs.finished_at IS NULL AND jobs.state IN ('open', 'parked')) LIMIT $2)"
        );
        for sql in [POSTS, METRICS, PUBLICATIONS, ACCOUNTS] {
            let mut tx = self.db.begin().await?;
            let gone = on_tx!(&mut tx, conn => sqlx::query(sql)
                .bind(self.condemned_before())
                .bind(i64::from(limit))
                .execute(conn)
                .await
                .map(|done| done.rows_affected()))?;
            tx.commit().await?;
            if gone > 0 {
                return Ok(gone);
            }
        }
        Ok(0)
    }

    async fn condemned_rows(&self) -> Result<u64, Error> {
        const SQL: &str = concat!(
            "SELECT (SELECT COUNT(*) FROM remote_posts WHERE connector_id IN (",
            condemned!(),
            ")) + (SELECT COUNT(*) FROM post_metrics WHERE connector_id IN (",
            condemned!(),
            ")) + (SELECT COUNT(*) FROM publications WHERE connector_id IN (",
            condemned!(),
            ")) + (SELECT COUNT(*) FROM (",
            condemned!(),
            ") AS gone)"
        );
        let count: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(self.condemned_before()).fetch_one(pool).await
        })?;
        Ok(count.unsigned_abs())
    }

    fn condemned_before(&self) -> i64 {
        self.now().before(ROWS_KEPT).as_millis()
    }
}

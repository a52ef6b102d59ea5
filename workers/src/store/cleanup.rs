//! Deletes what is older than its retention and nobody's in particular, a small batch a transaction;
//! tenants' own rows are [`expire`](Store::expire)'s.
//!
//! On PostgreSQL a batch skips rows that somebody works on; they go with a later one.

use postworks::job::Timestamp;
use postworks::ledger::{Db, Tx};
use postworks::{on_db, on_tx};

use super::{Error, Store};

/// Statements that differ between the databases: SQLite has one writer and no row locks.
struct Dialects {
    postgres: &'static str,
    sqlite: &'static str,
}

impl Dialects {
    const fn of(&self, tx: &Tx) -> &'static str {
        match tx {
            Tx::Postgres(_) => self.postgres,
            Tx::Sqlite(_) => self.sqlite,
        }
    }
}

const REQUESTS: Dialects = Dialects {
    postgres: "DELETE FROM requests WHERE (actor, key) IN \
         (SELECT actor, key FROM requests WHERE created_at < $1 \
         ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    sqlite: "DELETE FROM requests WHERE (actor, key) IN \
         (SELECT actor, key FROM requests WHERE created_at < $1 \
         ORDER BY created_at LIMIT $2)",
};

const REFRESH_TOKENS: Dialects = Dialects {
    postgres: "DELETE FROM refresh_tokens WHERE id IN \
         (SELECT id FROM refresh_tokens WHERE expires_at < $1 \
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    sqlite: "DELETE FROM refresh_tokens WHERE id IN \
         (SELECT id FROM refresh_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
};

const SESSIONS: Dialects = Dialects {
    postgres: "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE expires_at < $1 \
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    sqlite: "DELETE FROM sessions WHERE id IN \
         (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
};

const OAUTH_STATES: Dialects = Dialects {
    postgres: "DELETE FROM oauth_states WHERE state_hash IN \
         (SELECT state_hash FROM oauth_states WHERE expires_at < $1 \
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    sqlite: "DELETE FROM oauth_states WHERE state_hash IN \
         (SELECT state_hash FROM oauth_states WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
};

const PROGRESS: Dialects = Dialects {
    postgres: "DELETE FROM cleanup_progress WHERE (job_id, scope, tenant_id) IN \
         (SELECT job_id, scope, tenant_id FROM cleanup_progress WHERE updated_at < $1 \
         ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    sqlite: "DELETE FROM cleanup_progress WHERE (job_id, scope, tenant_id) IN \
         (SELECT job_id, scope, tenant_id FROM cleanup_progress WHERE updated_at < $1 \
         ORDER BY updated_at LIMIT $2)",
};

impl Store {
    /// Deletes at most `limit` rows of cleanups' progress that were last written before `before`; answers
    /// how many went.
    pub async fn prune_progress(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.delete_rows(&PROGRESS, before, limit).await
    }

    /// Deletes at most `limit` accounts that were about to be connected until `before`; answers how
    /// many went, or, in a dry run, how many in all would go.
    pub async fn prune_oauth_states(
        &self,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        const COUNT: &str = "SELECT COUNT(*) FROM oauth_states WHERE expires_at < $1";
        self.prune_rows(&OAUTH_STATES, COUNT, before, limit, dry_run).await
    }

    /// Deletes at most `limit` refresh tokens, and as many sessions, that expired before `before`;
    /// answers how many tokens went, or, in a dry run, how many in all would go.
    pub async fn prune_sessions(
        &self,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        const COUNT: &str = "SELECT COUNT(*) FROM refresh_tokens WHERE expires_at < $1";
        let gone = self.prune_rows(&REFRESH_TOKENS, COUNT, before, limit, dry_run).await?;
        // A session has at least one token, so its own turn comes in time.
        if !dry_run {
            self.prune_rows(&SESSIONS, COUNT, before, limit, dry_run).await?;
        }
        Ok(gone)
    }

    /// Deletes at most `limit` answers to requests with a key that began before `before`; answers
    /// how many went, or, in a dry run, how many in all would go.
    pub async fn prune_requests(
        &self,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        const COUNT: &str = "SELECT COUNT(*) FROM requests WHERE created_at < $1";
        self.prune_rows(&REQUESTS, COUNT, before, limit, dry_run).await
    }

    async fn prune_rows(
        &self,
        delete: &Dialects,
        counted: &'static str,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        if dry_run {
            return count(&self.db, counted, before).await;
        }
        self.delete_rows(delete, before, limit).await
    }

    async fn delete_rows(
        &self,
        delete: &Dialects,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let sql = delete.of(&tx);
        let gone = on_tx!(&mut tx, conn => sqlx::query(sql)
            .bind(before.as_millis())
            .bind(i64::from(limit))
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(gone)
    }
}

async fn count(db: &Db, sql: &'static str, before: Timestamp) -> Result<u64, Error> {
    let count: i64 = on_db!(db, pool => {
        sqlx::query_scalar(sql).bind(before.as_millis()).fetch_one(pool).await
    })?;
    Ok(count.unsigned_abs())
}

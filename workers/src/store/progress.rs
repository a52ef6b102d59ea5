//! What a cleanup has deleted so far, or would delete.

use std::collections::BTreeMap;

use postworks::job::{CleanupScope, JobId, Tenant};
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store};

/// How far a cleanup came with a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The scope.
    pub scope: CleanupScope,
    /// Rows that went, or would go, those of dropped partitions among them.
    pub rows: u64,
    /// Partitions that were dropped, or would be.
    pub partitions: u64,
    /// It is done with the scope.
    pub done: bool,
    /// The rows of each tenant, where they are tenants' own.
    pub tenants: BTreeMap<Tenant, u64>,
}

/// A step of a cleanup, or what a dry run counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows.
    pub rows: u64,
    /// Partitions.
    pub partitions: u64,
    /// The rows of each tenant, where they are tenants' own.
    pub tenants: BTreeMap<Tenant, u64>,
}

impl Swept {
    /// So many rows of nobody in particular.
    pub fn of(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Adds another step.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.partitions += other.partitions;
        for (tenant, rows) in &other.tenants {
            *self.tenants.entry(*tenant).or_default() += rows;
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

type Row = (String, Uuid, i64, i64, bool);

impl Store {
    /// How far a cleanup came, scope by scope; nothing for other jobs.
    pub async fn cleanup_progress(&self, job: JobId) -> Result<Vec<Progress>, Error> {
        const SQL: &str = "SELECT scope, tenant_id, gone, partitions, done FROM cleanup_progress \
             WHERE job_id = $1 ORDER BY scope, tenant_id";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(job.as_uuid()).fetch_all(pool).await
        })?;
        let mut found: Vec<Progress> = Vec::new();
        // Nobody's id comes first.
        for (scope, tenant, gone, partitions, done) in rows {
            let Some(scope) = CleanupScope::parse(&scope) else { continue };
            let rows = gone.unsigned_abs();
            if !tenant.is_nil() {
                if let Some(progress) = found.last_mut().filter(|found| found.scope == scope) {
                    progress.tenants.insert(Tenant::from_uuid(tenant), rows);
                }
                continue;
            }
            let (partitions, tenants) = (partitions.unsigned_abs(), BTreeMap::new());
            found.push(Progress { scope, rows, partitions, done, tenants });
        }
        Ok(found)
    }

    /// Notes a step of a cleanup, by itself: where rows go in a transaction of somebody else's. A
    /// process that dies in between has deleted more than it noted, by a batch.
    pub async fn note_swept(
        &self,
        job: JobId,
        scope: CleanupScope,
        swept: &Swept,
        done: bool,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        self.note_swept_in(&mut tx, job, scope, swept, done).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn note_swept_in(
        &self,
        tx: &mut Tx,
        job: JobId,
        scope: CleanupScope,
        swept: &Swept,
        done: bool,
    ) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO cleanup_progress \
             (job_id, scope, tenant_id, gone, partitions, done, updated_at) ";
        const ADD: &str = " ON CONFLICT (job_id, scope, tenant_id) DO UPDATE SET \
             gone = cleanup_progress.gone + excluded.gone, \
             partitions = cleanup_progress.partitions + excluded.partitions, \
             done = excluded.done, updated_at = excluded.updated_at";
        let now = self.now().as_millis();
        let all = (Uuid::nil(), swept.rows, swept.partitions);
        let each = swept.tenants.iter().map(|(tenant, rows)| (tenant.as_uuid(), *rows, 0));
        let rows: Vec<(Uuid, u64, u64)> = std::iter::once(all).chain(each).collect();
        Ok(on_tx!(tx, conn => {
            let mut query = sqlx::QueryBuilder::new(INSERT);
            query.push_values(rows, |mut row, (tenant, gone, partitions)| {
                row.push_bind(job.as_uuid())
                    .push_bind(scope.as_str())
                    .push_bind(tenant)
                    .push_bind(signed(gone))
                    .push_bind(signed(partitions))
                    .push_bind(done)
                    .push_bind(now);
            });
            query.push(ADD).build().execute(conn).await.map(drop)
        })?)
    }

    /// Notes that a cleanup has come to the end of these scopes, whatever went of them.
    pub async fn note_ended(&self, job: JobId, scopes: &[CleanupScope]) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO cleanup_progress \
             (job_id, scope, tenant_id, gone, partitions, done, updated_at) ";
        const END: &str = " ON CONFLICT (job_id, scope, tenant_id) DO UPDATE SET \
             done = true, updated_at = excluded.updated_at";
        if scopes.is_empty() {
            return Ok(());
        }
        let now = self.now().as_millis();
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            let mut query = sqlx::QueryBuilder::new(INSERT);
            query.push_values(scopes, |mut row, scope| {
                row.push_bind(job.as_uuid()).push_bind(scope.as_str()).push_bind(Uuid::nil());
                row.push_bind(0_i64).push_bind(0_i64).push_bind(true).push_bind(now);
            });
            query.push(END).build().execute(conn).await.map(drop)
        })?;
        Ok(tx.commit().await?)
    }
}

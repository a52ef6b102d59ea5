//! How long each tenant keeps what is its own, where that differs from the configuration.

use std::time::Duration;

use postworks::job::{CleanupScope, Tenant};
use postworks::ledger::{AuditEntry, SqlLedger, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store};

/// How long a tenant keeps something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// Who.
    pub tenant: Tenant,
    /// What, one of [`CleanupScope::OF_TENANTS`].
    pub scope: CleanupScope,
    /// For how long.
    pub keep: Duration,
}

impl Store {
    /// What tenants keep for other times than the configuration says: all tenants, or the one whose rows
    /// these are.
    pub async fn retention(&self) -> Result<Vec<Keeps>, Error> {
        const SQL: &str =
            "SELECT tenant_id, scope, keep_ms FROM tenant_retention ORDER BY tenant_id, scope";
        let rows: Vec<(Uuid, String, i64)> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        // A scope that only a newer program knows is for that one to heed.
        let keeps = |(tenant, scope, keep_ms): (Uuid, String, i64)| {
            let tenant = Tenant::from_uuid(tenant);
            let keep = Duration::from_millis(keep_ms.unsigned_abs());
            Some(Keeps { tenant, scope: CleanupScope::parse(&scope)?, keep })
        };
        Ok(rows.into_iter().filter_map(keeps).collect())
    }

    /// Sets for how long a tenant keeps something, and notes it.
    pub async fn set_retention(&self, keeps: &Keeps, note: &AuditEntry) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO tenant_retention (tenant_id, scope, keep_ms) \
             VALUES ($1, $2, $3) ON CONFLICT (tenant_id, scope) DO UPDATE SET keep_ms = $3";
        let keep_ms = i64::try_from(keeps.keep.as_millis()).unwrap_or(i64::MAX);
        until_sure(|| async {
            let mut tx = self.db.begin().await?;
            on_tx!(&mut tx, conn => sqlx::query(SQL)
                .bind(keeps.tenant.as_uuid())
                .bind(keeps.scope.as_str())
                .bind(keep_ms)
                .execute(conn)
                .await
                .map(drop))?;
            SqlLedger::audit_in(&mut tx, note).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Lets the configuration say again for how long a tenant keeps something, and notes it; answers
    /// whether it was set.
    pub async fn clear_retention(
        &self,
        tenant: Tenant,
        scope: CleanupScope,
        note: &AuditEntry,
    ) -> Result<bool, Error> {
        const SQL: &str = "DELETE FROM tenant_retention WHERE tenant_id = $1 AND scope = $2";
        let mut tx = self.db.begin().await?;
        let cleared = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(tenant.as_uuid())
            .bind(scope.as_str())
            .execute(conn)
            .await
            .map(|done| done.rows_affected() > 0))?;
        if cleared {
            SqlLedger::audit_in(&mut tx, note).await?;
        }
        tx.commit().await?;
        Ok(cleared)
    }
}

//! Tenants: whose rows are whose. Only the house looks after them.

use std::collections::HashMap;

use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{AuditEntry, SqlLedger, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, time};

/// A tenant by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTenant {
    /// Which.
    pub tenant: Tenant,
    /// No other one has it.
    pub name: String,
    /// When it was entered.
    pub created_at: Timestamp,
}

impl Store {
    /// The rows of one tenant: no others are read or changed through it.
    #[must_use]
    pub fn for_tenant(&self, tenant: Tenant) -> Self {
        Self { db: self.db.for_tenant(tenant), ..self.clone() }
    }

    /// Enters a tenant; answers false if the name is taken.
    pub async fn add_tenant(&self, new: &NamedTenant, note: &AuditEntry) -> Result<bool, Error> {
        until_sure(|| self.try_add_tenant(new, note)).await
    }

    async fn try_add_tenant(&self, new: &NamedTenant, note: &AuditEntry) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING";
        const WHICH: &str = "SELECT id FROM tenants WHERE name = $1";
        let mut tx = self.db.begin().await?;
        let entered = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(new.tenant.as_uuid())
            .bind(new.name.as_str())
            .bind(new.created_at.as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1))?;
        if !entered {
            // Perhaps by ourselves: the answer to our own commit may have got lost.
            let which: Option<Uuid> = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(WHICH).bind(new.name.as_str()).fetch_optional(conn).await
            })?;
            return Ok(which == Some(new.tenant.as_uuid()));
        }
        SqlLedger::audit_in(&mut tx, note).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How many dead letters each tenant has that has any.
    pub async fn dead_by_tenant(&self) -> Result<HashMap<Tenant, u64>, Error> {
        // A letter is its job's.
        const SQL: &str = "SELECT jobs.tenant_id, count(*) FROM dead_letters \
             JOIN jobs ON jobs.id = dead_letters.job_id GROUP BY jobs.tenant_id";
        let rows: Vec<(Uuid, i64)> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        let counted = |(id, count)| (Tenant::from_uuid(id), u64::try_from(count).unwrap_or(0));
        Ok(rows.into_iter().map(counted).collect())
    }

    /// Every tenant, the oldest first.
    pub async fn tenants(&self) -> Result<Vec<NamedTenant>, Error> {
        const SQL: &str = "SELECT id, name, created_at FROM tenants ORDER BY created_at, id";
        let rows: Vec<(Uuid, String, i64)> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        let of_row = |(id, name, created_at)| NamedTenant {
            tenant: Tenant::from_uuid(id),
            name,
            created_at: time(created_at),
        };
        Ok(rows.into_iter().map(of_row).collect())
    }

    /// Whether there can be more than one tenant.
    pub fn takes_tenants(&self) -> bool {
        matches!(self.db, postworks::ledger::Db::Postgres(_))
    }
}

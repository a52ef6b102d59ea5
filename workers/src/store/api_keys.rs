//! Keys that programs ask the API with.

use std::fmt;

use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{AuditEntry, SqlLedger};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, below, page_limit, time};

/// A key, without the key itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// Whose rows it shows.
    pub tenant: Tenant,
    /// What it is for, in its owner's words.
    pub name: Option<String>,
    /// What it may be used for, as the API names it.
    pub role: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is of no use.
    pub revoked_at: Option<Timestamp>,
}

/// Without the hash.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("created_at", &self.created_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

type Row = (Uuid, Uuid, Option<String>, String, Vec<u8>, i64, Option<i64>);

fn of_row((id, tenant, name, role, hash, created_at, revoked_at): Row) -> Result<ApiKey, Error> {
    let hash = hash.try_into().map_err(|_| Error::Corrupt(format!("the hash of API key {id}")))?;
    let (created_at, revoked_at) = (time(created_at), revoked_at.map(time));
    let tenant = Tenant::from_uuid(tenant);
    Ok(ApiKey { id, tenant, name, role, hash, created_at, revoked_at })
}

impl Store {
    /// Keeps a new key.
    pub async fn add_api_key(&self, key: &ApiKey, note: &AuditEntry) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO api_keys (id, tenant, name, role, hash, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(key.id)
            .bind(key.tenant.as_uuid())
            .bind(key.name.as_deref())
            .bind(key.role.as_str())
            .bind(key.hash.as_slice())
            .bind(key.created_at.as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        SqlLedger::audit_in(&mut tx, note).await?;
        Ok(tx.commit().await?)
    }

    /// A key, revoked or not.
    pub async fn api_key(&self, id: Uuid) -> Result<Option<ApiKey>, Error> {
        const SQL: &str = "SELECT id, tenant, name, role, hash, created_at, revoked_at \
             FROM api_keys WHERE id = $1";
        let row: Option<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id).fetch_optional(pool).await
        })?;
        row.map(of_row).transpose()
    }

    /// Keys, newest first; those older than `before`, the last one of the page before.
    pub async fn api_keys(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<ApiKey>, Error> {
        const SQL: &str = "SELECT id, tenant, name, role, hash, created_at, revoked_at \
             FROM api_keys WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(below(before)).bind(page_limit(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(of_row).collect()
    }

    /// Makes a key useless; answers whether there is such a key.
    pub async fn revoke_api_key(&self, id: Uuid, note: &AuditEntry) -> Result<bool, Error> {
        const SQL: &str = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
        let now = self.now().as_millis();
        let mut tx = self.db.begin().await?;
        let found = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(now)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if found == 0 {
            return Ok(false);
        }
        SqlLedger::audit_in(&mut tx, note).await?;
        tx.commit().await?;
        Ok(true)
    }
}

//! People who may ask the API.

use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{AuditEntry, SqlLedger, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, below, page_limit, time};

/// A person. `Debug` shows no password, since there is none in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The person's id.
    pub id: Uuid,
    /// Whose rows the person sees.
    pub tenant: Tenant,
    /// In small letters; nobody else has it.
    pub email: String,
    /// What the person may do, as the API names it.
    pub role: String,
    /// When the person was entered.
    pub created_at: Timestamp,
    /// Since when the person may do nothing.
    pub disabled_at: Option<Timestamp>,
}

type Row = (Uuid, Uuid, String, String, i64, Option<i64>);

fn of_row((id, tenant, email, role, created_at, disabled_at): Row) -> User {
    let tenant = Tenant::from_uuid(tenant);
    User {
        id,
        tenant,
        email,
        role,
        created_at: time(created_at),
        disabled_at: disabled_at.map(time),
    }
}

impl Store {
    /// Enters a person, whose id is `id`; answers false if somebody has the email already.
    pub async fn add_user(
        &self,
        user: &User,
        hash: &str,
        note: &AuditEntry,
    ) -> Result<bool, Error> {
        until_sure(|| self.try_add_user(user, hash, note)).await
    }

    async fn try_add_user(
        &self,
        user: &User,
        hash: &str,
        note: &AuditEntry,
    ) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO users (id, tenant, email, password, role, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (email) DO NOTHING";
        const WHOSE: &str = "SELECT id FROM users WHERE email = $1";
        let mut tx = self.db.begin().await?;
        let entered = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(user.id)
            .bind(user.tenant.as_uuid())
            .bind(user.email.as_str())
            .bind(hash)
            .bind(user.role.as_str())
            .bind(user.created_at.as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1))?;
        if !entered {
            // Perhaps by ourselves: the answer to our own commit may have got lost.
            let whose: Option<Uuid> = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(WHOSE).bind(user.email.as_str()).fetch_optional(conn).await
            })?;
            return Ok(whose == Some(user.id));
        }
        SqlLedger::audit_in(&mut tx, note).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The person with this email, and the hash of the password.
    pub async fn user_with_password(&self, email: &str) -> Result<Option<(User, String)>, Error> {
        const SQL: &str = "SELECT id, tenant, email, role, created_at, disabled_at, password \
             FROM users              WHERE email = $1";
        type WithPassword = (Uuid, Uuid, String, String, i64, Option<i64>, String);
        let row: Option<WithPassword> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(email).fetch_optional(pool).await
        })?;
        Ok(row.map(|(id, tenant, email, role, created, disabled, hash)| {
            (of_row((id, tenant, email, role, created, disabled)), hash)
        }))
    }

    /// People, newest first; those older than `before`, the last one of the page before.
    pub async fn users(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<User>, Error> {
        const SQL: &str = "SELECT id, tenant, email, role, created_at, disabled_at FROM users \
             WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(below(before)).bind(page_limit(limit)).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(of_row).collect())
    }

    /// Lets a person do nothing any more; answers whether there is such a person.
    pub async fn disable_user(&self, email: &str, note: &AuditEntry) -> Result<bool, Error> {
        const SQL: &str = "UPDATE users SET disabled_at = COALESCE(disabled_at, $2) \
             WHERE email = $1";
        let now = self.now().as_millis();
        let mut tx = self.db.begin().await?;
        let found = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(email)
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

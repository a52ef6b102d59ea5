//! Keeps what people did by hand.

use sqlx::{Database, Encode, FromRow, QueryBuilder, Type};
use uuid::Uuid;

use super::SqlLedger;
use super::stored::plain;
use crate::job::Timestamp;
use crate::ledger::{AuditEntry, AuditFilter, Db, Error, Tx};
use crate::{on_db, on_tx};

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO audit (id, at, actor, action, subject, detail, why, count) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) ",
            $conflict
        )
    };
}

#[derive(Debug, FromRow)]
struct StoredEntry {
    id: Uuid,
    at: i64,
    actor: String,
    action: String,
    subject: String,
    detail: Option<String>,
    why: Option<String>,
    count: i64,
}

impl From<StoredEntry> for AuditEntry {
    fn from(row: StoredEntry) -> Self {
        Self {
            id: row.id,
            at: Timestamp::from_millis(row.at),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            why: row.why,
            count: u64::try_from(row.count).unwrap_or(0),
        }
    }
}

impl SqlLedger {
    /// Notes an action in the transaction that does it, so that neither is ever without the other.
    /// An action of several transactions has one entry: the counts of its steps add up.
    pub async fn audit_in(tx: &mut Tx, entry: &AuditEntry) -> Result<(), Error> {
        const SQL: &str = insert!("DO UPDATE SET count = audit.count + excluded.count");
        write(tx, entry, SQL).await
    }
}

/// Notes an action that is done elsewhere. Noting it again changes nothing.
pub(super) async fn note(db: &Db, entry: &AuditEntry) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    write(&mut tx, entry, insert!("DO NOTHING")).await?;
    tx.commit().await
}

/// Notes a step of an action that is done elsewhere.
pub(super) async fn step(db: &Db, entry: &AuditEntry) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    SqlLedger::audit_in(&mut tx, entry).await?;
    tx.commit().await
}

async fn write(tx: &mut Tx, entry: &AuditEntry, sql: &'static str) -> Result<(), Error> {
    on_tx!(tx, conn => {
        sqlx::query(sql)
            .bind(entry.id)
            .bind(entry.at.as_millis())
            .bind(plain(&entry.actor))
            .bind(plain(&entry.action))
            .bind(plain(&entry.subject))
            .bind(entry.detail.as_deref().map(plain))
            .bind(entry.why.as_deref().map(plain))
            .bind(i64::try_from(entry.count).unwrap_or(i64::MAX))
            .execute(conn)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Lists actions, newest first.
pub(super) async fn list(db: &Db, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error> {
    const ROWS: &str =
        "SELECT id, at, actor, action, subject, detail, why, count FROM audit WHERE true";
    let rows: Vec<StoredEntry> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(ROWS);
        narrow(&mut query, filter);
        query.build_query_as().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

fn narrow<DB: Database>(query: &mut QueryBuilder<DB>, filter: &AuditFilter)
where
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    for (condition, text) in [
        (" AND actor = ", &filter.actor),
        (" AND action = ", &filter.action),
        (" AND subject = ", &filter.subject),
    ] {
        if let Some(text) = text {
            query.push(condition).push_bind(plain(text));
        }
    }
    for (condition, time) in [(" AND at >= ", filter.since), (" AND at < ", filter.until)] {
        if let Some(time) = time {
            query.push(condition).push_bind(time.as_millis());
        }
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(filter.limit));
}

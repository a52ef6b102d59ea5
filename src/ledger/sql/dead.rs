//! Reads dead letters.

use sqlx::{Database, Encode, FromRow, QueryBuilder, Type};
use uuid::Uuid;

use super::stored::{StoredLetter, nonsense};
use crate::job::{JobId, Kind, Queue, Reason, Timestamp};
use crate::ledger::{Db, DeadCount, DeadFilter, DeadGroup, DeadLetter, Error, Tx};
use crate::{on_db, on_tx};

const LETTERS: &str = "SELECT job_id, kind, queue, category, class, message, fingerprint, \
     attempts, created_at, died_at FROM dead_letters WHERE true";

/// Lists dead letters, newest first.
pub(super) async fn letters(db: &Db, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Error> {
    let rows: Vec<StoredLetter> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(LETTERS);
        narrow(&mut query, filter);
        query.build_query_as().fetch_all(pool).await
    })?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// The jobs of dead letters, as the transaction sees them.
pub(super) async fn ids(tx: &mut Tx, filter: &DeadFilter) -> Result<Vec<Uuid>, Error> {
    let rows: Vec<StoredLetter> = on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(LETTERS);
        narrow(&mut query, filter);
        query.build_query_as().fetch_all(conn).await
    })?;
    Ok(rows.into_iter().map(|row| row.job_id).collect())
}

fn narrow<DB: Database>(query: &mut QueryBuilder<DB>, filter: &DeadFilter)
where
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    choose(query, filter);
    query.push(" ORDER BY job_id DESC LIMIT ").push_bind(i64::from(filter.limit));
}

fn choose<DB: Database>(query: &mut QueryBuilder<DB>, filter: &DeadFilter)
where
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    if !filter.ids.is_empty() {
        query.push(" AND job_id IN (");
        let mut ids = query.separated(", ");
        for id in &filter.ids {
            ids.push_bind(id.as_uuid());
        }
        query.push(")");
    }
    if let Some(category) = filter.category {
        query.push(" AND category = ").push_bind(category.as_str().to_owned());
    }
    if let Some(fingerprint) = &filter.fingerprint {
        query.push(" AND fingerprint = ").push_bind(fingerprint.clone());
    }
    if let Some(queue) = &filter.queue {
        query.push(" AND queue = ").push_bind(queue.as_str().to_owned());
    }
    if let Some(kind) = &filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str().to_owned());
    }
    if let Some(account) = filter.account {
        query
            .push(" AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id AND jobs.account = ")
            .push_bind(account)
            .push(")");
    }
    if let Some(time) = filter.died_after {
        query.push(" AND died_at >= ").push_bind(time.as_millis());
    }
    if let Some(time) = filter.died_before {
        query.push(" AND died_at < ").push_bind(time.as_millis());
    }
    if let Some(redrive) = filter.untouched_by {
        query
            .push(
                " AND NOT EXISTS (SELECT 1 FROM redriven \
                 WHERE redriven.job_id = dead_letters.job_id AND redriven.redrive = ",
            )
            .push_bind(redrive)
            .push(")");
    }
    if let Some(before) = filter.before {
        query.push(" AND job_id < ").push_bind(before.as_uuid());
    }
}

/// Groups dead letters by their cause, the most numerous first.
pub(super) async fn groups(db: &Db, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Error> {
    // Ids sort by time, as text as well; PostgreSQL has no greatest UUID.
    let example = match db {
        Db::Postgres(_) => "max(job_id::text)::uuid",
        Db::Sqlite(_) => "max(job_id)",
    };
    let rows: Vec<StoredGroup> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(
            "SELECT g.fingerprint, g.count, g.first_died_at, g.last_died_at, g.example, d.kind, \
             d.category, d.class, d.message FROM ( \
                 SELECT fingerprint, count(*) AS count, min(died_at) AS first_died_at, \
                     max(died_at) AS last_died_at, ",
        );
        query.push(example).push(" AS example FROM dead_letters WHERE true");
        choose(&mut query, filter);
        query.push(" GROUP BY fingerprint ORDER BY count(*) DESC, fingerprint LIMIT ");
        query.push_bind(i64::from(filter.limit));
        query.push(
            ") AS g JOIN dead_letters AS d ON d.job_id = g.example \
             ORDER BY g.count DESC, g.fingerprint",
        );
        query.build_query_as().fetch_all(pool).await
    })?;
    rows.into_iter().map(DeadGroup::try_from).collect()
}

#[derive(Debug, FromRow)]
struct StoredGroup {
    fingerprint: String,
    count: i64,
    first_died_at: i64,
    last_died_at: i64,
    example: Uuid,
    kind: String,
    category: String,
    class: String,
    message: String,
}

impl TryFrom<StoredGroup> for DeadGroup {
    type Error = Error;

    fn try_from(row: StoredGroup) -> Result<Self, Error> {
        let category = row.category.parse().map_err(nonsense)?;
        Ok(Self {
            fingerprint: row.fingerprint,
            count: u64::try_from(row.count).unwrap_or(0),
            kind: Kind::parse(&row.kind).map_err(nonsense)?,
            reason: Reason { category, class: row.class, message: row.message },
            first_died_at: Timestamp::from_millis(row.first_died_at),
            last_died_at: Timestamp::from_millis(row.last_died_at),
            example: JobId::from_uuid(row.example),
        })
    }
}

/// Counts dead letters.
pub(super) async fn counts(db: &Db) -> Result<Vec<DeadCount>, Error> {
    const SQL: &str = "SELECT queue, category, count(*), min(died_at) FROM dead_letters \
         GROUP BY queue, category ORDER BY queue, category";
    let rows: Vec<(String, String, i64, i64)> =
        on_db!(db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
    rows.into_iter()
        .map(|(queue, category, count, oldest)| {
            Ok(DeadCount {
                queue: Queue::parse(&queue).map_err(nonsense)?,
                category: category.parse().map_err(nonsense)?,
                count: u64::try_from(count).unwrap_or(0),
                oldest_died_at: Timestamp::from_millis(oldest),
            })
        })
        .collect()
}

//! Reads dead letters.

use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::stored::{StoredLetter, nonsense};
use crate::job::Queue;
use crate::ledger::{Db, DeadCount, DeadFilter, DeadLetter, Error, Tx};
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
    if let Some(before) = filter.before {
        query.push(" AND job_id < ").push_bind(before.as_uuid());
    }
    query.push(" ORDER BY job_id DESC LIMIT ").push_bind(i64::from(filter.limit));
}

/// Counts dead letters.
pub(super) async fn counts(db: &Db) -> Result<Vec<DeadCount>, Error> {
    const SQL: &str = "SELECT queue, category, count(*) FROM dead_letters \
         GROUP BY queue, category ORDER BY queue, category";
    let rows: Vec<(String, String, i64)> =
        on_db!(db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
    rows.into_iter()
        .map(|(queue, category, count)| {
            Ok(DeadCount {
                queue: Queue::parse(&queue).map_err(nonsense)?,
                category: category.parse().map_err(nonsense)?,
                count: u64::try_from(count).unwrap_or(0),
            })
        })
        .collect()
}

//! What the ledger says at the end: how many jobs there are of which state, and what they take.

use std::collections::BTreeMap;

use postworks::ledger::Db;
use postworks::on_db;

use crate::loadtest::system::REFUSAL;

/// What jobs take in the ledger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size {
    /// Rows.
    pub(crate) jobs: u64,
    /// Bytes of their tables, indexes included.
    pub(crate) bytes: u64,
    /// Bytes of log that the server has written since it was made.
    pub(crate) wal: f64,
}

impl Size {
    pub(crate) async fn of(db: &Db) -> anyhow::Result<Self> {
        const SQL: &str = "SELECT (SELECT count(*) FROM jobs), \
             (SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM \
              unnest(ARRAY['jobs', 'attempts', 'dead_letters']) AS name), \
             (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8";
        let (jobs, bytes, wal): (i64, i64, f64) = on_db!(db, pool => {
            sqlx::query_as(SQL).fetch_one(pool).await
        })?;
        Ok(Self { jobs: of(jobs), bytes: of(bytes), wal })
    }
}

/// Jobs by kind and state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) by_state: BTreeMap<String, u64>,
    /// Dead ones.
    pub(crate) dead: BTreeMap<Death, u64>,
    /// Attempts that failed.
    pub(crate) attempts_failed: u64,
}

/// Why a job is dead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Death {
    /// The platform refused it because it was asked to, in these words.
    pub(crate) asked: bool,
    pub(crate) category: String,
    pub(crate) kind: String,
}

impl Fates {
    pub(crate) async fn of(db: &Db) -> anyhow::Result<Self> {
        const STATES: &str = "SELECT state, count(*) FROM jobs GROUP BY state";
        const DEAD: &str = "SELECT position($1 IN message) > 0 AS asked, category, kind, count(*) FROM dead_letters \
             GROUP BY asked, category, kind";
        const ATTEMPTS: &str = "SELECT count(*) FROM attempts";
        let states: Vec<(String, i64)> = on_db!(db, pool => {
            sqlx::query_as(STATES).fetch_all(pool).await
        })?;
        let dead: Vec<(bool, String, String, i64)> = on_db!(db, pool => {
            sqlx::query_as(DEAD).bind(REFUSAL).fetch_all(pool).await
        })?;
        let attempts: i64 = on_db!(db, pool => {
            sqlx::query_scalar(ATTEMPTS).fetch_one(pool).await
        })?;
        Ok(Self {
            by_state: states.into_iter().map(|(state, count)| (state, of(count))).collect(),
            dead: dead
                .into_iter()
                .map(|(asked, category, kind, count)| (Death { asked, category, kind }, of(count)))
                .collect(),
            attempts_failed: of(attempts),
        })
    }

    /// Jobs of a state.
    pub(crate) fn of_state(&self, state: &str) -> u64 {
        self.by_state.get(state).copied().unwrap_or(0)
    }

    /// Dead jobs that were to be refused.
    pub(crate) fn refused(&self) -> u64 {
        let dead = self.dead.iter().filter(|(death, _)| death.asked);
        dead.map(|(_, count)| count).sum()
    }
}

/// Whether every job has ended.
pub(crate) async fn all_ended(db: &Db) -> anyhow::Result<bool> {
    const SQL: &str = "SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE state IN ('open', 'parked'))";
    let ended: bool = on_db!(db, pool => sqlx::query_scalar(SQL).fetch_one(pool).await)?;
    Ok(ended)
}

/// What became of some jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// They were accepted, and the ledger has no trace of them.
    pub(crate) lost: u64,
    /// They have not ended.
    pub(crate) open: u64,
}

impl Left {
    pub(crate) async fn of(db: &Db, ids: &[uuid::Uuid]) -> anyhow::Result<Self> {
        let mut left = Self::default();
        for some in ids.chunks(500) {
            let (there, open): (i64, i64) = on_db!(db, pool => {
                let mut query = sqlx::QueryBuilder::new(
                    "SELECT count(*), COALESCE(sum(CASE WHEN state IN ('open', 'parked') \
                     THEN 1 ELSE 0 END), 0) FROM jobs WHERE id IN (",
                );
                let mut places = query.separated(", ");
                for id in some {
                    places.push_bind(*id);
                }
                query.push(")");
                query.build_query_as().fetch_one(pool).await
            })?;
            left.lost += (some.len() as u64).saturating_sub(of(there));
            left.open += of(open);
        }
        Ok(left)
    }
}

fn of(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

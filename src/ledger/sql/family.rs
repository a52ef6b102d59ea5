//! Lets new jobs wait for others: in the transaction that records them, so that no parent can end
//! unseen in between. Its row is locked, and says from then on that somebody waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::SqlLedger;
use super::stored::{nonsense, state};
use crate::job::family::{OnFailure, WAIT_MAX, Waits};
use crate::job::{JobId, Kind, NewJob, State, Timestamp};
use crate::ledger::{Db, Error, ParentJob, Recorded, Session, Tx, UnfitParent};
use crate::{on_db, on_tx};

/// What a job is parked for that waits for its parents.
pub(super) const PARENTS: &str = "parents";
/// So long after its expiry a waiting job's row says it may run: a node that knows no families, and
/// whose clock is ahead, lets none go that anybody could still run.
pub(super) const BEYOND_MS: i64 = 60_000;
/// Rows in one statement: a database takes only so many values.
const ROWS_MAX: usize = 2_000;

macro_rules! on_session {
    ($session:expr, $conn:ident => $body:expr) => {
        match &mut *$session {
            Session::Postgres(postgres) => {
                let $conn = &mut **postgres;
                $body
            }
            Session::Sqlite(sqlite) => {
                let $conn = &mut **sqlite;
                $body
            }
        }
    };
}

/// A parent, as its row says.
#[derive(sqlx::FromRow)]
struct Found {
    id: Uuid,
    tenant_id: Uuid,
    kind: String,
    state: String,
    finished_at: Option<i64>,
    category: Option<String>,
    message: Option<String>,
}

impl Found {
    fn has_ended(&self) -> bool {
        !matches!(self.state.as_str(), "open" | "parked")
    }
}

/// A new job and whom it waits for.
struct Child<'a> {
    job: &'a NewJob,
    waits: &'a Waits,
    parents: BTreeSet<Uuid>,
}

/// Lets those of these jobs wait that were just made and name parents; `recorded` is what became of
/// each, in order, and says afterwards which of them wait.
pub(super) async fn link(
    session: &mut Session<'_>,
    jobs: &[NewJob],
    recorded: &mut [Recorded],
) -> Result<(), Error> {
    let mut children = children(jobs, recorded);
    if children.is_empty() {
        return Ok(());
    }
    // By an earlier call whose answer got lost. What became of them since stands.
    let linked = linked(session, &children).await?;
    children.retain(|id, _| !linked.contains(id));
    let parents: Vec<Uuid> = children
        .values()
        .flat_map(|child| &child.parents)
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let found = lock(session, &parents).await?;
    check(&children, &found)?;
    let live: HashSet<Uuid> =
        found.values().filter(|row| !row.has_ended()).map(|row| row.id).collect();
    write_parents(session, &children, &found).await?;
    mark(session, &parents.into_iter().filter(|id| live.contains(id)).collect::<Vec<_>>()).await?;
    children.retain(|_, child| child.parents.iter().any(|parent| live.contains(parent)));
    park(session, &children).await?;
    for (job, recorded) in jobs.iter().zip(recorded) {
        let id = job.id.as_uuid();
        if *recorded == Recorded::Created && (linked.contains(&id) || children.contains_key(&id)) {
            *recorded = Recorded::Waits;
        }
    }
    Ok(())
}

/// The jobs that were made and name parents. One that stands for another job of the call, by their
/// unique key, is waited for as that.
fn children<'a>(jobs: &'a [NewJob], recorded: &[Recorded]) -> BTreeMap<Uuid, Child<'a>> {
    let others: HashMap<JobId, JobId> = jobs
        .iter()
        .zip(recorded)
        .filter_map(|(job, recorded)| match recorded {
            Recorded::Existing(holder) | Recorded::Replaced(holder) => Some((job.id, *holder)),
            _ => None,
        })
        .collect();
    let made = jobs.iter().zip(recorded).filter(|(_, recorded)| **recorded == Recorded::Created);
    made.filter_map(|(job, _)| {
        let waits = job.waits.as_deref()?;
        let parents =
            waits.parents.iter().map(|id| others.get(id).unwrap_or(id).as_uuid()).collect();
        Some((job.id.as_uuid(), Child { job, waits, parents }))
    })
    .collect()
}

async fn linked(
    session: &mut Session<'_>,
    children: &BTreeMap<Uuid, Child<'_>>,
) -> Result<HashSet<Uuid>, Error> {
    let ids: Vec<Uuid> = children.keys().copied().collect();
    let mut linked = HashSet::new();
    for ids in ids.chunks(ROWS_MAX) {
        let found: Vec<Uuid> = on_session!(session, conn => {
            let mut query =
                QueryBuilder::new("SELECT DISTINCT child_id FROM job_parents WHERE child_id IN (");
            let mut places = query.separated(", ");
            for id in ids {
                places.push_bind(*id);
            }
            query.push(")").build_query_scalar().fetch_all(conn).await
        })?;
        linked.extend(found);
    }
    Ok(linked)
}

/// Locks jobs in the order in which every other batch does, and reads them then: while it waited,
/// they may have ended.
async fn lock(session: &mut Session<'_>, ids: &[Uuid]) -> Result<HashMap<Uuid, Found>, Error> {
    if let Session::Postgres(conn) = session {
        const LOCK: &str = "SELECT id FROM jobs WHERE id = ANY($1) ORDER BY id FOR UPDATE";
        sqlx::query(LOCK).bind(ids).execute(&mut **conn).await?;
    }
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_MAX) {
        let rows: Vec<Found> = on_session!(session, conn => {
            let mut query = QueryBuilder::new(
                "SELECT jobs.id, jobs.tenant_id, jobs.kind, jobs.state, jobs.finished_at, \
                     dead_letters.category, dead_letters.message \
                 FROM jobs LEFT JOIN dead_letters ON dead_letters.job_id = jobs.id \
                 WHERE jobs.id IN (",
            );
            let mut places = query.separated(", ");
            for id in ids {
                places.push_bind(*id);
            }
            query.push(")").build_query_as().fetch_all(conn).await
        })?;
        found.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(found)
}

fn check(children: &BTreeMap<Uuid, Child<'_>>, found: &HashMap<Uuid, Found>) -> Result<(), Error> {
    let mut unfit = Vec::new();
    for Child { job, waits, parents } in children.values() {
        for parent in parents {
            let row = found.get(parent).filter(|row| row.tenant_id == job.tenant.as_uuid());
            let ended = match row {
                None => None,
                Some(row) => match state(&row.state)? {
                    bad @ (State::Dead | State::Cancelled)
                        if waits.on_failure == OnFailure::Fail =>
                    {
                        Some(bad)
                    }
                    _ => continue,
                },
            };
            unfit.push(UnfitParent { child: job.id, parent: JobId::from_uuid(*parent), ended });
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(Error::Parents(unfit)) }
}

async fn write_parents(
    session: &mut Session<'_>,
    children: &BTreeMap<Uuid, Child<'_>>,
    found: &HashMap<Uuid, Found>,
) -> Result<(), Error> {
    let rows: Vec<(Uuid, &Found)> = children
        .iter()
        .flat_map(|(id, child)| child.parents.iter().map(move |parent| (*id, parent)))
        .filter_map(|(child, parent)| Some((child, found.get(parent)?)))
        .collect();
    for rows in rows.chunks(ROWS_MAX) {
        on_session!(session, conn => {
            let mut query = QueryBuilder::new(
                "INSERT INTO job_parents (child_id, parent_id, kind, outcome, reason, ended_at) ",
            );
            query.push_values(rows, |mut row, (child, parent)| {
                let ended = parent.has_ended();
                row.push_bind(*child)
                    .push_bind(parent.id)
                    .push_bind(parent.kind.clone())
                    .push_bind(ended.then(|| parent.state.clone()))
                    .push_bind(words(parent.category.as_deref(), parent.message.as_deref()))
                    .push_bind(parent.finished_at.filter(|_| ended));
            });
            query.build().execute(conn).await.map(drop)
        })?;
    }
    Ok(())
}

/// Why a job is dead, as its children are told.
pub(super) fn words(category: Option<&str>, message: Option<&str>) -> Option<String> {
    Some(format!("{}: {}", category?, message?))
}

/// Says of live jobs that others wait for them.
async fn mark(session: &mut Session<'_>, ids: &[Uuid]) -> Result<(), Error> {
    for ids in ids.chunks(ROWS_MAX) {
        on_session!(session, conn => {
            let mut query =
                QueryBuilder::new("UPDATE jobs SET waited_on = true WHERE NOT waited_on AND id IN (");
            let mut places = query.separated(", ");
            for id in ids {
                places.push_bind(*id);
            }
            query.push(")").build().execute(conn).await.map(drop)
        })?;
    }
    Ok(())
}

/// Parks jobs until their parents ended, and keeps aside what they are to be then.
async fn park(
    session: &mut Session<'_>,
    children: &BTreeMap<Uuid, Child<'_>>,
) -> Result<(), Error> {
    let children: Vec<&Child<'_>> = children.values().collect();
    for children in children.chunks(ROWS_MAX) {
        on_session!(session, conn => {
            let mut query = QueryBuilder::new(
                "INSERT INTO job_waits (job_id, run_at, life_ms, on_failure) ",
            );
            query.push_values(children, |mut row, Child { job, waits, .. }| {
                let life = job.expires_at.as_millis().saturating_sub(job.run_at.as_millis());
                row.push_bind(job.id.as_uuid())
                    .push_bind(job.run_at.as_millis())
                    .push_bind((!waits.keeps_expiry).then_some(life))
                    .push_bind(waits.on_failure.as_str());
            });
            query.build().execute(conn).await.map(drop)
        })?;
        on_session!(session, conn => {
            let mut query = QueryBuilder::new("UPDATE jobs SET state = 'parked', parked_for = ");
            query.push_bind(PARENTS).push(", expires_at = v.column2, run_at = v.column3 FROM (");
            query.push_values(children, |mut row, child| {
                let until = waits_until(child);
                row.push_bind(child.job.id.as_uuid())
                    .push_bind(until)
                    .push_bind(until.saturating_add(BEYOND_MS));
            });
            query.push(") AS v WHERE jobs.id = v.column1").build().execute(conn).await.map(drop)
        })?;
    }
    Ok(())
}

fn waits_until(Child { job, waits, .. }: &Child<'_>) -> i64 {
    let until = if waits.keeps_expiry { job.expires_at } else { job.created_at.after(WAIT_MAX) };
    until.as_millis()
}

impl SqlLedger {
    /// Cancels a job that still waits for its parents; answers whether it did.
    ///
    /// # Errors
    /// The database's.
    pub async fn stop_waiting_in(tx: &mut Tx, id: JobId, now: Timestamp) -> Result<bool, Error> {
        const SQL: &str = "UPDATE jobs SET state = 'cancelled', finished_at = $2, \
                 parked_for = NULL WHERE id = $1 AND state = 'parked' AND parked_for = $3";
        let stopped = on_tx!(tx, conn => sqlx::query(SQL)
            .bind(id.as_uuid())
            .bind(now.as_millis())
            .bind(PARENTS)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(stopped > 0)
    }
}

#[derive(sqlx::FromRow)]
struct StoredParent {
    parent_id: Uuid,
    kind: String,
    outcome: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    ended_at: Option<i64>,
}

impl TryFrom<StoredParent> for ParentJob {
    type Error = Error;

    fn try_from(row: StoredParent) -> Result<Self, Error> {
        Ok(Self {
            id: JobId::from_uuid(row.parent_id),
            kind: Kind::parse(&row.kind).map_err(nonsense)?,
            outcome: row.outcome.as_deref().map(state).transpose()?,
            state: row.state.as_deref().map(state).transpose()?,
            reason: row.reason,
            ended_at: row.ended_at.map(Timestamp::from_millis),
        })
    }
}

/// The jobs that a job waits for, or waited for.
pub(super) async fn parents(db: &Db, id: JobId) -> Result<Vec<ParentJob>, Error> {
    const SQL: &str = "SELECT p.parent_id, p.kind, p.outcome, jobs.state, p.reason, p.ended_at \
         FROM job_parents p LEFT JOIN jobs ON jobs.id = p.parent_id \
         WHERE p.child_id = $1 ORDER BY p.parent_id";
    let rows: Vec<StoredParent> = on_db!(db, pool => {
        sqlx::query_as(SQL).bind(id.as_uuid()).fetch_all(pool).await
    })?;
    rows.into_iter().map(ParentJob::try_from).collect()
}

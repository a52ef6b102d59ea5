//! Tells children how their parents ended, once, whoever does and however many do.
//!
//! A parent that ended is in an index of its own until each of its children was told: whatever ended
//! it, and whenever whoever was about to tell them died. Telling is one transaction: it writes the end
//! into the child's record of that parent, and sees whether it was the last one.
//!
//! Nobody waits here for a lock: what somebody else holds is left for the next look, a moment later.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::batch::{self, LetterRow};
use super::family::{PARENTS, words};
use super::stored::{StoredJob, job_columns, nonsense, plain};
use crate::job::family::OnFailure;
use crate::job::{Category, JobId, Kind, Reason, Timestamp};
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::{Class, Error, Families, Told, Tx};
use crate::telemetry::metrics::DEAD_LETTERED;
use crate::{on_db, on_tx};

/// Children that are told in one transaction.
const CHILDREN_MAX: i64 = 1_000;

/// Spelled as the index is, so that it is found.
macro_rules! untold {
    () => {
        "waited_on AND state IN ('completed', 'dead', 'cancelled')"
    };
}

#[derive(sqlx::FromRow)]
struct EndedParent {
    id: Uuid,
    kind: String,
    state: String,
    finished_at: Option<i64>,
}

/// How a parent ended, for a child.
struct End {
    parent: Uuid,
    kind: String,
    outcome: String,
    reason: Option<String>,
    at: Option<i64>,
}

/// A child that waits, and what it is to be afterwards.
#[derive(sqlx::FromRow)]
struct Waiting {
    id: Uuid,
    kind: String,
    queue: String,
    account: Option<Uuid>,
    failed_attempts: i32,
    expires_at: i64,
    run_at: i64,
    life_ms: Option<i64>,
    on_failure: String,
    untold: i64,
}

impl Families {
    /// Tells children of parents that ended, at most `limit` of these.
    ///
    /// # Errors
    /// The database's. After [`Error::Unsure`] the relay pushes what was let go.
    pub async fn tell(&self, now: Timestamp, limit: u32) -> Result<Told, Error> {
        self.db.meter().measure(Class::Chore, self.try_tell(now, limit)).await
    }

    /// Whether there is an end that children were not told of. Costs next to nothing.
    async fn has_untold(&self) -> Result<bool, Error> {
        const SQL: &str = concat!(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE ",
            untold!(),
            " LIMIT 1) AS found"
        );
        let found: i64 = on_db!(&self.db, pool => sqlx::query_scalar(SQL).fetch_one(pool).await)?;
        Ok(found > 0)
    }

    async fn try_tell(&self, now: Timestamp, limit: u32) -> Result<Told, Error> {
        if !self.has_untold().await? {
            return Ok(Told::default());
        }
        let mut tx = self.db.begin().await?;
        let ends = ends(&mut tx, limit).await?;
        if ends.is_empty() {
            // At once: it may hold rows that others look for.
            tx.rollback().await?;
            return Ok(Told::default());
        }
        let mut told = Told { found: ends.len(), ..Told::default() };
        let links = lock_children(&mut tx, &ends).await?;
        told.told = links.len();
        write_ends(&mut tx, &links, &ends).await?;
        let mut died = Vec::new();
        let mut live = Vec::new();
        for child in waiting(&mut tx, &links).await? {
            match death(&child, &links, &ends) {
                Some(reason) => died.push((child, reason)),
                None if child.untold == 0 => live.push(child),
                None => {}
            }
        }
        told.died = died.len();
        bury(&mut tx, &died, now).await?;
        for job in let_go(&mut tx, &live, now).await? {
            told.live.push(job.try_into()?);
        }
        told.done = forget(&mut tx, &ends).await?;
        tx.commit().await?;
        for (child, _) in died {
            let labels = [child.queue.as_str(), child.kind.as_str(), Category::Parent.as_str()];
            DEAD_LETTERED.count(&labels).increment(1);
        }
        Ok(told)
    }
}

/// Parents that ended and are nobody else's just now, by their ids.
async fn ends(tx: &mut Tx, limit: u32) -> Result<HashMap<Uuid, End>, Error> {
    macro_rules! select {
        ($lock:literal) => {
            concat!(
                "SELECT id, kind, state, finished_at FROM jobs WHERE ",
                untold!(),
                " ORDER BY id LIMIT $1",
                $lock
            )
        };
    }
    let sql = match tx {
        Tx::Postgres(_) => select!(" FOR UPDATE SKIP LOCKED"),
        Tx::Sqlite(_) => select!(""),
    };
    let rows: Vec<EndedParent> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(sql).bind(i64::from(limit)).fetch_all(conn).await
    })?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let letters: Vec<(Uuid, String, String)> = on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "SELECT job_id, category, message FROM dead_letters WHERE job_id IN (",
        );
        let mut places = query.separated(", ");
        for row in &rows {
            places.push_bind(row.id);
        }
        query.push(")").build_query_as().fetch_all(conn).await
    })?;
    let reasons: HashMap<Uuid, Option<String>> = letters
        .iter()
        .map(|(id, category, message)| (*id, words(Some(category), Some(message))))
        .collect();
    let end = |row: EndedParent| {
        let reason = reasons.get(&row.id).cloned().flatten();
        let (kind, outcome, at) = (row.kind, row.state, row.finished_at);
        (row.id, End { parent: row.id, kind, outcome, reason, at })
    };
    Ok(rows.into_iter().map(end).collect())
}

/// Children that have to be told of these ends, and the parents each has to be told of. Those that
/// somebody works on just now are left out.
async fn lock_children(
    tx: &mut Tx,
    ends: &HashMap<Uuid, End>,
) -> Result<BTreeMap<Uuid, Vec<Uuid>>, Error> {
    let rows: Vec<(Uuid, Uuid)> = on_tx!(&mut *tx, conn => {
        let mut query = QueryBuilder::new(
            "SELECT child_id, parent_id FROM job_parents WHERE outcome IS NULL AND parent_id IN (",
        );
        let mut places = query.separated(", ");
        for parent in ends.keys() {
            places.push_bind(*parent);
        }
        query.push(") LIMIT ").push_bind(CHILDREN_MAX);
        query.build_query_as().fetch_all(conn).await
    })?;
    let mut links: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (child, parent) in rows {
        links.entry(child).or_default().push(parent);
    }
    if let Tx::Postgres(tx) = tx {
        const LOCK: &str =
            "SELECT id FROM jobs WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
        let children: Vec<Uuid> = links.keys().copied().collect();
        let ours: HashSet<Uuid> = sqlx::query_scalar(LOCK)
            .bind(children)
            .fetch_all(&mut **tx)
            .await?
            .into_iter()
            .collect();
        links.retain(|child, _| ours.contains(child));
    }
    Ok(links)
}

async fn write_ends(
    tx: &mut Tx,
    links: &BTreeMap<Uuid, Vec<Uuid>>,
    ends: &HashMap<Uuid, End>,
) -> Result<(), Error> {
    let rows: Vec<(Uuid, &End)> = links
        .iter()
        .flat_map(|(child, parents)| parents.iter().map(move |parent| (*child, parent)))
        .filter_map(|(child, parent)| Some((child, ends.get(parent)?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "UPDATE job_parents SET outcome = v.column3, reason = v.column4, ended_at = v.column5 \
             FROM (",
        );
        query.push_values(rows, |mut row, (child, end)| {
            row.push_bind(child)
                .push_bind(end.parent)
                .push_bind(end.outcome.clone())
                .push_bind(end.reason.clone())
                .push_bind(end.at);
        });
        query.push(
            ") AS v WHERE job_parents.child_id = v.column1 AND job_parents.parent_id = v.column2",
        );
        query.build().execute(conn).await.map(drop)
    })?)
}

/// Those of these children that wait, asked once they are locked: of two that tell the same child
/// of two ends, the second sees what the first has written.
async fn waiting(tx: &mut Tx, links: &BTreeMap<Uuid, Vec<Uuid>>) -> Result<Vec<Waiting>, Error> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "SELECT jobs.id, jobs.kind, jobs.queue, jobs.account, jobs.failed_attempts, \
                 jobs.expires_at, job_waits.run_at, job_waits.life_ms, job_waits.on_failure, \
                 (SELECT count(*) FROM job_parents WHERE job_parents.child_id = jobs.id \
                     AND job_parents.outcome IS NULL) AS untold \
             FROM jobs JOIN job_waits ON job_waits.job_id = jobs.id \
             WHERE jobs.state = 'parked' AND jobs.parked_for = ",
        );
        query.push_bind(PARENTS).push(" AND jobs.id IN (");
        let mut places = query.separated(", ");
        for child in links.keys() {
            places.push_bind(*child);
        }
        query.push(") ORDER BY jobs.id").build_query_as().fetch_all(conn).await
    })?)
}

/// Why a child dies now, if it does.
fn death(
    child: &Waiting,
    links: &BTreeMap<Uuid, Vec<Uuid>>,
    ends: &HashMap<Uuid, End>,
) -> Option<Reason> {
    if child.on_failure != OnFailure::Fail.as_str() {
        return None;
    }
    let told = links.get(&child.id)?.iter().filter_map(|parent| ends.get(parent));
    let end = told.filter(|end| end.outcome != "completed").min_by_key(|end| end.parent)?;
    let (kind, parent) = (&end.kind, JobId::from_uuid(end.parent));
    let message = match &end.reason {
        Some(reason) => format!("its parent {parent} ({kind}) is {}: {reason}", end.outcome),
        None => format!("its parent {parent} ({kind}) is {}", end.outcome),
    };
    let category = Category::Parent;
    Some(Reason { category, class: category.as_str().to_owned(), message })
}

/// Ends children that fail with a parent.
async fn bury(tx: &mut Tx, died: &[(Waiting, Reason)], now: Timestamp) -> Result<(), Error> {
    if died.is_empty() {
        return Ok(());
    }
    on_tx!(&mut *tx, conn => {
        let mut query =
            QueryBuilder::new("UPDATE jobs SET state = 'dead', parked_for = NULL, finished_at = ");
        query.push_bind(now.as_millis());
        query.push(", run_at = v.column2, expires_at = v.column3 FROM (");
        query.push_values(died, |mut row, (child, _)| {
            row.push_bind(child.id)
                .push_bind(child.run_at)
                .push_bind(child.expires_from(child.run_at));
        });
        query.push(") AS v WHERE jobs.id = v.column1").build().execute(conn).await.map(drop)
    })?;
    let mut letters = Vec::with_capacity(died.len());
    for (child, reason) in died {
        let kind = Kind::parse(&child.kind).map_err(nonsense)?;
        letters.push(LetterRow {
            job_id: child.id,
            category: reason.category.as_str(),
            fingerprint: fingerprint(&kind, child.account, reason),
            class: plain(&reason.class),
            message: plain(&reason.message),
            attempts: child.failed_attempts,
            died_at: now.as_millis(),
        });
    }
    batch::insert_letters(tx, &letters).await?;
    wait_no_more(tx, &died.iter().map(|(child, _)| child.id).collect::<Vec<_>>()).await
}

/// Makes children live whose parents have all ended: due at their own time, or now.
async fn let_go(tx: &mut Tx, live: &[Waiting], now: Timestamp) -> Result<Vec<StoredJob>, Error> {
    if live.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = on_tx!(&mut *tx, conn => {
        let mut query = QueryBuilder::new(
            "UPDATE jobs SET state = 'open', parked_for = NULL, run_at = v.column2, \
             expires_at = v.column3 FROM (",
        );
        query.push_values(live, |mut row, child| {
            let run_at = child.run_at.max(now.as_millis());
            row.push_bind(child.id).push_bind(run_at).push_bind(child.expires_from(run_at));
        });
        query.push(concat!(") AS v WHERE jobs.id = v.column1 RETURNING ", job_columns!()));
        query.build_query_as().fetch_all(conn).await
    })?;
    wait_no_more(tx, &live.iter().map(|child| child.id).collect::<Vec<_>>()).await?;
    Ok(jobs)
}

impl Waiting {
    /// Until when it is of use if it may run from then on.
    fn expires_from(&self, run_at: i64) -> i64 {
        self.life_ms.map_or(self.expires_at, |life| run_at.saturating_add(life))
    }
}

/// Forgets what was kept aside for jobs that wait no more.
pub(super) async fn wait_no_more(tx: &mut Tx, ids: &[Uuid]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new("DELETE FROM job_waits WHERE job_id IN (");
        let mut places = query.separated(", ");
        for id in ids {
            places.push_bind(*id);
        }
        query.push(")").build().execute(conn).await.map(drop)
    })?)
}

/// Says of parents that nobody waits for them any more, if so; answers of how many.
async fn forget(tx: &mut Tx, ends: &HashMap<Uuid, End>) -> Result<usize, Error> {
    let done = on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "UPDATE jobs SET waited_on = false WHERE NOT EXISTS (SELECT 1 FROM job_parents \
             WHERE job_parents.parent_id = jobs.id AND job_parents.outcome IS NULL) AND id IN (",
        );
        let mut places = query.separated(", ");
        for parent in ends.keys() {
            places.push_bind(*parent);
        }
        query.push(")").build().execute(conn).await.map(|done| done.rows_affected())
    })?;
    Ok(usize::try_from(done).unwrap_or(usize::MAX))
}

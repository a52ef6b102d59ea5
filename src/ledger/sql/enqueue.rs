//! Records jobs, and finds who holds a unique key that is taken.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{batch, family, postgres};
use crate::job::{JobId, NewJob};
use crate::ledger::{Error, GuardedPool, Recorded, Session};

/// How often jobs are tried whose unique key was taken, by a job that ended before we could see
/// it. Each round needs another such job; sixteen callers that did nothing but take two keys from
/// each other once needed more than ten.
const ROUNDS: usize = 50;

/// Records jobs that have no unique keys, all or none, in a session of the engine.
///
/// They wait for nobody, and only their own ids can be taken, by an earlier call with the same jobs.
/// So one statement does it, and spares PostgreSQL and us the round trips of a transaction.
pub(super) async fn keyless(pool: &GuardedPool, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
    let _place = pool.watch(pool.place()).await?;
    let mut connection = pool.watch(pool.acquire()).await?;
    let rows: Vec<&NewJob> = jobs.iter().collect();
    postgres::insert(&mut connection, &rows).await.map_err(Error::of_lone_statement)?;
    Ok(vec![Recorded::Created; jobs.len()])
}

/// Records jobs in the session's transaction; answers one [`Recorded`] a job, in order.
pub(super) async fn enqueue(
    session: &mut Session<'_>,
    jobs: &[NewJob],
) -> Result<Vec<Recorded>, Error> {
    let leaders = Leaders::of(jobs);
    let open = leaders.in_lock_order(jobs);
    // A second round must not start while the first one's rows hold unique keys: the lock order
    // would be broken, and two such calls would wait for each other. One key alone has no order.
    let begin_again = leaders.of_key.len() > 1;
    if begin_again {
        run(session, "SAVEPOINT enqueue").await?;
    }
    let mut known: HashMap<JobId, Recorded> = HashMap::with_capacity(open.len());
    for _ in 0..ROUNDS {
        let left: Vec<&NewJob> =
            open.iter().copied().filter(|job| !known.contains_key(&job.id)).collect();
        round(session, &left, &mut known).await?;
        if open.iter().all(|job| known.contains_key(&job.id)) {
            if begin_again {
                run(session, "RELEASE SAVEPOINT enqueue").await?;
            }
            let mut recorded = leaders.spread(jobs, &known);
            family::link(session, jobs, &mut recorded).await?;
            return Ok(recorded);
        }
        if begin_again {
            run(session, "ROLLBACK TO SAVEPOINT enqueue").await?;
            known.clear();
        }
    }
    let busy = "the holder of a unique key ended again and again";
    Err(Error::Unavailable(sqlx::Error::Protocol(busy.into())))
}

async fn run(session: &mut Session<'_>, sql: &'static str) -> Result<(), Error> {
    let sql = sqlx::raw_sql(sql);
    match session {
        Session::Postgres(conn) => sql.execute(&mut **conn).await.map(drop)?,
        Session::Sqlite(conn) => sql.execute(&mut **conn).await.map(drop)?,
    }
    Ok(())
}

async fn round(
    session: &mut Session<'_>,
    open: &[&NewJob],
    known: &mut HashMap<JobId, Recorded>,
) -> Result<(), Error> {
    let inserted = batch::insert(session, open).await?;
    known.extend(created(inserted));
    let left = || open.iter().filter(|job| !known.contains_key(&job.id));
    if left().next().is_none() {
        return Ok(());
    }
    // At once, before the holders end as well.
    let keys: Vec<Key> = left().filter_map(|job| key(job)).collect();
    let holders = if keys.is_empty() { Vec::new() } else { batch::holders(session, &keys).await? };
    let holders: HashMap<Key, JobId> = holders
        .iter()
        .map(|(id, tenant, kind, key)| ((*tenant, &**kind, &**key), JobId::from_uuid(*id)))
        .collect();
    // A repeated call whose first answer got lost: its rows are there.
    let ids: Vec<Uuid> = left().map(|job| job.id.as_uuid()).collect();
    let present = batch::present(session, &ids).await?;
    known.extend(created(present));
    for job in open {
        if let Some(holder) = key(job).and_then(|key| holders.get(&key)) {
            known.entry(job.id).or_insert(Recorded::Existing(*holder));
        }
    }
    Ok(())
}

fn created(ids: Vec<Uuid>) -> impl Iterator<Item = (JobId, Recorded)> {
    ids.into_iter().map(|id| (JobId::from_uuid(id), Recorded::Created))
}

/// A unique key: whose, of which kind, and itself.
type Key<'a> = (Uuid, &'a str, &'a str);

fn key(job: &NewJob) -> Option<Key<'_>> {
    job.unique_key.as_deref().map(|key| (job.tenant.as_uuid(), job.kind.as_str(), key))
}

/// Which jobs of a call speak for others of the same call: the first of each unique key.
struct Leaders<'a> {
    of_key: HashMap<Key<'a>, JobId>,
}

impl<'a> Leaders<'a> {
    fn of(jobs: &'a [NewJob]) -> Self {
        let mut of_key = HashMap::new();
        for job in jobs {
            if let Some(key) = key(job) {
                of_key.entry(key).or_insert(job.id);
            }
        }
        Self { of_key }
    }

    fn leader(&self, job: &NewJob) -> JobId {
        key(job).and_then(|key| self.of_key.get(&key).copied()).unwrap_or(job.id)
    }

    /// The leaders, each once, in an order that all callers share: an insert waits for another
    /// transaction that holds its key, and two waiting for each other would be a deadlock.
    fn in_lock_order(&self, jobs: &'a [NewJob]) -> Vec<&'a NewJob> {
        let mut seen = HashSet::with_capacity(jobs.len());
        let mut leaders: Vec<&NewJob> =
            jobs.iter().filter(|job| self.leader(job) == job.id && seen.insert(job.id)).collect();
        leaders.sort_by_key(|job| (key(job), job.id));
        leaders
    }

    fn spread(&self, jobs: &[NewJob], known: &HashMap<JobId, Recorded>) -> Vec<Recorded> {
        jobs.iter()
            .map(|job| {
                let leader = self.leader(job);
                let holder = match known.get(&leader) {
                    Some(Recorded::Existing(holder)) => *holder,
                    _ => leader,
                };
                if holder == job.id { Recorded::Created } else { Recorded::Existing(holder) }
            })
            .collect()
    }
}

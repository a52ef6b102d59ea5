//! Records jobs, and finds who holds a unique key that is taken.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::keys::{self, Key, key};
use super::replace::{self, Wanted};
use super::{batch, family, postgres};
use crate::job::{JobId, NewJob, Queue};
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
    // A job of an earlier call that has started since must not speak for those that come now.
    let careful = jobs.iter().any(|job| job.uniqueness.ends_at_start());
    // A second round must not start while the first one's rows hold unique keys: the lock order
    // would be broken, and two such calls would wait for each other. One key alone has no order. What
    // was replaced must not be so once more.
    let begin_again = careful || has_several_keys(jobs);
    if begin_again {
        run(session, "SAVEPOINT enqueue").await?;
    }
    let mut known = Known::default();
    for _ in 0..ROUNDS {
        if careful {
            known.answers = replace::recorded(session, jobs).await?;
        }
        let leaders = Leaders::of(jobs, &known);
        let open = leaders.in_lock_order(jobs, &known);
        round(session, &open, &mut known).await?;
        let all_known = open.iter().all(|job| known.has(job));
        if all_known && (!careful || replaced(session, &leaders, jobs, &mut known).await?) {
            if begin_again {
                run(session, "RELEASE SAVEPOINT enqueue").await?;
            }
            let mut recorded: Vec<Recorded> =
                jobs.iter().map(|job| leaders.answer(job, &known)).collect();
            family::link(session, jobs, &mut recorded).await?;
            return Ok(recorded);
        }
        if begin_again {
            run(session, "ROLLBACK TO SAVEPOINT enqueue").await?;
            known = Known::default();
        }
    }
    let busy = "the holder of a unique key ended again and again";
    Err(Error::Unavailable(sqlx::Error::Protocol(busy.into())))
}

/// What is known of a call's jobs.
#[derive(Default)]
struct Known {
    answers: HashMap<JobId, Recorded>,
    /// Jobs that wait, whose arguments may be replaced, and their queues.
    waiting: HashMap<JobId, Queue>,
}

impl Known {
    fn has(&self, job: &NewJob) -> bool {
        self.answers.contains_key(&job.id)
    }

    fn made(&mut self, ids: impl IntoIterator<Item = JobId>) {
        self.answers.extend(ids.into_iter().map(|id| (id, Recorded::Created)));
    }
}

/// Replaces the arguments of those that wait by those of the debounced jobs of a call: of leaders whose
/// keys others hold, and of all that came after their leaders. Answers whether all of them still wait.
async fn replaced<'a>(
    session: &mut Session<'_>,
    leaders: &Leaders<'a>,
    jobs: &'a [NewJob],
    known: &mut Known,
) -> Result<bool, Error> {
    for job in jobs.iter().filter(|job| job.uniqueness.ends_at_start() && leaders.lead(job)) {
        known.waiting.entry(job.id).or_insert_with(|| job.queue.clone());
    }
    let mut wanted = Wanted::new();
    for job in jobs {
        if let Recorded::Existing(waiting) = leaders.answer(job, known) {
            replace::want(&mut wanted, job, waiting, known.waiting.get(&waiting));
        }
    }
    let Some(replaced) = replace::replace(session, &wanted).await? else { return Ok(false) };
    known.answers.extend(replaced);
    Ok(true)
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
    known: &mut Known,
) -> Result<(), Error> {
    let open: Vec<&NewJob> = open.iter().copied().filter(|job| !known.has(job)).collect();
    known.made(ids(batch::insert(session, &open).await?));
    let left = |known: &Known| -> Vec<&NewJob> {
        open.iter().copied().filter(|job| !known.has(job)).collect()
    };
    let taken = left(known);
    if taken.is_empty() {
        return Ok(());
    }
    // At once, before the holders end as well.
    let met = keys::meet(session, &taken).await?;
    // A repeated call whose first answer got lost: its rows are there.
    let taken: Vec<Uuid> = taken.iter().map(|job| job.id.as_uuid()).collect();
    known.made(ids(batch::present(session, &taken).await?));
    for (id, holder) in met.held {
        known.answers.entry(id).or_insert(Recorded::Existing(holder));
    }
    known.waiting.extend(met.waiting);
    Ok(())
}

fn ids(found: Vec<Uuid>) -> impl Iterator<Item = JobId> {
    found.into_iter().map(JobId::from_uuid)
}

fn has_several_keys(jobs: &[NewJob]) -> bool {
    let mut keys = jobs.iter().filter_map(key);
    keys.next().is_some_and(|first| keys.any(|other| other != first))
}

/// Which jobs of a call speak for others of the same call: the first of each unique key.
struct Leaders<'a> {
    of_key: HashMap<Key<'a>, JobId>,
}

impl<'a> Leaders<'a> {
    /// Those among the jobs of which nothing is known.
    fn of(jobs: &'a [NewJob], known: &Known) -> Self {
        let mut of_key = HashMap::new();
        for job in jobs {
            if let Some(key) = key(job).filter(|_| !known.has(job)) {
                of_key.entry(key).or_insert(job.id);
            }
        }
        Self { of_key }
    }

    fn leader(&self, job: &NewJob) -> JobId {
        key(job).and_then(|key| self.of_key.get(&key).copied()).unwrap_or(job.id)
    }

    fn lead(&self, job: &NewJob) -> bool {
        key(job).is_some_and(|key| self.of_key.get(&key) == Some(&job.id))
    }

    /// The leaders, each once, in an order that all callers share: an insert waits for another
    /// transaction that holds its key, and two waiting for each other would be a deadlock.
    fn in_lock_order(&self, jobs: &'a [NewJob], known: &Known) -> Vec<&'a NewJob> {
        let mut seen = HashSet::with_capacity(jobs.len());
        let mut leaders: Vec<&NewJob> = jobs
            .iter()
            .filter(|job| self.leader(job) == job.id && !known.has(job) && seen.insert(job.id))
            .collect();
        leaders.sort_by_key(|job| (key(job), job.id));
        leaders
    }

    /// What is known of a job, from its own answer or its leader's.
    fn answer(&self, job: &NewJob, known: &Known) -> Recorded {
        if let Some(answer) = known.answers.get(&job.id) {
            return *answer;
        }
        let leader = self.leader(job);
        match known.answers.get(&leader) {
            Some(Recorded::Existing(holder) | Recorded::Replaced(holder)) => {
                Recorded::Existing(*holder)
            }
            _ if leader == job.id => Recorded::Created,
            _ => Recorded::Existing(leader),
        }
    }
}

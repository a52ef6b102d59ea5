//! Fires schedules: each time once, whoever looks, and however many do.
//!
//! The row of a schedule is locked while its times are had, and says the next one afterwards; and each
//! time has a row, unique by schedule and time, that is written with its job. The lock alone would do,
//! if no clock were ever wrong and nobody ever put a schedule back.

use std::collections::HashSet;

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::schedules::{StoredSchedule, schedule_columns, write_hold};
use super::{SqlLedger, batch};
use crate::job::schedule::Overlap;
use crate::job::{JobId, NewJob, Timestamp};
use crate::ledger::{
    AuditEntry, Class, Db, Error, FIRES_KEPT, Fired, Firing, RanNow, Schedule, Schedules, Tx,
    until_sure,
};
use crate::{on_db, on_tx};

/// No more schedules are had in a transaction once they have made so many jobs. One makes
/// [`CATCH_UP_MAX`](crate::job::schedule::CATCH_UP_MAX) at most.
const JOBS_MAX: usize = 500;

/// Whether the job of a schedule's last time is not done. A condition of SQL.
macro_rules! overlaps {
    () => {
        "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = schedules.last_job \
         AND jobs.state IN ('open', 'parked'))"
    };
}

/// A row of `schedule_fires`.
struct NewFire {
    schedule: Uuid,
    at: Timestamp,
    n: i64,
    job: Option<NewJob>,
}

/// What is written to a schedule's row.
struct After {
    schedule: Uuid,
    next_at: Option<Timestamp>,
    /// How many times were had, before and now.
    fires: (u64, u64),
}

impl Schedules {
    /// Takes schedules of these kinds that are due at `until`, at most `limit`, those first that are
    /// so for longest; `decide` says what is to become of each. None waits for another caller's, and
    /// no time of a schedule is ever had twice.
    ///
    /// # Errors
    /// The database's. After [`Error::Unsure`] the relay pushes what was made.
    pub async fn fire(
        &self,
        until: Timestamp,
        now: Timestamp,
        kinds: &[&str],
        limit: u32,
        decide: impl Fn(&Schedule) -> Firing,
    ) -> Result<Fired, Error> {
        self.timed(Class::Chore, self.try_fire(until, now, kinds, limit, decide)).await
    }

    async fn try_fire(
        &self,
        until: Timestamp,
        now: Timestamp,
        kinds: &[&str],
        limit: u32,
        decide: impl Fn(&Schedule) -> Firing,
    ) -> Result<Fired, Error> {
        let mut tx = self.db.begin().await?;
        let due = self.take(&mut tx, until, kinds, limit).await?;
        if due.is_empty() {
            // At once: it may hold rows that others had meanwhile, and those are due again soon.
            tx.rollback().await?;
            return Ok(Fired::default());
        }
        let busy = busy(&mut tx, &due).await?;
        let (mut fires, mut afters) = (Vec::new(), Vec::new());
        for schedule in due {
            if fires.len() >= JOBS_MAX {
                break;
            }
            let Firing { fires: times, next_at, paused } = decide(&schedule);
            if paused.is_some() {
                write_hold(&mut tx, schedule.id, paused.as_ref(), None).await?;
            }
            let (mut n, mut overlaps) = (schedule.fires, busy.contains(&schedule.id));
            for (at, job) in times {
                n += 1;
                let job = (!overlaps || schedule.overlap == Overlap::Allow).then_some(job);
                overlaps = true;
                let count = i64::try_from(n).unwrap_or(i64::MAX);
                fires.push(NewFire { schedule: schedule.id, at, n: count, job });
            }
            afters.push(After { schedule: schedule.id, next_at, fires: (schedule.fires, n) });
        }
        let new = write_fires(&mut tx, &fires, now, false).await?;
        fires.retain(|fire| new.contains(&(fire.schedule, fire.at.as_millis())));
        let last: Vec<(Uuid, Uuid)> = fires
            .iter()
            .filter_map(|fire| Some((fire.schedule, fire.job.as_ref()?.id.as_uuid())))
            .collect();
        let made: Vec<NewJob> = fires.into_iter().filter_map(|fire| fire.job).collect();
        batch::insert(&mut tx.session(), &made.iter().collect::<Vec<_>>()).await?;
        write_after(&mut tx, &afters, &last).await?;
        prune(&mut tx, &afters).await?;
        tx.commit().await?;
        Ok(Fired { schedules: afters.len(), made })
    }

    async fn take(
        &self,
        tx: &mut Tx,
        until: Timestamp,
        kinds: &[&str],
        limit: u32,
    ) -> Result<Vec<Schedule>, Error> {
        macro_rules! select {
            ($kinds:literal, $lock:literal) => {
                concat!(
                    "SELECT ",
                    schedule_columns!(),
                    " FROM schedules WHERE next_at <= $1 AND kind IN (",
                    $kinds,
                    ") ORDER BY next_at LIMIT $3",
                    $lock
                )
            };
        }
        let sql = match &self.db {
            Db::Postgres(_) => {
                select!("SELECT jsonb_array_elements_text($2::jsonb)", " FOR UPDATE SKIP LOCKED")
            }
            Db::Sqlite(_) => select!("SELECT value FROM json_each($2)", ""),
        };
        let rows: Vec<StoredSchedule> = on_tx!(tx, conn => sqlx::query_as(sql)
            .bind(until.as_millis())
            .bind(serde_json::json!(kinds).to_string())
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)?;
        rows.into_iter().map(Schedule::try_from).collect()
    }

    /// When the first schedule of any kind is, or was, due; `None` if all are paused.
    ///
    /// # Errors
    /// The database's.
    pub async fn first_due(&self) -> Result<Option<Timestamp>, Error> {
        const SQL: &str = "SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL";
        let read = async {
            let first: Option<i64> = on_db!(&self.db, pool => {
                sqlx::query_scalar(SQL).fetch_one(pool).await
            })?;
            Ok(first.map(Timestamp::from_millis))
        };
        self.timed(Class::Chore, read).await
    }

    /// When the next schedule of these kinds is due; `None` if there is none.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_due(&self, kinds: &[&str]) -> Result<Option<Timestamp>, Error> {
        macro_rules! select {
            ($kinds:literal) => {
                concat!(
                    "SELECT next_at FROM schedules WHERE next_at IS NOT NULL AND kind IN (",
                    $kinds,
                    ") ORDER BY next_at LIMIT 1"
                )
            };
        }
        let sql = match &self.db {
            Db::Postgres(_) => select!("SELECT jsonb_array_elements_text($1::jsonb)"),
            Db::Sqlite(_) => select!("SELECT value FROM json_each($1)"),
        };
        let read = async {
            let next: Option<i64> = on_db!(&self.db, pool => sqlx::query_scalar(sql)
                .bind(serde_json::json!(kinds).to_string())
                .fetch_optional(pool)
                .await)?;
            Ok(next.map(Timestamp::from_millis))
        };
        self.timed(Class::Chore, read).await
    }

    /// Lets a schedule's job run now, for a person, also while it is paused, and notes it. May be
    /// repeated with the same job.
    ///
    /// # Errors
    /// The database's.
    pub async fn run_now(
        &self,
        schedule: Uuid,
        job: &NewJob,
        note: &AuditEntry,
    ) -> Result<RanNow, Error> {
        self.timed(Class::Admin, until_sure(|| self.try_run_now(schedule, job, note))).await
    }

    async fn try_run_now(
        &self,
        id: Uuid,
        job: &NewJob,
        note: &AuditEntry,
    ) -> Result<RanNow, Error> {
        let mut tx = self.db.begin().await?;
        let ran = run_in(&mut tx, id, job, note).await?;
        match ran {
            RanNow::Made => tx.commit().await?,
            // At once: a look that finds the row locked leaves its times to others.
            RanNow::Missing | RanNow::Overlaps(_) => tx.rollback().await?,
        }
        Ok(ran)
    }
}

/// Makes the job, if it may be made now; the caller commits, or lets go of the row.
async fn run_in(tx: &mut Tx, id: Uuid, job: &NewJob, note: &AuditEntry) -> Result<RanNow, Error> {
    const SELECT: &str = concat!(
        "SELECT fires, overlap, last_job, ",
        overlaps!(),
        ", EXISTS (SELECT 1 FROM schedule_fires WHERE schedule_id = $1 AND job_id = $2) \
         FROM schedules WHERE id = $1"
    );
    const LOCK: &str = "UPDATE schedules SET fires = fires WHERE id = $1";
    const UPDATE: &str = "UPDATE schedules SET fires = $2, last_job = $3 WHERE id = $1";
    type Row = (i64, String, Option<Uuid>, bool, bool);
    on_tx!(&mut *tx, conn => sqlx::query(LOCK).bind(id).execute(conn).await.map(drop))?;
    let row: Option<Row> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(SELECT).bind(id).bind(job.id.as_uuid()).fetch_optional(conn).await
    })?;
    let Some((fires, overlap, last_job, overlaps, ours)) = row else {
        return Ok(RanNow::Missing);
    };
    if ours {
        return Ok(RanNow::Made);
    }
    let last_job = last_job.map(JobId::from_uuid);
    if overlaps && overlap == Overlap::Skip.as_str() {
        return Ok(RanNow::Overlaps(last_job));
    }
    let n = fires.saturating_add(1);
    let fire = NewFire { schedule: id, at: job.created_at, n, job: Some(job.clone()) };
    if write_fires(tx, &[fire], job.created_at, true).await?.is_empty() {
        return Ok(RanNow::Overlaps(last_job));
    }
    SqlLedger::enqueue_in(tx, std::slice::from_ref(job)).await?;
    on_tx!(&mut *tx, conn => {
        sqlx::query(UPDATE).bind(id).bind(n).bind(job.id.as_uuid()).execute(conn).await.map(drop)
    })?;
    SqlLedger::audit_in(tx, note).await?;
    Ok(RanNow::Made)
}

/// Those whose last job is not done, among the ones that must not overlap. Asked once their rows are
/// locked: a statement that waits for rows still sees only jobs that were there before it.
async fn busy(tx: &mut Tx, due: &[Schedule]) -> Result<HashSet<Uuid>, Error> {
    let asked = due.iter().filter(|one| one.overlap == Overlap::Skip).map(|one| one.id);
    let asked: Vec<Uuid> = asked.collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let busy: Vec<Uuid> = on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            concat!("SELECT id FROM schedules WHERE ", overlaps!(), " AND id IN ("),
        );
        let mut ids = query.separated(", ");
        for id in asked {
            ids.push_bind(id);
        }
        query.push(")").build_query_scalar().fetch_all(conn).await
    })?;
    Ok(busy.into_iter().collect())
}

/// Writes fires; answers those that nobody had before.
async fn write_fires(
    tx: &mut Tx,
    fires: &[NewFire],
    now: Timestamp,
    by_hand: bool,
) -> Result<HashSet<(Uuid, i64)>, Error> {
    if fires.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(Uuid, i64)> = on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "INSERT INTO schedule_fires (schedule_id, fire_at, n, made_at, job_id, by_hand) ",
        );
        query.push_values(fires, |mut row, fire| {
            row.push_bind(fire.schedule)
                .push_bind(fire.at.as_millis())
                .push_bind(fire.n)
                .push_bind(now.as_millis())
                .push_bind(fire.job.as_ref().map(|job| job.id.as_uuid()))
                .push_bind(by_hand);
        });
        query
            .push(" ON CONFLICT (schedule_id, fire_at) DO NOTHING RETURNING schedule_id, fire_at")
            .build_query_as()
            .fetch_all(conn)
            .await
    })?;
    Ok(rows.into_iter().collect())
}

/// Says the next time of each schedule, and the last job of those that made one.
async fn write_after(tx: &mut Tx, afters: &[After], last: &[(Uuid, Uuid)]) -> Result<(), Error> {
    on_tx!(&mut *tx, conn => {
        let mut query = QueryBuilder::new(
            "UPDATE schedules SET next_at = v.column2, fires = v.column3 FROM (",
        );
        query.push_values(afters, |mut row, after| {
            row.push_bind(after.schedule)
                .push_bind(after.next_at.map(Timestamp::as_millis))
                .push_bind(i64::try_from(after.fires.1).unwrap_or(i64::MAX));
        });
        query.push(") AS v WHERE schedules.id = v.column1").build().execute(conn).await.map(drop)
    })?;
    // A schedule may have made several; the newest stands last.
    let mut newest: Vec<(Uuid, Uuid)> = Vec::with_capacity(last.len());
    for (schedule, job) in last {
        match newest.last_mut() {
            Some(known) if known.0 == *schedule => known.1 = *job,
            _ => newest.push((*schedule, *job)),
        }
    }
    if newest.is_empty() {
        return Ok(());
    }
    on_tx!(tx, conn => {
        let mut query =
            QueryBuilder::new("UPDATE schedules SET last_job = v.column2 FROM (");
        query.push_values(&newest, |mut row, (schedule, job)| {
            row.push_bind(*schedule).push_bind(*job);
        });
        query.push(") AS v WHERE schedules.id = v.column1").build().execute(conn).await.map(drop)
    })?;
    Ok(())
}

/// Deletes old fires, of each schedule every fiftieth time.
async fn prune(tx: &mut Tx, afters: &[After]) -> Result<(), Error> {
    let kept = u64::from(FIRES_KEPT);
    let often = |fires: u64| fires / (kept / 2);
    let long = |after: &&After| {
        let (before, now) = after.fires;
        now > kept && often(now) > often(before)
    };
    let long: Vec<&After> = afters.iter().filter(long).collect();
    if long.is_empty() {
        return Ok(());
    }
    on_tx!(tx, conn => {
        let mut query = QueryBuilder::new("DELETE FROM schedule_fires WHERE false");
        for after in long {
            let last = i64::try_from(after.fires.1 - kept).unwrap_or(i64::MAX);
            query.push(" OR (schedule_id = ").push_bind(after.schedule);
            query.push(" AND n <= ").push_bind(last).push(")");
        }
        query.build().execute(conn).await.map(drop)
    })?;
    Ok(())
}

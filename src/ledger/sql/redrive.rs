//! Brings jobs back to life: dead ones by a person, parked ones by time, a reconnected account or a
//! newer worker.

use std::collections::HashSet;

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::family::PARENTS;
use super::keys::{self, in_unique_index};
use super::stored::{StoredJob, job_columns};
use super::{SqlLedger, dead, parked, redrives, tell};
use crate::job::{JobId, SnoozeReason, Timestamp};
use crate::ledger::{AuditEntry, Db, DeadFilter, Error, PutBack, Redriven, Tx, Unpark};
use crate::on_tx;

/// How often a call is repeated whose jobs' unique keys were taken while it ran.
const ROUNDS: usize = 5;

/// Puts dead letters back.
pub(super) async fn redrive(
    db: &Db,
    filter: &DeadFilter,
    how: PutBack<'_>,
) -> Result<Redriven, Error> {
    let mut round = 1;
    loop {
        match once(db, filter, how).await {
            // A unique key was taken between the look and the change: look again.
            Err(Error::Protocol(sqlx::Error::Database(error)))
                if error.is_unique_violation() && round < ROUNDS =>
            {
                round += 1;
            }
            other => return other,
        }
    }
}

async fn once(db: &Db, filter: &DeadFilter, how: PutBack<'_>) -> Result<Redriven, Error> {
    let mut tx = db.begin().await?;
    let mut redriven = Redriven::default();
    let mut ids = dead::ids(&mut tx, filter).await?;
    // Oldest first: of two that share a unique key, the older one lives. Also the order in which
    // every other batch locks its rows.
    ids.sort_unstable();
    let mut revived = Vec::with_capacity(ids.len());
    if how.edited.is_none() {
        revived = revive_keyless(&mut tx, &ids, &how).await?;
    }
    let done: HashSet<Uuid> = revived.iter().map(|job| job.id().as_uuid()).collect();
    for id in ids.into_iter().filter(|id| !done.contains(id)) {
        let mut job = revive(&mut tx, id, &how).await?;
        if job.is_none() && keys::free_of_dead(&mut tx, id, how.now).await? {
            job = revive(&mut tx, id, &how).await?;
        }
        match job {
            Some(job) => revived.push(job),
            None if is_dead(&mut tx, id).await? => redriven.superseded.push(JobId::from_uuid(id)),
            // Somebody else put it back or deleted it meanwhile.
            None => {}
        }
    }
    revived.sort_by_key(StoredJob::id);
    let back: Vec<Uuid> = revived.iter().map(|job| job.id().as_uuid()).collect();
    redrives::remember(&mut tx, &back, how.now, how.redrive).await?;
    forget(&mut tx, &back).await?;
    // Who waited in vain waits no more: a person decided.
    tell::wait_no_more(&mut tx, &back).await?;
    for job in revived {
        redriven.jobs.push(job.try_into()?);
    }
    if let Some(note) = how.note.filter(|_| !redriven.jobs.is_empty()) {
        let count = u64::try_from(redriven.jobs.len()).unwrap_or(u64::MAX);
        SqlLedger::audit_in(&mut tx, &AuditEntry { count, ..note.clone() }).await?;
    }
    tx.commit().await?;
    Ok(redriven)
}

/// Makes those of these dead jobs live again that have no unique key: nothing can be in their way,
/// so that one statement does for all of them.
async fn revive_keyless(
    tx: &mut Tx,
    ids: &[Uuid],
    how: &PutBack<'_>,
) -> Result<Vec<StoredJob>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    if let Tx::Postgres(tx) = tx {
        // An update locks in any order.
        const LOCK: &str = "SELECT id FROM jobs WHERE id = ANY($1) ORDER BY id FOR UPDATE";
        sqlx::query(LOCK).bind(ids).execute(&mut **tx).await?;
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "UPDATE jobs SET state = 'open', failed_attempts = 0, crashes = 0, \
             kept_until = NULL, finished_at = NULL, run_at = ",
        );
        query.push_bind(how.now.as_millis()).push(", expires_at = ");
        query.push_bind(how.now.after(how.renewed_for).as_millis());
        query.push(" WHERE state = 'dead' AND unique_key IS NULL AND freed_key IS NULL AND id IN (");
        let mut places = query.separated(", ");
        for id in ids {
            places.push_bind(*id);
        }
        query.push(concat!(") RETURNING ", job_columns!()));
        query.build_query_as().fetch_all(conn).await
    })?)
}

/// Takes away the letters of jobs that live again.
async fn forget(tx: &mut Tx, ids: &[Uuid]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new("DELETE FROM dead_letters WHERE job_id IN (");
        let mut places = query.separated(", ");
        for id in ids {
            places.push_bind(*id);
        }
        query.push(")");
        query.build().execute(conn).await.map(drop)
    })?)
}

/// Makes a dead job live again, unless another is in its unique key's place. Its token stays, so that
/// whoever ran it before stays fenced out. A key that was free once the job had started it does not
/// take again.
async fn revive(tx: &mut Tx, id: Uuid, how: &PutBack<'_>) -> Result<Option<StoredJob>, Error> {
    const REVIVE: &str = concat!(
        "UPDATE jobs SET state = 'open', failed_attempts = 0, crashes = 0, kept_until = NULL, run_at = $2, \
             expires_at = $3, finished_at = NULL, args = coalesce($4, args), \
             kind_version = coalesce($5, kind_version), queue = coalesce($6, queue), \
             account = coalesce($7, account), \
             unique_key = CASE WHEN key_until_start AND token IS NOT NULL THEN NULL \
                 ELSE unique_key END, \
             freed_key = CASE WHEN key_until_start AND token IS NOT NULL \
                 THEN coalesce(unique_key, freed_key) ELSE freed_key END \
         WHERE id = $1 AND state = 'dead' AND NOT EXISTS ( \
             SELECT 1 FROM jobs AS holder WHERE holder.tenant_id = jobs.tenant_id \
                 AND holder.kind = jobs.kind \
                 AND holder.unique_key = coalesce(jobs.unique_key, jobs.freed_key) AND ",
        in_unique_index!("holder"),
        ") RETURNING ",
        job_columns!()
    );
    Ok(on_tx!(tx, conn => {
        sqlx::query_as(REVIVE)
            .bind(id)
            .bind(how.now.as_millis())
            .bind(how.now.after(how.renewed_for).as_millis())
            .bind(how.edited.map(|edited| edited.args.as_str()))
            .bind(how.edited.map(|edited| i32::from(edited.kind_version)))
            .bind(how.edited.map(|edited| edited.queue.as_str()))
            .bind(how.edited.and_then(|edited| edited.account))
            .fetch_optional(conn)
            .await
    })?)
}

async fn is_dead(tx: &mut Tx, id: Uuid) -> Result<bool, Error> {
    const SQL: &str = "SELECT count(*) FROM jobs WHERE id = $1 AND state = 'dead'";
    let count: i64 = on_tx!(tx, conn => sqlx::query_scalar(SQL).bind(id).fetch_one(conn).await)?;
    Ok(count > 0)
}

/// Makes parked jobs live again; answers how many.
pub(super) async fn unpark(db: &Db, whose: Unpark, now: Timestamp) -> Result<u64, Error> {
    // Whoever connected it has been here: if it is lost again, its jobs wait as long once more.
    const ACCOUNT: &str = "UPDATE jobs SET state = 'open', parked_for = NULL, run_at = $1, \
             kept_until = NULL \
         WHERE state = 'parked' AND account = $2 AND coalesce(parked_for, '') <> $3";
    const KIND: &str = "UPDATE jobs SET state = 'open', parked_for = NULL, run_at = $1 \
         WHERE state = 'parked' AND kind = $2 AND kind_version <= $3 AND parked_for = $4";
    // What has expired behind its account is not for a worker to find, if more is than was ended.
    const DUE: &str = "UPDATE jobs SET state = 'open', parked_for = NULL \
         WHERE state = 'parked' AND run_at <= $1 \
         AND NOT (expires_at <= $1 AND coalesce(parked_for, '') = $2) \
         AND coalesce(parked_for, '') <> $3";
    let mut tx = db.begin().await?;
    let (mut released, mut ended) = (0, parked::Ended::new());
    match whose {
        Unpark::Account(account) => {
            let now = now.as_millis();
            released += on_tx!(&mut tx, conn => sqlx::query(ACCOUNT)
                .bind(now)
                .bind(account)
                .bind(PARENTS)
                .execute(conn)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Unpark::Due => {
            ended = parked::end(&mut tx, now).await?;
            let now = now.as_millis();
            released += on_tx!(&mut tx, conn => {
                sqlx::query(DUE)
                    .bind(now)
                    .bind(SnoozeReason::NeedsReauth.as_str())
                    .bind(PARENTS)
                    .execute(conn)
                    .await
                    .map(|done| done.rows_affected())
            })?;
        }
        Unpark::Kinds(mut kinds) => {
            let now = now.as_millis();
            // Several workers start at once, and all lock in the same order.
            kinds.sort_unstable();
            for (kind, version) in kinds {
                released += on_tx!(&mut tx, conn => sqlx::query(KIND)
                    .bind(now)
                    .bind(kind.as_str())
                    .bind(i32::from(version))
                    .bind(SnoozeReason::NewerWorker.as_str())
                    .execute(conn)
                    .await
                    .map(|done| done.rows_affected()))?;
            }
        }
    }
    tx.commit().await?;
    parked::tell(&ended);
    Ok(released)
}

//! The effect ledger: the one request of a publication that cannot be taken back.
//!
//! An intent is committed before the request leaves and its outcome after, both in the
//! publication's row, so that the post, its intent and its outcome can never disagree. What keeps
//! runs apart:
//!
//! - an intent is recorded only on the row as the run saw it (`version`), and only while the run
//!   has its job; so what a run concluded about an earlier intent is still true, and a run that
//!   was overtaken sends nothing;
//! - it is recorded only while the publication is due and its window is not over, unless a request
//!   may have left before: that is followed up, window or not;
//! - "surely not published" is recorded only by the run whose intent it is;
//! - "published" is recorded from anybody: the platform has told its id of the post.

use std::time::Duration;

use postworks::job::{JobId, Timestamp, Token, WorkerId};
use postworks::ledger::{AuditEntry, SqlLedger, Tx};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::publications::Row;
use super::{Error, Publication, PublicationState, Store, below, page_limit, time};
use crate::platforms::Published;

/// How long after an intent was recorded its sender may still write to the platform.
pub const SEND_WITHIN: Duration = Duration::from_secs(5);
/// Longest a platform client's request takes. A client gives up earlier or at this.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a request with an unknown outcome is followed up whose publication's window is over.
const FOLLOWED_UP: Duration = Duration::from_secs(24 * 3_600);
/// How long a platform that was asked may not show a post that it has. Also what the clocks of two
/// machines may differ by.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// A run that may send: one claim of one job. Jobs of one claim share its token.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The job.
    pub job: JobId,
    /// The claim's fencing token.
    pub token: Token,
    /// Who runs it.
    pub worker: WorkerId,
    /// When it was to run, by what whoever let it run knows.
    pub run_at: Timestamp,
}

impl Sender {
    /// What is due by then is due for this run. By the broker's clock its time has come: a worker
    /// whose own clock is behind must not send it back again and again.
    pub fn due_by(&self, now: Timestamp) -> Timestamp {
        now.max(self.run_at)
    }
}

/// What a run knows of an earlier request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// There was none, or it was surely not applied.
    None,
    /// It was surely not applied, which the row does not say yet: the row is `sending`.
    Absent,
    /// It may have been applied, and the platform recognises this one as the same.
    Open,
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It is recorded: the request must leave before `send_by`.
    Recorded {
        /// The last moment, by the clock.
        send_by: Timestamp,
        /// The row's version now.
        version: i64,
        /// Until when the job is of use now, where that has changed.
        followed_until: Option<Timestamp>,
    },
    /// Not recorded: it is not due before this.
    NotYet(Timestamp),
    /// Not recorded: its window is over, and it is to be skipped.
    Missed,
    /// Not recorded: the post is published.
    Published,
    /// Not recorded: the row has changed since it was read, or the job is no longer this run's.
    Overtaken,
}

/// A publication whose outcome is not known, and the account it is on.
#[derive(Debug, Clone)]
pub struct OpenEffect {
    /// The publication.
    pub publication: Publication,
    /// The account's platform.
    pub platform: String,
    /// The account's handle or address.
    pub identifier: String,
}

#[derive(sqlx::FromRow)]
struct OpenRow {
    #[sqlx(flatten)]
    row: Row,
    platform: String,
    identifier: String,
}

impl Publication {
    /// How long the first request with an unknown outcome will be past when one that is begun now
    /// arrives, at the latest: what a platform must remember to recognise it.
    pub fn age_on_arrival(&self, now: Timestamp) -> Duration {
        age_on_arrival(self.begun_at, now)
    }

    /// From when on the platform's saying that the post is not there proves that it never will
    /// be: no request can be under way any more, and what arrived is visible. `None` if no
    /// request's outcome is open.
    pub fn proof_from(&self) -> Option<Timestamp> {
        self.send_by.map(settled_from)
    }

    /// When the last request with an unknown outcome has arrived, if it has at all.
    pub fn arrived_by(&self) -> Option<Timestamp> {
        self.send_by.map(|send_by| send_by.after(REQUEST_MAX))
    }
}

impl Store {
    /// Records that a request is about to leave. `seen` is the row's version when the run read it,
    /// and `earlier` what it concluded from it.
    ///
    /// After an error the intent may be recorded all the same.
    pub async fn begin(
        &self,
        id: Uuid,
        sender: &Sender,
        seen: i64,
        earlier: Earlier,
    ) -> Result<Begun, Error> {
        const SQL: &str = "UPDATE publications SET state = 'sending', send_by = $2, \
             begun_at = CASE WHEN $3 THEN COALESCE(begun_at, $4) ELSE $4 END, sender_job = $5, \
             token = $6, worker = $7, finished_at = NULL, version = version + 1, \
             missed_at = CASE WHEN late = 'publish' AND not_after < $4 \
                 THEN COALESCE(missed_at, $4) ELSE missed_at END \
             WHERE id = $1 AND version = $8 AND state <> 'published' AND (state = 'sending') = $9 \
             AND ($3 OR (scheduled_at <= $10 \
                 AND (late IS NULL OR late <> 'skip' OR not_after >= $4))) \
             RETURNING version, CASE WHEN late = 'skip' THEN not_after END";
        let mut tx = self.db.begin().await?;
        // Not before there is a transaction, which may have to be waited for.
        let now = self.now();
        let send_by = now.after(SEND_WITHIN);
        let begun: Option<(i64, Option<i64>)> = on_tx!(&mut tx, conn => sqlx::query_as(SQL)
            .bind(id)
            .bind(send_by.as_millis())
            .bind(earlier == Earlier::Open)
            .bind(now.as_millis())
            .bind(sender.job.as_uuid())
            .bind(sender.token.rank())
            .bind(sender.worker.as_str())
            .bind(seen)
            .bind(earlier != Earlier::None)
            .bind(sender.due_by(now).as_millis())
            .fetch_optional(conn)
            .await)?;
        // What has begun must be followed up, for longer than the window may last.
        let until = now.after(FOLLOWED_UP);
        let skipped_after = begun.and_then(|(_, not_after)| not_after.map(time));
        let followed_until = skipped_after.map(|not_after| not_after.max(until));
        let held = match followed_until {
            Some(until) => SqlLedger::expires_in(&mut tx, sender.job, sender.token, until).await?,
            None => SqlLedger::holds_in(&mut tx, sender.job, sender.token).await?,
        };
        let Some((version, _)) = begun.filter(|_| held) else {
            tx.rollback().await?;
            return self.why_not_begun(id, sender, seen, now).await;
        };
        tx.commit().await?;
        Ok(Begun::Recorded { send_by, version, followed_until })
    }

    /// Records that the platform has the post, whoever says so. A job that died of not knowing is
    /// completed.
    pub async fn published(&self, id: Uuid, published: &Published) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let now = self.now();
        let (remote_id, remote_url) = (Some(&published.remote_id), published.remote_url.as_ref());
        let ended = publish(&mut tx, id, remote_id, remote_url, now).await?;
        complete_dead(&mut tx, ended.as_ref(), now).await?;
        if let (None, Some(url)) = (&ended, remote_url) {
            keep_address(&mut tx, id, &published.remote_id, url).await?;
        }
        tx.commit().await?;
        if ended.is_none() {
            self.compare(id, published).await?;
        }
        Ok(())
    }

    /// Says so if a publication is recorded under another id than this one: then there are two.
    async fn compare(&self, id: Uuid, published: &Published) -> Result<(), Error> {
        let recorded = self.publication(id).await?.and_then(|row| row.remote_id);
        if recorded.as_ref().is_some_and(|recorded| *recorded != published.remote_id) {
            tracing::error!(
                publication_id = %id, recorded, remote_id = published.remote_id,
                "a post was published twice"
            );
        }
        Ok(())
    }

    /// Records that the post is surely not published: `finally` if nobody will try again. Counts
    /// on the run's own intent, and on the row as it was `seen`.
    pub async fn not_published(
        &self,
        id: Uuid,
        sender: &Sender,
        seen: i64,
        finally: bool,
    ) -> Result<(), Error> {
        self.give_up(id, sender, seen, finally, None).await
    }

    /// The same of one that is given up since its window is over, in these words.
    pub async fn missed(
        &self,
        id: Uuid,
        sender: &Sender,
        seen: i64,
        why: &str,
    ) -> Result<(), Error> {
        self.give_up(id, sender, seen, true, Some(why)).await
    }

    async fn give_up(
        &self,
        id: Uuid,
        sender: &Sender,
        seen: i64,
        finally: bool,
        why: Option<&str>,
    ) -> Result<(), Error> {
        const SQL: &str = "UPDATE publications SET state = $2, send_by = NULL, \
             finished_at = $3, version = version + 1, \
             missed_at = CASE WHEN CAST($7 AS text) IS NULL THEN missed_at ELSE $3 END, \
             missed_why = COALESCE($7, missed_why) \
             WHERE id = $1 AND state <> 'published' \
             AND ((sender_job = $4 AND token = $5) OR version = $6) \
             RETURNING CASE WHEN late = 'skip' THEN not_after END";
        let state = if finally { PublicationState::Failed } else { PublicationState::Scheduled };
        let mut tx = self.db.begin().await?;
        let recorded: Option<Option<i64>> = on_tx!(&mut tx, conn => sqlx::query_scalar(SQL)
            .bind(id)
            .bind(state.as_str())
            .bind(finally.then(|| self.now().as_millis()))
            .bind(sender.job.as_uuid())
            .bind(sender.token.rank())
            .bind(seen)
            .bind(why)
            .fetch_optional(conn)
            .await)?;
        // There is nothing to follow up: the window counts again.
        if let Some(not_after) = recorded.flatten() {
            let (job, token) = (sender.job, sender.token);
            SqlLedger::expires_in(&mut tx, job, token, time(not_after)).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Publications whose outcome is not known and whose requests cannot be under way any more,
    /// newest first; those with a smaller id than `before`.
    pub async fn open_effects(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<OpenEffect>, Error> {
        const SQL: &str = "SELECT p.*, c.platform, c.identifier FROM publications p \
             JOIN connectors c ON c.id = p.connector_id \
             WHERE p.state = 'sending' AND p.id < $1 AND (p.send_by IS NULL OR p.send_by <= $2) \
             ORDER BY p.id DESC LIMIT $3";
        let sent_before = self.settled_before().as_millis();
        let rows: Vec<OpenRow> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL)
                .bind(below(before))
                .bind(sent_before)
                .bind(page_limit(limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter()
            .map(|OpenRow { row, platform, identifier }| {
                let publication: Publication = row.try_into()?;
                let identifier =
                    super::connectors::shown(&identifier, publication.connector_id).to_owned();
                Ok(OpenEffect { publication, platform, identifier })
            })
            .collect()
    }

    /// Takes away the letters of jobs that died of not knowing that the publication is out; `false`
    /// if it is not.
    pub async fn complete_if_published(
        &self,
        id: Uuid,
        job: JobId,
        note: Option<&AuditEntry>,
    ) -> Result<bool, Error> {
        const SQL: &str = "SELECT state FROM publications WHERE id = $1";
        let mut tx = self.db.begin().await?;
        let state: Option<String> =
            on_tx!(&mut tx, conn => sqlx::query_scalar(SQL).bind(id).fetch_optional(conn).await)?;
        let published = state.as_deref() == Some(PublicationState::Published.as_str());
        if published {
            let completed = SqlLedger::complete_dead_in(&mut tx, job, self.now()).await?;
            if let Some(note) = note.filter(|_| completed) {
                SqlLedger::audit_in(&mut tx, note).await?;
            }
        }
        tx.commit().await?;
        Ok(published)
    }

    /// Requests that had to leave by then are over, and what they did is visible.
    pub(super) fn settled_before(&self) -> Timestamp {
        self.now().before(REQUEST_MAX).before(VISIBLE_WITHIN)
    }
}

/// From when on a request that had to leave by then is over, and what it did is visible.
pub(super) fn settled_from(send_by: Timestamp) -> Timestamp {
    send_by.after(REQUEST_MAX).after(VISIBLE_WITHIN)
}

/// How long a request that was first begun at `begun_at` will be past when one that is begun now
/// arrives, at the latest.
pub(super) fn age_on_arrival(begun_at: Option<Timestamp>, now: Timestamp) -> Duration {
    begun_at.map_or(Duration::ZERO, |at| now.since(at)) + SEND_WITHIN + REQUEST_MAX
}

/// The jobs that may have died of not knowing: the publication's own and the last sender.
pub(super) type Jobs = (Uuid, Option<Uuid>);

/// Ends a publication that is not published yet; answers its jobs.
pub(super) async fn publish(
    tx: &mut Tx,
    id: Uuid,
    remote_id: Option<&String>,
    remote_url: Option<&String>,
    at: Timestamp,
) -> Result<Option<Jobs>, Error> {
    const SQL: &str = "UPDATE publications SET state = 'published', send_by = NULL, \
         remote_id = $2, remote_url = $3, finished_at = $4, version = version + 1 \
         WHERE id = $1 AND state <> 'published' RETURNING job_id, sender_job";
    Ok(on_tx!(tx, conn => sqlx::query_as(SQL)
        .bind(id)
        .bind(remote_id)
        .bind(remote_url)
        .bind(at.as_millis())
        .fetch_optional(conn)
        .await)?)
}

/// A post that was adopted is on record before it is known where people see it.
async fn keep_address(tx: &mut Tx, id: Uuid, remote_id: &str, url: &str) -> Result<(), Error> {
    const SQL: &str = "UPDATE publications SET remote_url = $3 \
         WHERE id = $1 AND remote_id = $2 AND remote_url IS NULL";
    Ok(on_tx!(tx, conn => {
        sqlx::query(SQL).bind(id).bind(remote_id).bind(url).execute(conn).await.map(drop)
    })?)
}

pub(super) async fn complete_dead(
    tx: &mut Tx,
    jobs: Option<&Jobs>,
    at: Timestamp,
) -> Result<(), Error> {
    let Some((job, sender)) = jobs else { return Ok(()) };
    SqlLedger::complete_dead_in(tx, JobId::from_uuid(*job), at).await?;
    if let Some(sender) = sender.filter(|sender| sender != job) {
        SqlLedger::complete_dead_in(tx, JobId::from_uuid(sender), at).await?;
    }
    Ok(())
}

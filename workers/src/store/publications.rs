//! Publications: one post on one account, and how far its sending came.
//!
//! `scheduled → sending → published | failed`. A row becomes `sending` in a committed
//! transaction before the request leaves, so that a later run knows that something may have been
//! published, whatever happened to the earlier one.

use std::fmt;
use std::time::Duration;

use postworks::job::Timestamp;
use postworks::{on_db, on_tx};
use serde::Serialize;
use uuid::Uuid;

use super::{Error, Store, page_limit, time};
use crate::platforms::Published;

/// How long after a publication became `sending` its sender may still write to the platform.
/// Once this and the request's own time are over, a platform that does not have the post will
/// not get it any more.
pub(super) const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A publication.
#[derive(Debug, Clone, Serialize)]
pub struct Publication {
    /// Its id.
    pub id: Uuid,
    /// The post.
    pub post_id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes it.
    pub job_id: Uuid,
    /// How far it came.
    pub state: PublicationState,
    /// The time until which the sender that made it `sending` may write to the platform.
    pub send_by: Option<Timestamp>,
    /// The platform's id of the post.
    pub remote_id: Option<String>,
    /// Where people see it.
    pub remote_url: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was to be published.
    pub scheduled_at: Timestamp,
    /// When it was published or failed.
    pub finished_at: Option<Timestamp>,
}

/// How far a publication came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationState {
    /// Surely not published; its job will try.
    Scheduled,
    /// A request may have left.
    Sending,
    /// Published.
    Published,
    /// Surely not published, and its job gave up. A job that is put back tries again.
    Failed,
}

impl PublicationState {
    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Published => "published",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for PublicationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is sent, the same at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The text.
    pub text: String,
    /// The time the post shows.
    pub at: Timestamp,
}

/// What a person found out about a publication whose outcome was unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is on the platform.
    Published {
        /// The platform's id of the post, if the person gave it.
        remote_id: Option<String>,
    },
    /// It is not: its job may be put back and sends it.
    Absent,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    post_id: Uuid,
    connector_id: Uuid,
    job_id: Uuid,
    state: String,
    send_by: Option<i64>,
    remote_id: Option<String>,
    remote_url: Option<String>,
    created_at: i64,
    scheduled_at: i64,
    finished_at: Option<i64>,
}

impl TryFrom<Row> for Publication {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            post_id: row.post_id,
            connector_id: row.connector_id,
            job_id: row.job_id,
            state: match row.state.as_str() {
                "scheduled" => PublicationState::Scheduled,
                "sending" => PublicationState::Sending,
                "published" => PublicationState::Published,
                "failed" => PublicationState::Failed,
                other => return Err(Error::Corrupt(format!("the publication state {other:?}"))),
            },
            send_by: row.send_by.map(time),
            remote_id: row.remote_id,
            remote_url: row.remote_url,
            created_at: time(row.created_at),
            scheduled_at: time(row.scheduled_at),
            finished_at: row.finished_at.map(time),
        })
    }
}

impl Store {
    /// A publication.
    pub async fn publication(&self, id: Uuid) -> Result<Option<Publication>, Error> {
        const SQL: &str = "SELECT * FROM publications WHERE id = $1";
        let row: Option<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id).fetch_optional(pool).await
        })?;
        row.map(Publication::try_from).transpose()
    }

    /// Publications that a sender left behind as `sending`, oldest first: a person may have to
    /// look at the account. Those younger than `before` may still be under way.
    pub async fn unresolved(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Publication>, Error> {
        const SQL: &str = "SELECT * FROM publications WHERE state = 'sending' AND send_by < $1 \
             ORDER BY id LIMIT $2";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL)
                .bind(before.as_millis())
                .bind(page_limit(limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(Publication::try_from).collect()
    }

    /// Fixes what is sent, at the first call; answers the same at every later one.
    pub async fn freeze(&self, id: Uuid) -> Result<Frozen, Error> {
        const SQL: &str = "UPDATE publications SET frozen_at = COALESCE(frozen_at, $2), \
             frozen_text = COALESCE(frozen_text, \
             (SELECT posts.text FROM posts WHERE posts.id = publications.post_id)) \
             WHERE id = $1 RETURNING frozen_text, frozen_at";
        let mut tx = self.db.begin().await?;
        let (text, at): (String, i64) = on_tx!(&mut tx, conn => sqlx::query_as(SQL)
            .bind(id)
            .bind(self.now().as_millis())
            .fetch_one(conn)
            .await)?;
        tx.commit().await?;
        Ok(Frozen { text, at: time(at) })
    }

    /// Records that a request is about to leave, and answers the time it must leave by. `None`:
    /// the publication is published, or it is `sending` already and must not be sent `again`.
    pub async fn begin_sending(&self, id: Uuid, again: bool) -> Result<Option<Timestamp>, Error> {
        const SQL: &str = "UPDATE publications \
             SET state = 'sending', send_by = $3, finished_at = NULL WHERE id = $1 \
             AND (state IN ('scheduled', 'failed') OR (state = 'sending' AND $2))";
        let send_by = self.now().after(SEND_WITHIN);
        let mut tx = self.db.begin().await?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(again)
            .bind(send_by.as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok((changed == 1).then_some(send_by))
    }

    /// Records that the platform has the post.
    pub async fn sent(&self, id: Uuid, published: &Published) -> Result<(), Error> {
        let (remote_id, remote_url) = (Some(&published.remote_id), published.remote_url.as_ref());
        self.end(id, PublicationState::Published, remote_id, remote_url).await.map(drop)
    }

    /// Records that the platform surely does not have the post: `finally` if nobody will try
    /// again.
    pub async fn rejected(&self, id: Uuid, finally: bool) -> Result<(), Error> {
        let state = if finally { PublicationState::Failed } else { PublicationState::Scheduled };
        self.end(id, state, None, None).await.map(drop)
    }

    /// Records what a person found out about a publication that was left as `sending`. `false`:
    /// it is not in that state.
    pub async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<bool, Error> {
        if self.publication(id).await?.map(|row| row.state) != Some(PublicationState::Sending) {
            return Ok(false);
        }
        match resolution {
            Resolution::Published { remote_id } => {
                self.end(id, PublicationState::Published, remote_id.as_ref(), None).await
            }
            Resolution::Absent => self.end(id, PublicationState::Scheduled, None, None).await,
        }
    }

    /// Moves a publication that is not published yet.
    async fn end(
        &self,
        id: Uuid,
        state: PublicationState,
        remote_id: Option<&String>,
        remote_url: Option<&String>,
    ) -> Result<bool, Error> {
        const SQL: &str = "UPDATE publications SET state = $2, send_by = NULL, remote_id = $3, \
             remote_url = $4, finished_at = $5 WHERE id = $1 AND state <> 'published'";
        let ends = state != PublicationState::Scheduled;
        let mut tx = self.db.begin().await?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(state.as_str())
            .bind(remote_id)
            .bind(remote_url)
            .bind(ends.then(|| self.now().as_millis()))
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(changed == 1)
    }
}

//! Publications: one post on one account, and how far its sending came.
//!
//! `scheduled → sending → published | failed`. How a row changes is in `effects`; here is what it
//! says.

use std::collections::HashSet;
use std::fmt;

use postworks::job::Timestamp;
use postworks::on_db;
use serde::Serialize;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Error, Late, Missed, Store, Window, prepared, time};
use crate::platforms::Prepared;

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
    /// When the first request was recorded whose outcome is not known.
    pub begun_at: Option<Timestamp>,
    /// Until when the sender that made it `sending` may write to the platform.
    pub send_by: Option<Timestamp>,
    /// The worker that recorded the last request.
    pub worker: Option<String>,
    /// What the platform holds ready for it.
    #[serde(skip)]
    pub prepared: Prepared,
    /// Grows with every change of what became of it.
    pub version: i64,
    /// The platform's id of the post.
    pub remote_id: Option<String>,
    /// Where people see it.
    pub remote_url: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it is to be published, not before.
    pub scheduled_at: Timestamp,
    /// Until when, if that matters.
    pub window: Option<Window>,
    /// That it was found to be late.
    pub missed: Option<Missed>,
    /// When it was published or failed.
    pub finished_at: Option<Timestamp>,
    /// The platform's id of the post that it answers, once that is known.
    pub reply_to: Option<String>,
    /// The publication that it answers.
    pub in_reply_to: Option<Uuid>,
    /// The post's revision that it sends, once that is fixed.
    pub revision: Option<i64>,
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
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Sending, Self::Published, Self::Failed];

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

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    post_id: Uuid,
    connector_id: Uuid,
    job_id: Uuid,
    state: String,
    begun_at: Option<i64>,
    send_by: Option<i64>,
    worker: Option<String>,
    version: i64,
    prepared: Option<String>,
    remote_id: Option<String>,
    remote_url: Option<String>,
    created_at: i64,
    scheduled_at: i64,
    not_after: Option<i64>,
    late: Option<String>,
    missed_at: Option<i64>,
    missed_why: Option<String>,
    finished_at: Option<i64>,
    reply_to: Option<String>,
    in_reply_to: Option<Uuid>,
    frozen_revision: Option<i64>,
}

impl TryFrom<Row> for Publication {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let late = row.late.as_deref().map(Late::read).transpose()?;
        let window = row.not_after.map(time).zip(late);
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
            begun_at: row.begun_at.map(time),
            send_by: row.send_by.map(time),
            worker: row.worker,
            prepared: prepared::read(row.prepared.as_deref())?,
            version: row.version,
            remote_id: row.remote_id,
            remote_url: row.remote_url,
            created_at: time(row.created_at),
            scheduled_at: time(row.scheduled_at),
            window: window.map(|(not_after, late)| Window { not_after, late }),
            missed: row.missed_at.map(|at| Missed { at: time(at), why: row.missed_why }),
            finished_at: row.finished_at.map(time),
            reply_to: row.reply_to,
            in_reply_to: row.in_reply_to,
            revision: row.frozen_revision,
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

    /// Those of these publications that are out.
    pub async fn published_of(&self, ids: Vec<Uuid>) -> Result<HashSet<Uuid>, Error> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let found: Vec<Uuid> = on_db!(&self.db, pool => {
            let mut query = QueryBuilder::new(
                "SELECT id FROM publications WHERE state = 'published' AND id IN (",
            );
            let mut places = query.separated(", ");
            for id in &ids {
                places.push_bind(*id);
            }
            query.push(")");
            query.build_query_scalar().fetch_all(pool).await
        })?;
        Ok(found.into_iter().collect())
    }
}

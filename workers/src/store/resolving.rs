//! A person's word for what became of a publication that nobody knew about.
//!
//! Of a post that they name, the word counts as little as a look-up does that cannot tell whose it
//! is: what another publication has is not given to a second one, which would be lost then. Only
//! publications of the person's own tenant are looked at, as everywhere.

use postworks::job::Timestamp;
use postworks::ledger::{AuditEntry, SqlLedger, Tx};
use postworks::on_tx;
use uuid::Uuid;

use super::adoption::{Owner, lock_account};
use super::effects::{complete_dead, publish};
use super::{Error, Publication, PublicationState, Store};

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

/// What became of a [`Resolution`].
#[derive(Debug, Clone)]
pub enum Resolved {
    /// Recorded.
    Done(Publication),
    /// There is no such publication.
    Missing,
    /// A request may be under way, or not be visible yet, until this time: nothing was changed.
    InFlight(Timestamp),
    /// Nothing is unknown about it: nothing was changed.
    NotOpen(Publication),
    /// Another publication has that post, or may be about to: nothing was changed.
    Taken {
        /// The post.
        remote_id: String,
        /// The publication.
        by: Owner,
    },
}

impl Resolution {
    fn remote_id(&self) -> Option<&String> {
        match self {
            Self::Published { remote_id } => remote_id.as_ref(),
            Self::Absent => None,
        }
    }
}

impl Store {
    /// Records what a person found out about a publication whose outcome is not known. If it is
    /// published, the job that died of it is completed and its letter goes.
    ///
    /// What is noted is noted only if it is recorded.
    pub async fn resolve(
        &self,
        id: Uuid,
        resolution: &Resolution,
        note: Option<&AuditEntry>,
    ) -> Result<Resolved, Error> {
        let mut tx = self.db.begin().await?;
        if resolution.remote_id().is_some() {
            lock_account(&mut tx, id).await?;
        }
        // Not before that, which may have to be waited for.
        let (now, sent_before) = (self.now(), self.settled_before());
        if !close(&mut tx, id, sent_before).await? {
            tx.rollback().await?;
            return self.why_not_open(id).await;
        }
        if let Some(remote_id) = resolution.remote_id()
            && let Some(by) = self.owner(&mut tx, id, remote_id).await?
        {
            tx.rollback().await?;
            return Ok(Resolved::Taken { remote_id: remote_id.clone(), by });
        }
        apply(&mut tx, id, resolution, now).await?;
        if let Some(note) = note {
            SqlLedger::audit_in(&mut tx, note).await?;
        }
        tx.commit().await?;
        Ok(self.publication(id).await?.map_or(Resolved::Missing, Resolved::Done))
    }

    async fn why_not_open(&self, id: Uuid) -> Result<Resolved, Error> {
        let Some(row) = self.publication(id).await? else { return Ok(Resolved::Missing) };
        Ok(match (row.state, row.proof_from()) {
            (PublicationState::Sending, Some(until)) => Resolved::InFlight(until),
            _ => Resolved::NotOpen(row),
        })
    }
}

/// Locks a publication whose outcome is open, against whoever has read it before as well; `false` if
/// it is not open, or its request may be under way.
async fn close(tx: &mut Tx, id: Uuid, sent_before: Timestamp) -> Result<bool, Error> {
    const SQL: &str = "UPDATE publications SET version = version + 1 \
         WHERE id = $1 AND state = 'sending' AND (send_by IS NULL OR send_by <= $2)";
    let closed = on_tx!(tx, conn => sqlx::query(SQL)
        .bind(id)
        .bind(sent_before.as_millis())
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(closed == 1)
}

async fn apply(
    tx: &mut Tx,
    id: Uuid,
    resolution: &Resolution,
    now: Timestamp,
) -> Result<(), Error> {
    const ABSENT: &str = "UPDATE publications SET state = 'scheduled', send_by = NULL, \
         finished_at = NULL WHERE id = $1";
    match resolution {
        Resolution::Published { remote_id } => {
            let ended = publish(tx, id, remote_id.as_ref(), None, now).await?;
            complete_dead(tx, ended.as_ref(), now).await
        }
        Resolution::Absent => Ok(on_tx!(tx, conn => {
            sqlx::query(ABSENT).bind(id).execute(conn).await.map(drop)
        })?),
    }
}

//! Revisions of posts. Publications that have not begun take the new one; those that are frozen keep
//! what they have, since something of it may be out already.

use postworks::ledger::{AuditEntry, SqlLedger, Tx, until_sure};
use postworks::on_tx;
use uuid::Uuid;

use super::media::{attach, shown};
use super::posts::Row;
use super::{Content, Error, Fits, Post, PublicationState, Revision, Store};

/// Most publications of a post that can be revised.
pub const REVISED_MAX: usize = 1_000;

/// What became of a revision.
#[derive(Debug, Clone)]
pub enum Revised {
    /// There is no such post.
    Missing,
    /// The post has more publications than [`REVISED_MAX`]: nothing was changed.
    TooMany,
    /// It holds what was asked for.
    Done {
        /// Which revision that is.
        revision: i64,
        /// Publications that send what it holds now, unless it is changed again.
        takes: Vec<Uuid>,
        /// Publications that keep an earlier revision, and which.
        keeps: Vec<(Uuid, i64)>,
    },
}

#[derive(sqlx::FromRow)]
struct Of {
    id: Uuid,
    state: String,
    revision: Option<i64>,
    platform: String,
    is_reply: bool,
    /// Whether its job goes on.
    is_live: bool,
}

impl Store {
    /// Changes what a post holds, and notes it if that changes anything. Its publications that are
    /// still to be sent, and not frozen, must fit their platforms.
    ///
    /// # Errors
    /// [`Error::Fields`]: it would say nothing, has images that are not there, or does not fit.
    pub async fn revise(
        &self,
        id: Uuid,
        revision: &Revision,
        fits: &Fits,
        note: &AuditEntry,
    ) -> Result<Revised, Error> {
        // Done again, it changes nothing more.
        until_sure(|| self.try_revise(id, revision, fits, note)).await
    }

    async fn try_revise(
        &self,
        id: Uuid,
        revision: &Revision,
        fits: &Fits,
        note: &AuditEntry,
    ) -> Result<Revised, Error> {
        const REVISE: &str = "UPDATE posts SET text = $2, content = $3, revised_at = $4, \
             revision = revision + 1 WHERE id = $1";
        let mut tx = self.db.begin().await?;
        let Some(before) = hold(&mut tx, id).await? else { return Ok(Revised::Missing) };
        let content = revision.of(&before.content);
        if let Some(fault) = content.fault() {
            return Err(Error::Fields(vec![fault]));
        }
        let changes = content != before.content;
        if changes {
            attach(&mut tx, id, &content.images).await?;
            let (more, now) = (content.more()?, self.now());
            on_tx!(&mut tx, conn => sqlx::query(REVISE)
                .bind(id)
                .bind(&content.text)
                .bind(more)
                .bind(now.as_millis())
                .execute(conn)
                .await
                .map(drop))?;
            SqlLedger::audit_in(&mut tx, note).await?;
        }
        let publications = publications(&mut tx, id).await?;
        if publications.len() > REVISED_MAX {
            return Ok(Revised::TooMany);
        }
        check(&mut tx, &content, &publications, fits).await?;
        tx.commit().await?;
        let revision = before.revision + i64::from(changes);
        let of = |row: &Of| (row.id, row.revision.unwrap_or(revision));
        let (takes, keeps): (Vec<_>, Vec<_>) =
            publications.iter().map(of).partition(|(_, has)| *has == revision);
        let takes = takes.into_iter().map(|(id, _)| id).collect();
        Ok(Revised::Done { revision, takes, keeps })
    }
}

/// The post, which nobody else changes, and no publication freezes, until the transaction ends.
async fn hold(tx: &mut Tx, id: Uuid) -> Result<Option<Post>, Error> {
    macro_rules! select {
        ($hold:literal) => {
            concat!(
                "SELECT id, text, content, revision, created_at, revised_at FROM posts \
                 WHERE id = $1",
                $hold
            )
        };
    }
    let sql = match tx {
        Tx::Postgres(_) => select!(" FOR NO KEY UPDATE"),
        Tx::Sqlite(_) => select!(""),
    };
    let row: Option<Row> =
        on_tx!(tx, conn => sqlx::query_as(sql).bind(id).fetch_optional(conn).await)?;
    row.map(Post::try_from).transpose()
}

/// The post's publications, and the revisions of those that are frozen; one more than may be revised.
async fn publications(tx: &mut Tx, post: Uuid) -> Result<Vec<Of>, Error> {
    const SQL: &str = "SELECT p.id, p.state, c.platform, \
             CASE WHEN p.frozen_text IS NOT NULL THEN COALESCE(p.frozen_revision, 1) END AS revision, \
             (p.reply_to IS NOT NULL OR p.in_reply_to IS NOT NULL) AS is_reply, \
             EXISTS (SELECT 1 FROM jobs WHERE jobs.id = p.job_id \
                 AND jobs.state IN ('open', 'parked')) AS is_live \
         FROM publications p JOIN connectors c ON c.id = p.connector_id \
         WHERE p.post_id = $1 ORDER BY p.id LIMIT $2";
    let limit = i64::try_from(REVISED_MAX + 1).unwrap_or(i64::MAX);
    Ok(on_tx!(tx, conn => sqlx::query_as(SQL).bind(post).bind(limit).fetch_all(conn).await)?)
}

/// Whether the platforms of what is still to be sent would take it.
async fn check(
    tx: &mut Tx,
    content: &Content,
    publications: &[Of],
    fits: &Fits,
) -> Result<(), Error> {
    let shown = shown(tx, &content.images).await?;
    let scheduled = PublicationState::Scheduled.as_str();
    let comes = |of: &&Of| of.is_live && of.revision.is_none() && of.state == scheduled;
    for of in publications.iter().filter(comes) {
        if let Err(refusal) = fits(&of.platform, &shown.draft(content, of.is_reply)) {
            let words = format!("{}, where publication {} will be sent", refusal.words, of.id);
            return Err(Error::field(refusal.field, words));
        }
    }
    Ok(())
}

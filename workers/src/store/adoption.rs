//! Which post of an account is which publication's, where platforms show posts that are alike.

use postworks::job::Timestamp;
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::effects::{complete_dead, publish, settled_from};
use super::{Content, Error, Publication, Store, time};
use crate::platforms::{Others, Published, with_link};

/// The same account may be connected more than once.
macro_rules! same_account {
    ($one:literal, $other:literal) => {
        concat!(
            "(",
            $one,
            ".id = ",
            $other,
            ".id OR (",
            $one,
            ".platform = ",
            $other,
            ".platform AND ",
            $one,
            ".base_url = ",
            $other,
            ".base_url AND ",
            $one,
            ".remote_id = ",
            $other,
            ".remote_id))"
        )
    };
}

/// The account's other publications `o`, beside `$1`, of the account `mine`.
macro_rules! others {
    ($what:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM publications me \
             JOIN connectors mine ON mine.id = me.connector_id \
             JOIN connectors theirs ON ",
            same_account!("theirs", "mine"),
            " \
             JOIN publications o ON o.connector_id = theirs.id AND o.id <> me.id \
             WHERE me.id = $1 "
        )
    };
}

/// Another publication of the account, whose a post is or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The publication.
    pub id: Uuid,
    /// Until when it is not known whether it has the post: it has the same text, and its request
    /// may be under way. `None` if it has it.
    pub unsure_until: Option<Timestamp>,
}

impl Store {
    /// What the account's other publications have on the platform that was made between these times,
    /// or may have there.
    pub async fn others_of(
        &self,
        id: Uuid,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Others, Error> {
        const IDS: &str = concat!(
            others!("o.remote_id"),
            "AND o.state = 'published' AND o.remote_id IS NOT NULL AND o.finished_at >= $2 \
             AND (o.begun_at IS NULL OR o.begun_at <= $3)"
        );
        const OPEN: &str = concat!(
            others!("o.frozen_text, o.frozen_content"),
            "AND o.state = 'sending' AND o.frozen_text IS NOT NULL"
        );
        let (since, until) = (since.as_millis(), until.as_millis());
        let ids: Vec<String> = on_db!(&self.db, pool => sqlx::query_scalar(IDS)
            .bind(id)
            .bind(since)
            .bind(until)
            .fetch_all(pool)
            .await)?;
        let open: Vec<(String, Option<String>)> =
            on_db!(&self.db, pool => sqlx::query_as(OPEN).bind(id).fetch_all(pool).await)?;
        let text = |(text, more): (String, Option<String>)| {
            let content = Content::read(text, more.as_deref())?;
            let url = content.link.as_ref().map(|link| link.url.as_str());
            Ok::<_, Error>(with_link(&content.text, url))
        };
        let texts = open.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(Others { ids: ids.into_iter().collect(), texts })
    }

    /// Records that the platform has the post as this one, of which nothing but its text tells whose it
    /// is; `false` if another publication has it, or may be about to: it has the same text, and its
    /// request may be under way.
    pub async fn adopt(&self, row: &Publication, published: &Published) -> Result<bool, Error> {
        let (id, mut tx) = (row.id, self.db.begin().await?);
        lock_account(&mut tx, id).await?;
        let now = self.now();
        let Published { remote_id, remote_url } = published;
        if self.owner(&mut tx, id, remote_id).await?.is_some() {
            tx.rollback().await?;
            return Ok(false);
        }
        let ended = publish(&mut tx, id, Some(remote_id), remote_url.as_ref(), now).await?;
        complete_dead(&mut tx, ended.as_ref(), now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The other publication that has this post, or may be about to. What it answers is true until
    /// the end of the transaction only if that has locked the account before.
    pub(super) async fn owner(
        &self,
        tx: &mut Tx,
        id: Uuid,
        remote_id: &str,
    ) -> Result<Option<Owner>, Error> {
        const SQL: &str = concat!(
            others!("o.id, CASE WHEN o.remote_id = $2 THEN NULL ELSE o.send_by END"),
            "AND (o.remote_id = $2 OR (o.state = 'sending' AND o.send_by > $3 \
             AND o.frozen_text = me.frozen_text)) \
             ORDER BY CASE WHEN o.remote_id = $2 THEN 0 ELSE 1 END, o.send_by DESC LIMIT 1"
        );
        let found: Option<(Uuid, Option<i64>)> = on_tx!(tx, conn => sqlx::query_as(SQL)
            .bind(id)
            .bind(remote_id)
            .bind(self.settled_before().as_millis())
            .fetch_optional(conn)
            .await)?;
        Ok(found.map(|(id, send_by)| Owner {
            id,
            unsure_until: send_by.map(|at| settled_from(time(at))),
        }))
    }
}

/// Those who say which post of the publication's account is whose do so one after the other. Before
/// any publication of it is locked.
pub(super) async fn lock_account(tx: &mut Tx, publication: Uuid) -> Result<(), Error> {
    const SQL: &str = concat!(
        "SELECT theirs.id FROM publications p JOIN connectors mine ON mine.id = p.connector_id \
         JOIN connectors theirs ON ",
        same_account!("theirs", "mine"),
        " WHERE p.id = $1 ORDER BY theirs.id FOR NO KEY UPDATE OF theirs"
    );
    // The embedded database has one writer at a time.
    if let Tx::Postgres(conn) = tx {
        sqlx::query(SQL).bind(publication).execute(&mut **conn).await?;
    }
    Ok(())
}

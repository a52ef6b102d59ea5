//! Requests that came with a key of their client's, and what was answered.
//!
//! Whoever takes a key gets the seed that all ids of the request come from. A request that breaks
//! off in the middle, wherever that is, is done again with the same seed, and finds what it had
//! already made. So no answer has to be committed together with what it speaks of.

use std::time::Duration;

use postworks::job::{IdSource, Timestamp};
use postworks::ledger::until_sure;
use postworks::on_tx;
use uuid::Uuid;

use super::{Error, Store, time};

/// A key is good for so long.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A client's key, and what came with it.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<'a> {
    /// Whose key it is.
    pub actor: &'a str,
    /// The key, at most 255 bytes.
    pub key: &'a str,
    /// SHA-256 of what is asked.
    pub asked: [u8; 32],
}

/// What became of a key that was to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The request is to be done.
    Ours(Holding),
    /// It was done.
    Done(Answered),
    /// Somebody is at it, until then at the latest.
    UnderWay(Timestamp),
    /// The key came with another request before.
    OfAnother,
}

/// A key that is held while its request is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    seed: Uuid,
    created_at: Timestamp,
    /// Whether nobody was at the request before.
    pub first: bool,
}

impl Holding {
    /// Where all ids of the request come from.
    pub fn ids(&self) -> IdSource {
        IdSource::repeating(self.seed, self.created_at)
    }
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The body, as it was sent.
    pub body: String,
}

type Row = (Vec<u8>, Uuid, i64, i64, Option<i64>, Option<String>);

impl Store {
    /// Takes a key for as long as `hold`, unless it is held, or its request was done.
    pub async fn take_request(&self, keyed: Keyed<'_>, hold: Duration) -> Result<Taken, Error> {
        let seed = Uuid::new_v4();
        until_sure(|| self.try_take(keyed, hold, seed)).await
    }

    async fn try_take(&self, keyed: Keyed<'_>, hold: Duration, seed: Uuid) -> Result<Taken, Error> {
        // A key that is too old begins anew; one whose holder is gone goes on with its seed.
        const TAKE: &str = "INSERT INTO requests (actor, key, asked, seed, created_at, held_until) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (actor, key) DO UPDATE SET \
                 asked = excluded.asked, held_until = excluded.held_until, \
                 seed = CASE WHEN requests.created_at <= $7 THEN excluded.seed \
                     ELSE requests.seed END, \
                 created_at = CASE WHEN requests.created_at <= $7 THEN excluded.created_at \
                     ELSE requests.created_at END, \
                 status = NULL, answer = NULL \
             WHERE requests.created_at <= $7 OR (requests.status IS NULL \
                 AND requests.held_until <= $5 AND requests.asked = excluded.asked) \
             RETURNING seed, created_at";
        const LOOK: &str = "SELECT asked, seed, created_at, held_until, status, answer \
             FROM requests WHERE actor = $1 AND key = $2";
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let taken: Option<(Uuid, i64)> = on_tx!(&mut tx, conn => sqlx::query_as(TAKE)
            .bind(keyed.actor)
            .bind(keyed.key)
            .bind(keyed.asked.as_slice())
            .bind(seed)
            .bind(now.as_millis())
            .bind(now.after(hold).as_millis())
            .bind(now.before(REQUESTS_KEPT).as_millis())
            .fetch_optional(conn)
            .await)?;
        let answer = match taken {
            Some((held, created_at)) => Taken::Ours(Holding {
                seed: held,
                created_at: time(created_at),
                first: held == seed,
            }),
            None => {
                let row: Option<Row> = on_tx!(&mut tx, conn => sqlx::query_as(LOOK)
                    .bind(keyed.actor)
                    .bind(keyed.key)
                    .fetch_optional(conn)
                    .await)?;
                // One that went meanwhile is free at once.
                row.map_or(Taken::UnderWay(now), |row| of_row(row, keyed, seed))
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    /// Keeps the answer to a request, for whoever sends it again.
    pub async fn keep_answer(
        &self,
        keyed: Keyed<'_>,
        holding: Holding,
        answered: &Answered,
    ) -> Result<(), Error> {
        const SQL: &str = "UPDATE requests SET status = $4, answer = $5 \
             WHERE actor = $1 AND key = $2 AND seed = $3 AND status IS NULL";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(keyed.actor)
            .bind(keyed.key)
            .bind(holding.seed)
            .bind(i64::from(answered.status))
            .bind(answered.body.as_str())
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Lets go of a key whose request was not done, or not to its end.
    pub async fn let_go(&self, keyed: Keyed<'_>, holding: Holding) -> Result<(), Error> {
        const SQL: &str = "UPDATE requests SET held_until = 0 \
             WHERE actor = $1 AND key = $2 AND seed = $3 AND status IS NULL";
        self.change(SQL, keyed, holding).await
    }

    /// Forgets a key whose request was refused: it may come with a better one.
    pub async fn forget_request(&self, keyed: Keyed<'_>, holding: Holding) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM requests \
             WHERE actor = $1 AND key = $2 AND seed = $3 AND status IS NULL";
        self.change(SQL, keyed, holding).await
    }

    async fn change(
        &self,
        sql: &'static str,
        keyed: Keyed<'_>,
        holding: Holding,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(sql)
            .bind(keyed.actor)
            .bind(keyed.key)
            .bind(holding.seed)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }
}

fn of_row(row: Row, keyed: Keyed<'_>, seed: Uuid) -> Taken {
    let (asked, held, created_at, held_until, status, answer) = row;
    if asked != keyed.asked {
        return Taken::OfAnother;
    }
    match (status, answer) {
        (Some(status), Some(body)) => {
            Taken::Done(Answered { status: u16::try_from(status).unwrap_or(500), body })
        }
        // The answer to our own commit had got lost.
        _ if held == seed => {
            Taken::Ours(Holding { seed, created_at: time(created_at), first: true })
        }
        _ => Taken::UnderWay(time(held_until)),
    }
}

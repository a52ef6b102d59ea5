//! Logins, and the refresh tokens that come of each.
//!
//! A token is exchanged for the next one once. One that comes a second time was stolen, or its
//! thief was faster: the session ends, and with it all that came of the login. But two windows of
//! one browser may well send the same token at once; so for a moment the client that exchanged it
//! may do so again.

use std::time::Duration;

use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{Tx, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, User, time};

/// A login is good for so long.
pub const SESSION_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
/// So long the client that exchanged a token may exchange it again.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// A session has had its day after so many refresh tokens: one every five minutes, and some more.
pub const SESSION_TOKENS_MAX: u32 = 10_000;

/// A refresh token to be kept: never the token itself.
#[derive(Clone, Copy)]
pub struct NewRefresh {
    /// Its id.
    pub id: Uuid,
    /// SHA-256 of it.
    pub hash: [u8; 32],
}

/// A refresh token that is to be exchanged.
#[derive(Clone, Copy)]
pub struct Exchange {
    /// The id of the one that came.
    pub id: Uuid,
    /// SHA-256 of what is known of the client.
    pub client: [u8; 32],
    /// The one that takes its place.
    pub next: NewRefresh,
}

/// What became of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchanged {
    /// The next one is good.
    Done {
        /// The session.
        session: Uuid,
        /// Whose it is.
        user: User,
    },
    /// There is no such session any more, its user is disabled, or it has had too many tokens.
    Over,
    /// The token had been exchanged before: the session has been ended.
    Reused {
        /// The session.
        session: Uuid,
    },
}

/// A token as it is looked up, with its session and user.
#[derive(sqlx::FromRow)]
struct Row {
    session_id: Uuid,
    expires_at: i64,
    used_at: Option<i64>,
    used_by: Option<Vec<u8>>,
    revoked_at: Option<i64>,
    user_id: Uuid,
    tenant: Uuid,
    email: String,
    role: String,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl Row {
    fn user(self) -> User {
        User {
            id: self.user_id,
            tenant: Tenant::from_uuid(self.tenant),
            email: self.email,
            role: self.role,
            created_at: time(self.created_at),
            disabled_at: self.disabled_at.map(time),
        }
    }
}

impl Store {
    /// Begins a session of a user with its first token.
    pub async fn begin_session(
        &self,
        id: Uuid,
        user: Uuid,
        first: NewRefresh,
    ) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO sessions (id, user_id, tokens, created_at, expires_at) \
             VALUES ($1, $2, 1, $3, $4) ON CONFLICT (id) DO NOTHING";
        let now = self.now();
        let expires = now.after(SESSION_KEPT);
        until_sure(|| async {
            let mut tx = self.db.begin().await?;
            on_tx!(&mut tx, conn => sqlx::query(SQL)
                .bind(id)
                .bind(user)
                .bind(now.as_millis())
                .bind(expires.as_millis())
                .execute(conn)
                .await
                .map(drop))?;
            insert(&mut tx, id, first, now, expires.as_millis()).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The SHA-256 of the refresh token with this id.
    pub async fn refresh_hash(&self, id: Uuid) -> Result<Option<[u8; 32]>, Error> {
        const SQL: &str = "SELECT hash FROM refresh_tokens WHERE id = $1";
        let hash: Option<Vec<u8>> = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(id).fetch_optional(pool).await
        })?;
        let corrupt = |_| Error::Corrupt(format!("the hash of refresh token {id}"));
        hash.map(|hash| hash.try_into().map_err(corrupt)).transpose()
    }

    /// Exchanges a refresh token, whose hash the caller has compared.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Exchanged, Error> {
        until_sure(|| self.try_exchange(exchange)).await
    }

    async fn try_exchange(&self, exchange: Exchange) -> Result<Exchanged, Error> {
        // Whoever comes second waits here for the first, and sees then that it was used.
        const USE: &str = "UPDATE refresh_tokens SET used_at = $2, used_by = $3 \
             WHERE id = $1 AND used_at IS NULL";
        const LOOK: &str = "SELECT t.session_id, t.expires_at, t.used_at, t.used_by, \
                 s.revoked_at, u.id AS user_id, u.tenant, u.email, u.role, u.created_at, u.disabled_at \
             FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id \
                 JOIN users u ON u.id = s.user_id WHERE t.id = $1";
        const MINE: &str = "SELECT id FROM refresh_tokens WHERE id = $1";
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let first = on_tx!(&mut tx, conn => sqlx::query(USE)
            .bind(exchange.id)
            .bind(now.as_millis())
            .bind(exchange.client.as_slice())
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1))?;
        let row: Option<Row> = on_tx!(&mut tx, conn => {
            sqlx::query_as(LOOK).bind(exchange.id).fetch_optional(conn).await
        })?;
        let Some(row) = row else { return Ok(Exchanged::Over) };
        let over = row.revoked_at.is_some() || row.disabled_at.is_some();
        if over || row.expires_at <= now.as_millis() {
            return Ok(Exchanged::Over);
        }
        let session = row.session_id;
        if !first {
            // By ourselves, perhaps: the answer to our own commit may have got lost.
            let mine: Option<Uuid> = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(MINE).bind(exchange.next.id).fetch_optional(conn).await
            })?;
            if mine.is_some() {
                return Ok(Exchanged::Done { session, user: row.user() });
            }
            if !again(&row, &exchange, now) {
                end(&mut tx, session, now).await?;
                tx.commit().await?;
                return Ok(Exchanged::Reused { session });
            }
        }
        if !count(&mut tx, session).await? {
            return Ok(Exchanged::Over);
        }
        insert(&mut tx, session, exchange.next, now, row.expires_at).await?;
        tx.commit().await?;
        Ok(Exchanged::Done { session, user: row.user() })
    }

    /// Ends a session: none of its tokens is good any more.
    pub async fn end_session(&self, id: Uuid) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        end(&mut tx, id, now).await?;
        Ok(tx.commit().await?)
    }

    /// Whose a session is, if it goes on and its user may do something.
    pub async fn session_user(&self, id: Uuid) -> Result<Option<User>, Error> {
        const SQL: &str = "SELECT u.id, u.tenant, u.email, u.role, u.created_at FROM sessions s \
             JOIN users u ON u.id = s.user_id WHERE s.id = $1 \
             AND s.revoked_at IS NULL AND s.expires_at > $2 AND u.disabled_at IS NULL";
        let now = self.now().as_millis();
        let row: Option<(Uuid, Uuid, String, String, i64)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id).bind(now).fetch_optional(pool).await
        })?;
        Ok(row.map(|(id, tenant, email, role, created_at)| User {
            id,
            tenant: Tenant::from_uuid(tenant),
            email,
            role,
            created_at: time(created_at),
            disabled_at: None,
        }))
    }
}

/// Whether the client that exchanged the token a moment ago does so again.
fn again(row: &Row, exchange: &Exchange, now: Timestamp) -> bool {
    let just_now = row.used_at.is_some_and(|at| time(at).after(REFRESH_GRACE) >= now);
    just_now && row.used_by.as_deref() == Some(exchange.client.as_slice())
}

async fn insert(
    tx: &mut Tx,
    session: Uuid,
    token: NewRefresh,
    now: Timestamp,
    expires_at: i64,
) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO refresh_tokens (id, session_id, hash, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
    Ok(on_tx!(tx, conn => sqlx::query(SQL)
        .bind(token.id)
        .bind(session)
        .bind(token.hash.as_slice())
        .bind(now.as_millis())
        .bind(expires_at)
        .execute(conn)
        .await
        .map(drop))?)
}

/// Counts one token more; answers whether there may be one.
async fn count(tx: &mut Tx, session: Uuid) -> Result<bool, Error> {
    const SQL: &str = "UPDATE sessions SET tokens = tokens + 1 \
         WHERE id = $1 AND tokens < $2 AND revoked_at IS NULL";
    Ok(on_tx!(tx, conn => sqlx::query(SQL)
        .bind(session)
        .bind(i64::from(SESSION_TOKENS_MAX))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))?)
}

async fn end(tx: &mut Tx, session: Uuid, now: Timestamp) -> Result<(), Error> {
    const SQL: &str = "UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
    Ok(on_tx!(tx, conn => sqlx::query(SQL)
        .bind(session)
        .bind(now.as_millis())
        .execute(conn)
        .await
        .map(drop))?)
}

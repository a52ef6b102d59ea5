//! Accounts that are about to be connected over OAuth: what the platform's answer must fit to.
//!
//! A state is good once: whoever deletes its row has it. Rows live for ten minutes, so a rotation of
//! keys leaves them alone: the old key opens them for as long as it is in the ring, and one that
//! nobody opens any more counts as one that is too old.

use std::time::Duration;

use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{Db, until_sure};
use postworks::on_tx;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::{Error, Store};
use crate::secrets::{Place, SealError};

/// An account is connected within so long, or begun anew.
pub const OAUTH_STATE_KEPT: Duration = Duration::from_secs(600);
/// Accounts that one actor may be connecting at a time.
pub const OAUTH_STATES_MAX: u32 = 1_000;

const VERIFIER: &str = "verifier_ct";

/// An account that somebody begins to connect.
#[derive(Debug)]
pub struct NewOAuthState {
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub cookie_hash: [u8; 32],
    /// Who begins.
    pub actor: String,
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: Url,
    /// What the exchange of the code proves itself with.
    pub verifier: SecretString,
    /// Where the platform sends the browser back to.
    pub redirect_uri: Url,
    /// The account that is connected again, if it is one that is known.
    pub connector_id: Option<Uuid>,
    /// Where on the account posts are to go, if its owner chose.
    pub target: Option<String>,
    /// Why, in words of who begins.
    pub why: Option<String>,
}

/// What was begun, for who has its answer.
#[derive(Debug)]
pub struct OAuthState {
    /// Whose account it will be.
    pub tenant: Tenant,
    /// Who began.
    pub actor: String,
    /// Where the platform's server is.
    pub base_url: Url,
    /// What the exchange of the code proves itself with.
    pub verifier: SecretString,
    /// Where the platform sent the browser back to.
    pub redirect_uri: Url,
    /// The account that is connected again, if it is one that is known.
    pub connector_id: Option<Uuid>,
    /// Where on the account posts are to go, if its owner chose.
    pub target: Option<String>,
    /// Why, in words of who began.
    pub why: Option<String>,
}

/// How whoever brings an answer shows that it is theirs.
#[derive(Debug, Clone, Copy)]
pub enum OAuthProof<'a> {
    /// They are known to be this actor.
    Actor(&'a str),
    /// SHA-256 of the cookie that they have.
    Cookie([u8; 32]),
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    actor: String,
    base_url: String,
    verifier_ct: Vec<u8>,
    redirect_uri: String,
    connector_id: Option<Uuid>,
    target: Option<String>,
    why: Option<String>,
}

/// No account's: the state's hash is in the place of one's id, so that a verifier opens in its own row
/// alone.
fn place(state_hash: &[u8; 32]) -> Place {
    let id = state_hash.first_chunk().copied().unwrap_or_default();
    Place { connector_id: Uuid::from_bytes(id), column: VERIFIER, version: 1 }
}

impl Store {
    /// Keeps what somebody begins; `false` if that would be more than [`OAUTH_STATES_MAX`] of theirs.
    pub async fn add_oauth_state(&self, new: &NewOAuthState) -> Result<bool, Error> {
        let place = place(&new.state_hash);
        let sealed = self
            .keys
            .seal(&place, &new.verifier)
            .map_err(|source| Error::Sealed { connector_id: place.connector_id, source })?;
        let until = self.now().after(OAUTH_STATE_KEPT);
        until_sure(|| self.try_add_oauth_state(new, &sealed, until)).await
    }

    async fn try_add_oauth_state(
        &self,
        new: &NewOAuthState,
        sealed: &[u8],
        until: Timestamp,
    ) -> Result<bool, Error> {
        macro_rules! insert {
            ($uuid:literal, $text:literal) => {
                concat!(
                    "INSERT INTO oauth_states (state_hash, cookie_hash, actor, platform, base_url, \
                     verifier_ct, redirect_uri, connector_id, why, expires_at, target) \
                     SELECT $1, $2, $3, $4, $5, $6, $7, $8",
                    $uuid,
                    ", $9",
                    $text,
                    ", $10, $13",
                    $text,
                    " WHERE (SELECT count(*) FROM oauth_states WHERE actor = $3 \
                     AND expires_at > $11 AND state_hash <> $1) < $12 \
                     ON CONFLICT (state_hash) DO NOTHING"
                )
            };
        }
        // PostgreSQL does not guess the type of a null that is selected.
        let sql = match &self.db {
            Db::Postgres(_) => insert!("::uuid", "::text"),
            Db::Sqlite(_) => insert!("", ""),
        };
        let mut tx = self.db.begin().await?;
        let kept = on_tx!(&mut tx, conn => sqlx::query(sql)
            .bind(new.state_hash.as_slice())
            .bind(new.cookie_hash.as_slice())
            .bind(new.actor.as_str())
            .bind(new.platform.as_str())
            .bind(new.base_url.as_str())
            .bind(sealed)
            .bind(new.redirect_uri.as_str())
            .bind(new.connector_id)
            .bind(new.why.as_deref())
            .bind(until.as_millis())
            .bind(self.now().as_millis())
            .bind(i64::from(OAUTH_STATES_MAX))
            .bind(new.target.as_deref())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if kept == 0 {
            // Perhaps it is there: the answer to our own commit may have got lost.
            const THERE: &str = "SELECT count(*) FROM oauth_states WHERE state_hash = $1";
            let there: i64 = on_tx!(&mut tx, conn => sqlx::query_scalar(THERE)
                .bind(new.state_hash.as_slice())
                .fetch_one(conn)
                .await)?;
            return Ok(there > 0);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Takes what was begun, for good; `None` if it is not there any more, or not theirs who show
    /// `proof`, for whom nothing changes.
    ///
    /// An answer of the ledger that gets lost is not asked for again: a code is exchanged by who is
    /// sure to be the only one.
    pub async fn take_oauth_state(
        &self,
        platform: &str,
        state_hash: &[u8; 32],
        proof: OAuthProof<'_>,
    ) -> Result<Option<OAuthState>, Error> {
        macro_rules! delete {
            ($proof:literal) => {
                concat!(
                    "DELETE FROM oauth_states WHERE state_hash = $1 AND platform = $2 \
                     AND expires_at > $3 AND ",
                    $proof,
                    " = $4 RETURNING tenant_id, actor, base_url, verifier_ct, redirect_uri, \
                     connector_id, target, why"
                )
            };
        }
        let mut tx = self.db.begin().await?;
        let row: Option<Row> = on_tx!(&mut tx, conn => {
            let query = match proof {
                OAuthProof::Actor(_) => sqlx::query_as(delete!("actor")),
                OAuthProof::Cookie(_) => sqlx::query_as(delete!("cookie_hash")),
            };
            let query = query
                .bind(state_hash.as_slice())
                .bind(platform)
                .bind(self.now().as_millis());
            let query = match &proof {
                OAuthProof::Actor(actor) => query.bind(*actor),
                OAuthProof::Cookie(hash) => query.bind(hash.as_slice()),
            };
            query.fetch_optional(conn).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let place = place(state_hash);
        let verifier = match self.keys.open(&place, &row.verifier_ct) {
            Ok(verifier) => verifier,
            // Nothing is taken: a moment later it opens.
            Err(source @ (SealError::NoKeys | SealError::Unproved)) => {
                return Err(Error::Sealed { connector_id: place.connector_id, source });
            }
            Err(error) => {
                tracing::warn!(%error, "what an account is connected with does not open");
                tx.commit().await?;
                return Ok(None);
            }
        };
        let state = row.with(verifier)?;
        tx.commit().await?;
        Ok(Some(state))
    }
}

impl Row {
    fn with(self, verifier: SecretString) -> Result<OAuthState, Error> {
        let url = |text: &str| {
            Url::parse(text).map_err(|_| Error::Corrupt(format!("the address {text:?}")))
        };
        Ok(OAuthState {
            tenant: Tenant::from_uuid(self.tenant_id),
            actor: self.actor,
            base_url: url(&self.base_url)?,
            verifier,
            redirect_uri: url(&self.redirect_uri)?,
            connector_id: self.connector_id,
            target: self.target,
            why: self.why,
        })
    }
}

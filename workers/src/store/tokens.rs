//! The accounts' secrets, and the lease that lets one caller at a time renew them.
//!
//! A refresh is: acquire the lease on the version that was found stale, ask the platform, commit
//! on that version. Whoever lost the version changes nothing; whoever lost the lease may still keep
//! an answer, and say nothing else.
//! Leases are measured with our clocks, so machines whose clocks differ by most of a lease could
//! both ask; the commit still keeps one answer.

use postworks::job::Timestamp;
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use secrecy::SecretString;
use uuid::Uuid;

use super::events::EventKind;
use super::{Connector, Error, Store, connectors, time};
use crate::secrets::Place;

/// An account with its access token and what is known about its renewal.
#[derive(Debug, Clone)]
pub struct Access {
    /// The account.
    pub connector: Connector,
    /// The version of its secrets.
    pub version: i64,
    /// The access token, if there ever was one.
    pub token: Option<SecretString>,
    /// When the access token ends, if the platform said so.
    pub expires_at: Option<Timestamp>,
    /// Whether there is anything to renew it with.
    pub renewable: bool,
    /// When the platform last gave tokens.
    pub refreshed_at: Option<Timestamp>,
    /// Who renews it now, or did when its process died.
    pub lease_owner: Option<Uuid>,
    /// Nobody else may renew it before this.
    pub lease_until: Option<Timestamp>,
    /// Set while it is unknown what became of a request for new tokens.
    pub refresh_started_at: Option<Timestamp>,
    /// Renewals that failed in a row.
    pub failures: u32,
    /// What the last one that failed failed with.
    pub last_error: Option<String>,
}

/// What keeps callers from an account's access token for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Whether somebody renews it; else renewals failed, and nobody tries before `until`.
    pub under_way: bool,
    /// Until when at most.
    pub until: Timestamp,
    /// Renewals that failed in a row.
    pub failures: u32,
    /// When the access token that is there ends; `None` if there is none.
    pub token_ends: Option<Timestamp>,
}

/// The lease, and what only its owner may see.
#[derive(Debug)]
pub struct Held {
    /// Gets the next tokens, if there were some before.
    pub refresh: Option<SecretString>,
    /// What a person entered, as long as it is of use.
    pub secret: Option<SecretString>,
}

/// What an account's secrets become.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The access token.
    pub access: SecretString,
    /// Gets the next tokens.
    pub refresh: Option<SecretString>,
    /// What a person entered, if it is still of use.
    pub secret: Option<SecretString>,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// The platform's own id of the account, if it said so.
    pub remote_id: Option<String>,
    /// Whether they come of a new sign-in, and not of a refresh.
    pub signed_in: bool,
}

/// What a failed renewal leaves behind.
#[derive(Debug)]
pub struct CoolDown {
    /// Nobody tries again before this.
    pub until: Timestamp,
    /// Whether the old tokens may have been used up by the request.
    pub unknown: bool,
    /// What went wrong; no secrets.
    pub error: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    connector: connectors::Row,
    access_ct: Option<Vec<u8>>,
    version: i64,
    expires_at: Option<i64>,
    refreshed_at: Option<i64>,
    lease_owner: Option<Uuid>,
    lease_until: Option<i64>,
    refresh_started_at: Option<i64>,
    failures: i64,
    last_error: Option<String>,
    renewable: bool,
}

/// A sealed column.
type Sealed = Option<Vec<u8>>;

pub(super) const ACCESS: &str = "access_ct";
pub(super) const REFRESH: &str = "refresh_ct";
pub(super) const SECRET: &str = "secret_ct";

impl Store {
    fn seal(&self, place: Place, value: &SecretString) -> Result<Vec<u8>, Error> {
        let connector_id = place.connector_id;
        self.keys.seal(&place, value).map_err(|source| Error::Sealed { connector_id, source })
    }

    fn open(&self, place: Place, value: Option<&[u8]>) -> Result<Option<SecretString>, Error> {
        let connector_id = place.connector_id;
        let open = |bytes| self.keys.open(&place, bytes);
        value.map(open).transpose().map_err(|source| Error::Sealed { connector_id, source })
    }

    /// Replaces everything an account has by what a person entered.
    pub(super) async fn put_secret(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        secret: &SecretString,
    ) -> Result<(), Error> {
        const FILL: &str = "UPDATE connector_tokens SET secret_ct = $2, access_ct = NULL, \
             refresh_ct = NULL, expires_at = NULL, lease_owner = NULL, lease_until = NULL, \
             refresh_started_at = NULL, failures = 0, refresh_due_at = NULL, \
             refresh_late_at = NULL WHERE connector_id = $1";
        let version = self.next_version(tx, connector_id).await?;
        let sealed = self.seal(Place { connector_id, column: SECRET, version }, secret)?;
        on_tx!(tx, conn => sqlx::query(FILL)
            .bind(connector_id)
            .bind(sealed)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Replaces everything an account has by these tokens, and plans when they are renewed. A refresh
    /// token that is there is kept if none comes with them and nobody has refused it: some platforms
    /// grant one with the first consent alone.
    pub(super) async fn put_tokens(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        new: &Renewed,
    ) -> Result<(), Error> {
        const FILL: &str = "UPDATE connector_tokens SET secret_ct = $2, access_ct = $3, \
             refresh_ct = $4, expires_at = $5, refreshed_at = $6, lease_owner = NULL, \
             lease_until = NULL, refresh_started_at = NULL, failures = 0, refresh_due_at = $7, \
             refresh_late_at = $8 WHERE connector_id = $1";
        let version = self.next_version(tx, connector_id).await?;
        let kept = match &new.refresh {
            Some(_) => None,
            None => self.unrefused(tx, connector_id, version - 1).await?,
        };
        let new = &Renewed { refresh: new.refresh.clone().or(kept), ..new.clone() };
        let now = self.now();
        let ahead = new.ahead(now, connector_id, version);
        let seal = |column, value: &Option<SecretString>| {
            let place = Place { connector_id, column, version };
            value.as_ref().map(|value| self.seal(place, value)).transpose()
        };
        let access = self.seal(Place { connector_id, column: ACCESS, version }, &new.access)?;
        let (refresh, secret) = (seal(REFRESH, &new.refresh)?, seal(SECRET, &new.secret)?);
        on_tx!(tx, conn => sqlx::query(FILL)
            .bind(connector_id)
            .bind(secret)
            .bind(access)
            .bind(refresh)
            .bind(new.expires_at.map(Timestamp::as_millis))
            .bind(now.as_millis())
            .bind(ahead.map(|plan| plan.due_at.as_millis()))
            .bind(ahead.map(|plan| plan.late_at.as_millis()))
            .execute(conn)
            .await
            .map(drop))?;
        connectors::note_tokens(tx, connector_id, new, now).await
    }

    /// The refresh token of a version, unless its last use failed or its key is not here.
    async fn unrefused(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        version: i64,
    ) -> Result<Option<SecretString>, Error> {
        const SQL: &str = "SELECT refresh_ct FROM connector_tokens \
             WHERE connector_id = $1 AND failures = 0 AND refresh_started_at IS NULL";
        let sealed: Option<Sealed> = on_tx!(tx, conn => {
            sqlx::query_scalar(SQL).bind(connector_id).fetch_optional(conn).await
        })?;
        let place = Place { connector_id, column: REFRESH, version };
        Ok(sealed
            .flatten()
            .and_then(|sealed| self.open(place, Some(sealed.as_slice())).ok().flatten()))
    }

    /// The version that an account's next secrets are sealed for. Locks the row, which only this
    /// transaction can see change until they are filled in.
    async fn next_version(&self, tx: &mut Tx, connector_id: Uuid) -> Result<i64, Error> {
        const NEXT: &str = "INSERT INTO connector_tokens (connector_id, key_id, version) \
             VALUES ($1, $2, 1) ON CONFLICT (connector_id) \
             DO UPDATE SET version = connector_tokens.version + 1, key_id = $2 RETURNING version";
        Ok(on_tx!(tx, conn => sqlx::query_scalar(NEXT)
            .bind(connector_id)
            .bind(self.keys.current_id())
            .fetch_one(conn)
            .await)?)
    }

    /// An account with its access token.
    pub async fn access(&self, connector_id: Uuid) -> Result<Option<Access>, Error> {
        const SQL: &str = "SELECT c.*, t.access_ct, t.version, t.expires_at, t.refreshed_at, \
             t.lease_owner, t.lease_until, t.refresh_started_at, t.failures, t.last_error, \
             (t.refresh_ct IS NOT NULL OR t.secret_ct IS NOT NULL) AS renewable \
             FROM connectors c JOIN connector_tokens t ON t.connector_id = c.id WHERE c.id = $1";
        let row: Option<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(connector_id).fetch_optional(pool).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let place = Place { connector_id, column: ACCESS, version: row.version };
        Ok(Some(Access {
            connector: row.connector.try_into()?,
            version: row.version,
            token: self.open(place, row.access_ct.as_deref())?,
            expires_at: row.expires_at.map(time),
            renewable: row.renewable,
            refreshed_at: row.refreshed_at.map(time),
            lease_owner: row.lease_owner,
            lease_until: row.lease_until.map(time),
            refresh_started_at: row.refresh_started_at.map(time),
            failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
            last_error: row.last_error,
        }))
    }

    /// What keeps callers from renewing an account's access token now, if anything does. Opens no
    /// secret.
    pub async fn renewal(&self, connector_id: Uuid) -> Result<Option<Renewal>, Error> {
        const SQL: &str = "SELECT lease_owner, lease_until, failures, \
             CASE WHEN access_ct IS NOT NULL THEN coalesce(expires_at, $2) END \
             FROM connector_tokens WHERE connector_id = $1 AND lease_until > $3";
        let row: Option<(Option<Uuid>, i64, i64, Option<i64>)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL)
                .bind(connector_id)
                .bind(i64::MAX)
                .bind(self.now().as_millis())
                .fetch_optional(pool)
                .await
        })?;
        Ok(row.map(|(owner, until, failures, token_ends)| Renewal {
            under_way: owner.is_some(),
            until: time(until),
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            token_ends: token_ends.map(time),
        }))
    }

    /// Takes the lease on the row as it was `seen`, or prolongs it for the same owner. `None` if
    /// somebody else has it or the row has changed since.
    pub async fn acquire_refresh(
        &self,
        seen: &Access,
        owner: Uuid,
        until: Timestamp,
    ) -> Result<Option<Held>, Error> {
        // The comparison of refresh_started_at makes sure that a crash we did not see in `seen`
        // is not mistaken for a first try.
        const SQL: &str = "UPDATE connector_tokens \
             SET lease_owner = $2, lease_until = $3, refresh_started_at = $4 \
             WHERE connector_id = $1 AND version = $5 AND (lease_owner = $2 OR (\
             (lease_until IS NULL OR lease_until <= $4) \
             AND refresh_started_at IS NOT DISTINCT FROM $6)) \
             RETURNING refresh_ct, secret_ct";
        let (connector_id, version) = (seen.connector.id, seen.version);
        let mut tx = self.db.begin().await?;
        let row: Option<(Sealed, Sealed)> = on_tx!(&mut tx, conn => {
            sqlx::query_as(SQL)
                .bind(connector_id)
                .bind(owner)
                .bind(until.as_millis())
                .bind(self.now().as_millis())
                .bind(version)
                .bind(seen.refresh_started_at.map(Timestamp::as_millis))
                .fetch_optional(conn)
                .await
        })?;
        let Some((refresh, secret)) = row else { return Ok(None) };
        let place = |column| Place { connector_id, column, version };
        // Opened before the commit: a missing key must not leave a lease behind.
        let held = Held {
            refresh: self.open(place(REFRESH), refresh.as_deref())?,
            secret: self.open(place(SECRET), secret.as_deref())?,
        };
        tx.commit().await?;
        Ok(Some(held))
    }

    /// Keeps new tokens under the next version, plans when those are renewed, and ends the lease,
    /// whoever has it: who was answered goes before who wants to ask, though his lease ran out while
    /// the database was away. `false` if there are newer secrets than those of `version`, or a person
    /// has to enter some: nothing was changed.
    pub async fn commit_refresh(
        &self,
        connector_id: Uuid,
        version: i64,
        new: &Renewed,
    ) -> Result<bool, Error> {
        const TOKENS: &str = "UPDATE connector_tokens SET access_ct = $3, refresh_ct = $4, \
             secret_ct = $5, key_id = $6, version = version + 1, expires_at = $7, \
             refreshed_at = $8, lease_owner = NULL, lease_until = NULL, \
             refresh_started_at = NULL, failures = 0, refresh_due_at = $9, refresh_late_at = $10 \
             WHERE connector_id = $1 AND version = $2 AND EXISTS \
             (SELECT 1 FROM connectors WHERE id = $1 AND state = 'active')";
        let next = |column| Place { connector_id, column, version: version + 1 };
        let seal = |column, value: &Option<SecretString>| {
            value.as_ref().map(|value| self.seal(next(column), value)).transpose()
        };
        let access = self.seal(next(ACCESS), &new.access)?;
        let (refresh, secret) = (seal(REFRESH, &new.refresh)?, seal(SECRET, &new.secret)?);
        let now = self.now();
        let ahead = new.ahead(now, connector_id, version);
        // `connectors` first, as everywhere: connecting again locks the rows in that order too.
        let mut tx = self.db.begin().await?;
        connectors::note_tokens(&mut tx, connector_id, new, now).await?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(TOKENS)
            .bind(connector_id)
            .bind(version)
            .bind(access)
            .bind(refresh)
            .bind(secret)
            .bind(self.keys.current_id())
            .bind(new.expires_at.map(Timestamp::as_millis))
            .bind(now.as_millis())
            .bind(ahead.map(|plan| plan.due_at.as_millis()))
            .bind(ahead.map(|plan| plan.late_at.as_millis()))
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        finish(tx, changed).await
    }

    /// Gives the lease back after a failure that says nothing against the account.
    pub async fn cool_down(
        &self,
        connector_id: Uuid,
        owner: Uuid,
        version: i64,
        failure: &CoolDown,
    ) -> Result<bool, Error> {
        const SQL: &str = "UPDATE connector_tokens SET lease_owner = NULL, lease_until = $4, \
             refresh_started_at = CASE WHEN $5 THEN refresh_started_at END, \
             failures = failures + 1, last_error = $6, last_failure_at = $7 \
             WHERE connector_id = $1 AND lease_owner = $2 AND version = $3";
        let mut tx = self.db.begin().await?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(connector_id)
            .bind(owner)
            .bind(version)
            .bind(failure.until.as_millis())
            .bind(failure.unknown)
            .bind(&failure.error)
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        finish(tx, changed).await
    }

    /// Marks an account as one that a person must connect again, if its secrets are still of
    /// `version` and nobody but `owner` is renewing them. `false`: there are, or soon will be,
    /// newer ones.
    pub async fn revoke(
        &self,
        connector_id: Uuid,
        owner: Option<Uuid>,
        version: i64,
        reason: &str,
    ) -> Result<bool, Error> {
        const TOKENS: &str = "UPDATE connector_tokens SET lease_owner = NULL, lease_until = NULL, \
             refresh_started_at = NULL, failures = failures + 1, last_error = $4, \
             last_failure_at = $5, refresh_due_at = NULL, refresh_late_at = NULL \
             WHERE connector_id = $1 AND version = $3 \
             AND (lease_owner = $2 OR ($2 IS NULL AND (lease_owner IS NULL OR lease_until <= $5)))";
        // It is told once, whoever else finds out.
        const STATE: &str = "UPDATE connectors SET state = 'needs_reauth', state_reason = $2 \
             WHERE id = $1 AND state = 'active'";
        let mut tx = self.db.begin().await?;
        let found_out = on_tx!(&mut tx, conn => sqlx::query(STATE)
            .bind(connector_id)
            .bind(reason)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1))?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(TOKENS)
            .bind(connector_id)
            .bind(owner)
            .bind(version)
            .bind(reason)
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 1 && found_out {
            self.tell(&mut tx, EventKind::NeedsReauth, connector_id, Some(reason)).await?;
        }
        finish(tx, changed).await
    }
}

/// Commits if the condition of the last statement held, and undoes the others if not.
async fn finish(tx: Tx, changed: u64) -> Result<bool, Error> {
    if changed == 1 {
        tx.commit().await?
    } else {
        tx.rollback().await?
    }
    Ok(changed == 1)
}

//! What a platform granted over OAuth becomes an account, or gives one its tokens.

use postworks::ledger::{AuditEntry, Db, SqlLedger, Tx, until_sure};
use postworks::on_tx;
use url::Url;
use uuid::Uuid;

use super::connectors::without_slashes;
use super::events::EventKind;
use super::{Connected, Error, Renewed, Store};

/// What a platform granted.
#[derive(Debug)]
pub struct Grant {
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: Url,
    /// The account that it was asked for; `None` for whichever it is of.
    pub connector_id: Option<Uuid>,
    /// The platform's own id of the account that it is of.
    pub remote_id: String,
    /// Its name there, if the platform says so: what a new account is listed under, unless another has
    /// that name.
    pub name: Option<String>,
    /// Where on the account posts go, if that was said.
    pub target: Option<String>,
    /// The tokens.
    pub tokens: Renewed,
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// Its account has its tokens.
    Kept(Connected),
    /// It is not of the account that it was asked for, or that one's name is another account's:
    /// nothing was changed.
    OfAnother,
    /// The account that it was asked for is not there: nothing was changed.
    Gone,
}

/// An account that a grant may be of.
#[derive(sqlx::FromRow)]
struct Known {
    id: Uuid,
    remote_id: Option<String>,
}

impl Store {
    /// Gives an account the tokens that a platform granted; it is active then, and has nothing else to
    /// renew them with. The caller releases its parked jobs, as of
    /// [`add_connector`](Self::add_connector). `note` goes to the audit, with the account's id as its
    /// subject.
    pub async fn keep_grant(&self, grant: &Grant, note: &AuditEntry) -> Result<Granted, Error> {
        let fresh = self.new_id();
        until_sure(|| self.try_keep_grant(grant, note, fresh)).await
    }

    async fn try_keep_grant(
        &self,
        grant: &Grant,
        note: &AuditEntry,
        fresh: Uuid,
    ) -> Result<Granted, Error> {
        const DONE: &str = "SELECT subject FROM audit WHERE id = $1";
        let mut tx = self.db.begin().await?;
        // Perhaps by ourselves: the answer to our own commit may have got lost.
        let done: Option<String> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(DONE).bind(note.id).fetch_optional(conn).await
        })?;
        if let Some(id) = done {
            let corrupt = |_| Error::Corrupt(format!("the audited account {id:?}"));
            let id = id.parse().map_err(corrupt)?;
            return Ok(Granted::Kept(Connected { id, again: id != fresh }));
        }
        let id = match grant.connector_id {
            Some(id) => match self.asked_for(&mut tx, id, grant).await? {
                Ok(id) => Some(id),
                Err(refused) => return Ok(refused),
            },
            None => self.account_of(&mut tx, grant, fresh).await?,
        };
        let Some(id) = id else { return Ok(Granted::OfAnother) };
        aim(&mut tx, id, grant.target.as_deref()).await?;
        self.put_tokens(&mut tx, id, &grant.tokens).await?;
        let note = AuditEntry { subject: id.to_string(), ..note.clone() };
        SqlLedger::audit_in(&mut tx, &note).await?;
        let kind = if id == fresh { EventKind::Connected } else { EventKind::Reconnected };
        self.tell(&mut tx, kind, id, None).await?;
        tx.commit().await?;
        Ok(Granted::Kept(Connected { id, again: id != fresh }))
    }

    /// The account that the grant was asked for, active again, if the grant is of it.
    async fn asked_for(
        &self,
        tx: &mut Tx,
        id: Uuid,
        grant: &Grant,
    ) -> Result<Result<Uuid, Granted>, Error> {
        const LOOK: &str = "SELECT id, remote_id FROM connectors \
             WHERE id = $1 AND platform = $2 AND disconnected_at IS NULL";
        let asked: Option<Known> = on_tx!(&mut *tx, conn => sqlx::query_as(LOOK)
            .bind(id)
            .bind(&grant.platform)
            .fetch_optional(conn)
            .await)?;
        let Some(asked) = asked else { return Ok(Err(Granted::Gone)) };
        // One that nobody has worked for yet is whichever its first tokens are of, if that is no other
        // row's.
        let known = match asked.remote_id {
            Some(_) => None,
            None => self.known(tx, grant).await?.filter(|known| known.id != id),
        };
        let taken = known.is_some_and(|known| known.remote_id.is_some());
        if taken || !activate(tx, id, &grant.remote_id).await? {
            return Ok(Err(Granted::OfAnother));
        }
        Ok(Ok(id))
    }

    /// The account that the grant is of, active: one that is known, or a new one. `None` if another
    /// account has its name.
    async fn account_of(
        &self,
        tx: &mut Tx,
        grant: &Grant,
        fresh: Uuid,
    ) -> Result<Option<Uuid>, Error> {
        // A name is not proof of an account, so nobody's row is taken for it.
        macro_rules! insert {
            ($conflict:literal) => {
                concat!(
                    "INSERT INTO connectors (id, platform, base_url, identifier, remote_id, \
                     created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (",
                    $conflict,
                    ") DO UPDATE SET state = 'active', state_reason = NULL, \
                     remote_id = excluded.remote_id WHERE connectors.disconnected_at IS NULL \
                     AND (connectors.remote_id = excluded.remote_id \
                     OR (connectors.remote_id IS NULL AND connectors.identifier = $5)) RETURNING id"
                )
            };
        }
        if let Some(known) = self.known(tx, grant).await? {
            if activate(tx, known.id, &grant.remote_id).await? {
                return Ok(Some(known.id));
            }
            // Unless it was disconnected at this very moment: then it is connected anew.
            if self.known(tx, grant).await?.is_some() {
                return Ok(None);
            }
        }
        // The embedded database has one tenant, and cannot change what is unique.
        let sql = match &self.db {
            Db::Postgres(_) => insert!("tenant_id, platform, base_url, identifier"),
            Db::Sqlite(_) => insert!("platform, base_url, identifier"),
        };
        // Others may have that name, or one that reads as this id.
        let marked = format!("id {}", grant.remote_id);
        for identifier in grant.name.iter().chain([&grant.remote_id, &marked]) {
            let id: Option<Uuid> = on_tx!(&mut *tx, conn => sqlx::query_scalar(sql)
                .bind(fresh)
                .bind(&grant.platform)
                .bind(without_slashes(&grant.base_url).as_str())
                .bind(identifier)
                .bind(&grant.remote_id)
                .bind(self.now().as_millis())
                .fetch_optional(conn)
                .await)?;
            if id.is_some() {
                return Ok(id);
            }
        }
        Ok(None)
    }

    /// The account on that server with that id of the platform's; else one that nobody has worked for
    /// yet and that has it for a name.
    async fn known(&self, tx: &mut Tx, grant: &Grant) -> Result<Option<Known>, Error> {
        const SQL: &str = "SELECT id, remote_id FROM connectors WHERE platform = $1 \
             AND rtrim(base_url, '/') = $2 \
             AND (remote_id = $3 OR (remote_id IS NULL AND identifier = $3)) \
             AND disconnected_at IS NULL \
             ORDER BY CASE WHEN remote_id = $3 THEN 0 ELSE 1 END, created_at LIMIT 1";
        let base_url = without_slashes(&grant.base_url);
        Ok(on_tx!(tx, conn => sqlx::query_as(SQL)
            .bind(&grant.platform)
            .bind(base_url.as_str().trim_end_matches('/'))
            .bind(&grant.remote_id)
            .fetch_optional(conn)
            .await)?)
    }
}

/// Makes an account active that is this one of the platform's, or may be: locks its row first, as
/// whoever connects it does.
async fn activate(tx: &mut Tx, id: Uuid, remote_id: &str) -> Result<bool, Error> {
    const SQL: &str = "UPDATE connectors SET state = 'active', state_reason = NULL, remote_id = $2 \
         WHERE id = $1 AND disconnected_at IS NULL AND (remote_id IS NULL OR remote_id = $2)";
    Ok(on_tx!(tx, conn => sqlx::query(SQL)
        .bind(id)
        .bind(remote_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))?)
}

/// Says where an account's posts go, if that is to be changed.
async fn aim(tx: &mut Tx, id: Uuid, target: Option<&str>) -> Result<(), Error> {
    const SQL: &str = "UPDATE connectors SET target = $2 WHERE id = $1";
    let Some(target) = target else { return Ok(()) };
    Ok(on_tx!(tx, conn => {
        sqlx::query(SQL).bind(id).bind(target).execute(conn).await.map(drop)
    })?)
}

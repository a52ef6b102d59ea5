//! Connected accounts.

use std::collections::HashMap;
use std::fmt;

use postworks::job::{SnoozeReason, Timestamp};
use postworks::ledger::{AuditEntry, Db, SqlLedger, Tx};
use postworks::{on_db, on_tx};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::events::EventKind;
use super::{Error, PAGE_MAX, Renewed, Store, below, page_limit, time};
use crate::platforms::Account;

/// An account to connect.
#[derive(Debug)]
pub struct NewConnector {
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: Url,
    /// The handle or address a person entered.
    pub identifier: String,
    /// Where on the account posts go, if that is to be said.
    pub target: Option<String>,
    /// The secret a person entered.
    pub secret: SecretString,
}

/// What became of connecting an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The account.
    pub id: Uuid,
    /// It was there before: its parked jobs may be released now.
    pub again: bool,
}

/// A connected account.
#[derive(Debug, Clone, Serialize)]
pub struct Connector {
    /// Its id.
    pub id: Uuid,
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: Url,
    /// The handle or address a person entered.
    pub identifier: String,
    /// The platform's own id of it, once known.
    pub remote_id: Option<String>,
    /// Where on the account posts go, if that was said.
    pub target: Option<String>,
    /// When it was last signed in, if that is known.
    pub signed_in_at: Option<Timestamp>,
    /// Whether it can be used.
    pub state: ConnectorState,
    /// Why it cannot.
    pub state_reason: Option<String>,
    /// When it was first connected.
    pub created_at: Timestamp,
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// It can.
    Active,
    /// A person must connect it again.
    NeedsReauth,
    /// A person disconnected it: its tokens are gone, and its rows go.
    Disconnecting,
}

impl ConnectorState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::NeedsReauth, Self::Disconnecting];

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The name in the API, and in the database but for accounts that are disconnected.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsReauth => "needs_reauth",
            Self::Disconnecting => "disconnecting",
        }
    }
}

impl fmt::Display for ConnectorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Connector {
    /// The account as a platform client needs it.
    pub fn account(&self) -> Account {
        Account {
            connector_id: self.id,
            base_url: self.base_url.clone(),
            identifier: self.identifier.clone(),
            remote_id: self.remote_id.clone(),
            target: self.target.clone(),
            signed_in_at: self.signed_in_at,
        }
    }
}

/// A row of `connectors`.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    platform: String,
    base_url: String,
    identifier: String,
    remote_id: Option<String>,
    target: Option<String>,
    signed_in_at: Option<i64>,
    state: String,
    state_reason: Option<String>,
    created_at: i64,
    disconnected_at: Option<i64>,
}

/// An account's state, whose column cannot say all: what does not know the other one must take a
/// disconnected account for one that cannot be used.
macro_rules! state {
    () => {
        "CASE WHEN disconnected_at IS NULL THEN state ELSE 'disconnecting' END"
    };
}
pub(super) use state;

/// The name of an account that is disconnected, as its row has it: nobody else's.
pub(super) fn hidden(identifier: &str, id: Uuid) -> String {
    format!("{identifier}#{id}")
}

/// The name of an account as a person knows it.
pub(super) fn shown(identifier: &str, id: Uuid) -> &str {
    let name = identifier.strip_suffix(id.to_string().as_str());
    name.and_then(|name| name.strip_suffix('#')).unwrap_or(identifier)
}

impl TryFrom<Row> for Connector {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            platform: row.platform,
            base_url: Url::parse(&row.base_url)
                .map_err(|_| Error::Corrupt(format!("the base_url {:?}", row.base_url)))?,
            identifier: shown(&row.identifier, row.id).to_owned(),
            remote_id: row.remote_id,
            target: row.target,
            signed_in_at: row.signed_in_at.map(time),
            state: match row.disconnected_at {
                Some(_) => ConnectorState::Disconnecting,
                None => ConnectorState::parse(&row.state).ok_or_else(|| {
                    Error::Corrupt(format!("the connector state {:?}", row.state))
                })?,
            },
            state_reason: row.state_reason,
            created_at: time(row.created_at),
        })
    }
}

/// The same address without the slashes at its end: they lead to the same server.
pub(super) fn without_slashes(url: &Url) -> Url {
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

impl Store {
    /// Connects an account, or connects it again: then its secret is replaced, its tokens are
    /// forgotten and it is active. The caller releases the account's parked jobs; those it misses
    /// are the chore's, see [`Reconnected`](crate::reconnected::Reconnected).
    pub async fn add_connector(&self, new: NewConnector) -> Result<Connected, Error> {
        self.add_connector_noted(new, |_| None).await
    }

    /// The same, with what `note` makes of the account's id for the audit.
    pub async fn add_connector_noted(
        &self,
        new: NewConnector,
        note: impl FnOnce(Uuid) -> Option<AuditEntry>,
    ) -> Result<Connected, Error> {
        // The address as a row has it, which may have been written with slashes.
        const KNOWN: &str = "SELECT base_url FROM connectors \
             WHERE platform = $1 AND identifier = $2 AND rtrim(base_url, '/') = $3 \
             ORDER BY created_at LIMIT 1";
        macro_rules! insert {
            ($conflict:literal) => {
                concat!(
                    "INSERT INTO connectors (id, platform, base_url, identifier, created_at, \
                     target) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (",
                    $conflict,
                    ") DO UPDATE SET state = 'active', state_reason = NULL, \
                     target = COALESCE(excluded.target, connectors.target) \
                     WHERE connectors.disconnected_at IS NULL RETURNING id"
                )
            };
        }
        // The embedded database has one tenant, and cannot change what is unique.
        let sql = match &self.db {
            Db::Postgres(_) => insert!("tenant_id, platform, base_url, identifier"),
            Db::Sqlite(_) => insert!("platform, base_url, identifier"),
        };
        let fresh = self.new_id();
        let base_url = without_slashes(&new.base_url);
        let mut tx = self.db.begin().await?;
        let known: Option<String> = on_tx!(&mut tx, conn => sqlx::query_scalar(KNOWN)
            .bind(&new.platform)
            .bind(&new.identifier)
            .bind(base_url.as_str().trim_end_matches('/'))
            .fetch_optional(conn)
            .await)?;
        let id: Option<Uuid> = on_tx!(&mut tx, conn => sqlx::query_scalar(sql)
            .bind(fresh)
            .bind(&new.platform)
            .bind(known.as_deref().unwrap_or(base_url.as_str()))
            .bind(&new.identifier)
            .bind(self.now().as_millis())
            .bind(&new.target)
            .fetch_optional(conn)
            .await)?;
        let Some(id) = id else {
            return Err(Error::field("/identifier", "is that of an account that is being deleted"));
        };
        self.put_secret(&mut tx, id, &new.secret).await?;
        if let Some(note) = note(id) {
            SqlLedger::audit_in(&mut tx, &note).await?;
        }
        let kind = if id == fresh { EventKind::Connected } else { EventKind::Reconnected };
        self.tell(&mut tx, kind, id, None).await?;
        tx.commit().await?;
        Ok(Connected { id, again: id != fresh })
    }

    /// An account.
    pub async fn connector(&self, id: Uuid) -> Result<Option<Connector>, Error> {
        const SQL: &str = "SELECT * FROM connectors WHERE id = $1";
        let row: Option<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id).fetch_optional(pool).await
        })?;
        row.map(Connector::try_from).transpose()
    }

    /// Accounts that can be used while jobs are parked until they can, at most
    /// [`PAGE_MAX`] of them.
    pub async fn reconnected(&self) -> Result<Vec<Uuid>, Error> {
        const SQL: &str = "SELECT DISTINCT j.account FROM jobs j \
             JOIN connectors c ON c.id = j.account \
             WHERE j.state = 'parked' AND j.parked_for = $1 AND c.state = 'active' LIMIT $2";
        Ok(on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL)
                .bind(SnoozeReason::NeedsReauth.as_str())
                .bind(page_limit(PAGE_MAX))
                .fetch_all(pool)
                .await
        })?)
    }

    /// Accounts, newest first: all or those in a state, older than `before`, the last one of the page
    /// before.
    pub async fn connectors(
        &self,
        state: Option<ConnectorState>,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Connector>, Error> {
        const SQL: &str = concat!(
            "SELECT * FROM connectors WHERE id < $1 AND ($3 IS NULL OR ",
            state!(),
            " = $3) ORDER BY id DESC LIMIT $2"
        );
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL)
                .bind(below(before))
                .bind(page_limit(limit))
                .bind(state.map(ConnectorState::as_str))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(Connector::try_from).collect()
    }

    /// How many jobs wait for a person to connect each of these accounts again.
    pub async fn waiting_for(&self, accounts: &[Uuid]) -> Result<HashMap<Uuid, u64>, Error> {
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, i64)> = on_db!(&self.db, pool => {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT account, COUNT(*) FROM jobs WHERE state = 'parked' AND parked_for = ",
            );
            query.push_bind(SnoozeReason::NeedsReauth.as_str()).push(" AND account IN (");
            let mut list = query.separated(", ");
            for id in accounts {
                list.push_bind(*id);
            }
            query.push(") GROUP BY account").build_query_as().fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(id, count)| (id, count.unsigned_abs())).collect())
    }
}

/// Keeps what new tokens say of their account.
pub(super) async fn note_tokens(
    tx: &mut Tx,
    connector_id: Uuid,
    new: &Renewed,
    now: Timestamp,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE connectors SET remote_id = COALESCE($2, remote_id), \
         signed_in_at = COALESCE($3, signed_in_at) WHERE id = $1";
    if new.remote_id.is_none() && !new.signed_in {
        return Ok(());
    }
    Ok(on_tx!(tx, conn => sqlx::query(SQL)
        .bind(connector_id)
        .bind(&new.remote_id)
        .bind(new.signed_in.then(|| now.as_millis()))
        .execute(conn)
        .await
        .map(drop))?)
}

//! What happened to accounts: written by the transaction that lets it happen, read in that order.
//!
//! A tenant's ids ascend in the order of the commits: whoever writes one waits until the one before
//! is committed or undone, and takes a greater id. So a reader who goes on from the last id he has
//! misses nothing, whatever the clocks of the writers say.

use std::fmt;

use postworks::job::Timestamp;
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Store, page_limit, time};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An account was connected.
    Connected,
    /// It was connected once more: it works again, if it did not.
    Reconnected,
    /// A person must connect it again.
    NeedsReauth,
    /// A person disconnected it.
    Disconnected,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::Connected, Self::Reconnected, Self::NeedsReauth, Self::Disconnected];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connector.connected",
            Self::Reconnected => "connector.reconnected",
            Self::NeedsReauth => "connector.needs_reauth",
            Self::Disconnected => "connector.disconnected",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event.
    pub id: Uuid,
    /// What, as in [`EventKind::as_str`].
    pub kind: String,
    /// The account.
    pub subject: Uuid,
    /// When.
    pub at: Timestamp,
    /// What else there is to know: an object with `platform` and `identifier`, and a `reason` where
    /// there is one.
    pub detail: Value,
}

type Row = (Uuid, String, Uuid, i64, String);

impl Store {
    /// Writes an event of an account in the transaction that lets it happen. The account's row must
    /// be there, and is best locked before: so all lock in the same order.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        kind: EventKind,
        connector: Uuid,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        // Until the transaction ends nobody else writes an event of the tenant.
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended(tenant_id::text, 1)) \
             FROM connectors WHERE id = $1";
        const LAST: &str = "SELECT id FROM events WHERE tenant_id = \
             (SELECT tenant_id FROM connectors WHERE id = $1) ORDER BY id DESC LIMIT 1";
        const LAST_OF_ALL: &str = "SELECT id FROM events ORDER BY id DESC LIMIT 1";
        const INSERT: &str = "INSERT INTO events (id, tenant_id, type, subject, at, detail) \
             SELECT $1, tenant_id, $2, id, $3, $4 FROM connectors WHERE id = $5";
        const INSERT_ALONE: &str = "INSERT INTO events (id, type, subject, at, detail) \
             VALUES ($1, $2, $5, $3, $4)";
        const ABOUT: &str = "SELECT platform, identifier FROM connectors WHERE id = $1";
        let (platform, identifier): (String, String) = on_tx!(&mut *tx, conn => {
            sqlx::query_as(ABOUT).bind(connector).fetch_one(conn).await
        })?;
        let last: Option<Uuid> = match tx {
            Tx::Postgres(conn) => {
                sqlx::query(LOCK).bind(connector).execute(&mut **conn).await?;
                sqlx::query_scalar(LAST).bind(connector).fetch_optional(&mut **conn).await?
            }
            Tx::Sqlite(conn) => sqlx::query_scalar(LAST_OF_ALL).fetch_optional(&mut **conn).await?,
        };
        let next = last.map_or(Uuid::nil(), |last| Uuid::from_u128(last.as_u128() + 1));
        let sql = match tx {
            Tx::Postgres(_) => INSERT,
            Tx::Sqlite(_) => INSERT_ALONE,
        };
        let identifier = super::connectors::shown(&identifier, connector);
        let mut detail = json!({ "platform": platform, "identifier": identifier });
        if let Some(reason) = reason {
            detail["reason"] = Value::from(reason);
        }
        on_tx!(tx, conn => sqlx::query(sql)
            .bind(self.new_id().max(next))
            .bind(kind.as_str())
            .bind(self.now().as_millis())
            .bind(detail.to_string())
            .bind(connector)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Events, oldest first; those after the one of this id, which need not be there any more.
    pub async fn events(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<Event>, Error> {
        const SQL: &str = "SELECT id, type, subject, at, detail FROM events WHERE id > $1 \
             ORDER BY id LIMIT $2";
        let after = after.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(after).bind(page_limit(limit)).fetch_all(pool).await
        })?;
        let event = |(id, kind, subject, at, detail): Row| {
            let detail = serde_json::from_str(&detail)
                .map_err(|_| Error::Corrupt(format!("the detail {detail:?} of an event")))?;
            Ok(Event { id, kind, subject, at: time(at), detail })
        };
        rows.into_iter().map(event).collect()
    }
}

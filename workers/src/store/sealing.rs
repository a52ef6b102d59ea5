//! The keys that accounts' secrets are sealed with: which there are, who has them, how many rows each
//! has sealed; and sealing rows anew with another one.
//!
//! A row is sealed anew at the version it has. Whoever renews its tokens meanwhile neither waits nor
//! loses: only the row as it was read is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postworks::job::Timestamp;
use postworks::ledger::{AuditEntry, SqlLedger, Tx};
use postworks::{on_db, on_tx};
use secrecy::SecretString;
use uuid::Uuid;

use super::events::EventKind;
use super::tokens::{ACCESS, REFRESH, SECRET};
use super::{Error, Store, time};
use crate::secrets::{KeyProof, Place, SealError};

/// A node that has not said for so long which keys it has is gone.
pub const HOLDER_BELIEVED: Duration = Duration::from_secs(60);
/// Rows that are sealed anew in one transaction.
const PAGE: i64 = 100;
/// So many rows show whether a key is the one that sealed them: one may be damaged.
const SAMPLE: i64 = 5;

/// What the ledger knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Its id.
    pub id: String,
    /// What shows that it is the one of that id; `None` if nobody has proved it yet.
    pub proof: Option<Vec<u8>>,
    /// When it was proved first.
    pub first_seen: Option<Timestamp>,
    /// Whether a rotation has sealed, or may have sealed, rows with it.
    pub required: bool,
    /// Since when it is of no use for sealing.
    pub retired_at: Option<Timestamp>,
    /// Accounts whose secrets it has sealed.
    pub rows: u64,
}

/// A node that lives, and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// Which: host, process and more, with colons between.
    pub node: String,
    /// The keys that it has proved; it seals with the first.
    pub keys: Vec<String>,
}

/// All that the ledger knows of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBook {
    /// The keys, in the order of their ids.
    pub keys: Vec<SealingKey>,
    /// The nodes that live, and have proved keys.
    pub holders: Vec<KeyHolder>,
}

/// How a page of rows was sealed anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// So many were.
    pub done: u64,
    /// So many had changed before they could be: whoever changed them has sealed them.
    pub changed: u64,
    /// These do not open, and were left as they are.
    pub damaged: Vec<Uuid>,
    /// The keys that had sealed those that were.
    pub from: BTreeSet<String>,
}

/// Rows that another key than the current one has sealed, as they were read.
pub struct Stale(Vec<Row>);

#[derive(sqlx::FromRow)]
struct Row {
    connector_id: Uuid,
    key_id: String,
    version: i64,
    access_ct: Option<Vec<u8>>,
    refresh_ct: Option<Vec<u8>>,
    secret_ct: Option<Vec<u8>>,
}

impl Row {
    fn columns(&self) -> [(&'static str, Option<&[u8]>); 3] {
        [
            (ACCESS, self.access_ct.as_deref()),
            (REFRESH, self.refresh_ct.as_deref()),
            (SECRET, self.secret_ct.as_deref()),
        ]
    }

    fn place(&self, column: &'static str) -> Place {
        Place { connector_id: self.connector_id, column, version: self.version }
    }
}

impl Stale {
    /// The last of them; `None` if there is none.
    pub fn last(&self) -> Option<Uuid> {
        self.0.last().map(|row| row.connector_id)
    }
}

impl KeyBook {
    /// A key by its id.
    pub fn key(&self, id: &str) -> Option<&SealingKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The nodes that live and do not have the key.
    pub fn without<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a KeyHolder> {
        self.holders.iter().filter(move |holder| !holder.keys.iter().any(|key| key == id))
    }

    /// The nodes that live and seal with the key.
    pub fn sealing<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a KeyHolder> {
        self.holders.iter().filter(move |holder| holder.keys.first().is_some_and(|key| key == id))
    }
}

impl Store {
    /// All that the ledger knows of keys.
    pub async fn key_book(&self) -> Result<KeyBook, Error> {
        type Known = (String, Vec<u8>, i64, Option<i64>, Option<i64>);
        const KEYS: &str =
            "SELECT id, proof, first_seen, required_at, retired_at FROM sealing_keys";
        const ROWS: &str = "SELECT key_id, count(*) FROM connector_tokens GROUP BY key_id";
        let known: Vec<Known> =
            on_db!(&self.db, pool => sqlx::query_as(KEYS).fetch_all(pool).await)?;
        let rows: Vec<(String, i64)> =
            on_db!(&self.db, pool => sqlx::query_as(ROWS).fetch_all(pool).await)?;
        let holders = self.key_holders().await?;
        let mut keys: BTreeMap<String, SealingKey> = BTreeMap::new();
        for (id, proof, first_seen, required_at, retired_at) in known {
            let key = keys.entry(id.clone()).or_insert_with(|| unproved(id));
            key.proof = Some(proof);
            key.first_seen = Some(time(first_seen));
            key.required = required_at.is_some();
            key.retired_at = retired_at.map(time);
        }
        for (id, count) in rows {
            let key = keys.entry(id.clone()).or_insert_with(|| unproved(id));
            key.rows = u64::try_from(count).unwrap_or(0);
        }
        Ok(KeyBook { keys: keys.into_values().collect(), holders })
    }

    /// The nodes that live, and have proved keys.
    pub async fn key_holders(&self) -> Result<Vec<KeyHolder>, Error> {
        const SQL: &str = "SELECT node, key_ids FROM key_holders WHERE seen_at > $1 ORDER BY node";
        let since = self.now().before(HOLDER_BELIEVED).as_millis();
        let rows: Vec<(String, String)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(since).fetch_all(pool).await
        })?;
        let holder = |(node, ids): (String, String)| KeyHolder {
            node,
            keys: ids.split(',').map(str::to_owned).collect(),
        };
        Ok(rows.into_iter().map(holder).collect())
    }

    /// Says that a node lives and has this ring's keys; whoever has not said so for long is
    /// forgotten.
    pub async fn hold_keys(&self, node: &str) -> Result<(), Error> {
        const HOLD: &str = "INSERT INTO key_holders (node, key_ids, seen_at) VALUES ($1, $2, $3) \
             ON CONFLICT (node) DO UPDATE SET key_ids = $2, seen_at = $3";
        const FORGET: &str = "DELETE FROM key_holders WHERE seen_at < $1";
        let ids = self.keys.ids().collect::<Vec<_>>().join(",");
        let now = self.now();
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(FORGET)
            .bind(now.before(2 * HOLDER_BELIEVED).as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        on_tx!(&mut tx, conn => sqlx::query(HOLD)
            .bind(node)
            .bind(ids)
            .bind(now.as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Says that a node is gone.
    pub async fn leave_keys(&self, node: &str) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM key_holders WHERE node = $1";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL).bind(node).execute(conn).await.map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Enters a key's proof. It takes the place of `instead`, one that has sealed nothing, if that is
    /// what stands there.
    pub async fn enter_key(&self, key: &KeyProof, instead: Option<&[u8]>) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO sealing_keys (id, proof, first_seen) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET proof = excluded.proof, \
             first_seen = excluded.first_seen WHERE sealing_keys.proof = $4";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(key.id.as_str())
            .bind(key.proof.as_slice())
            .bind(self.now().as_millis())
            .bind(instead)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Whether the ring's key of that id opens what a key of that id has sealed. True if there is
    /// nothing to open.
    pub async fn opens(&self, id: &str) -> Result<bool, Error> {
        const SQL: &str = "SELECT connector_id, key_id, version, access_ct, refresh_ct, secret_ct \
             FROM connector_tokens WHERE key_id = $1 LIMIT $2";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id).bind(SAMPLE).fetch_all(pool).await
        })?;
        let sealed = |row: &Row| -> Vec<bool> {
            let there = row.columns().into_iter().filter_map(|(at, bytes)| Some((at, bytes?)));
            there
                .map(|(at, bytes)| self.keys.open_unproved(&row.place(at), bytes).is_ok())
                .collect()
        };
        let opened: Vec<bool> = rows.iter().flat_map(sealed).collect();
        Ok(opened.is_empty() || opened.contains(&true))
    }

    /// Lets no node start without the current key from now on, since rows are about to be sealed with
    /// it.
    pub async fn require_current_key(&self) -> Result<(), Error> {
        const SQL: &str = "UPDATE sealing_keys SET required_at = coalesce(required_at, $2) \
             WHERE id = $1";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(self.keys.current_id())
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Takes that back, if nothing was sealed with it.
    pub async fn waive_current_key(&self) -> Result<(), Error> {
        const SQL: &str = "UPDATE sealing_keys SET required_at = NULL WHERE id = $1 \
             AND NOT EXISTS (SELECT 1 FROM connector_tokens WHERE key_id = $1)";
        let id = self.keys.current_id();
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL).bind(id).execute(conn).await.map(drop))?;
        Ok(tx.commit().await?)
    }

    /// The next rows after `after` that another key than the current one has sealed.
    pub async fn stale(&self, after: Uuid) -> Result<Stale, Error> {
        const SQL: &str = "SELECT connector_id, key_id, version, access_ct, refresh_ct, secret_ct \
             FROM connector_tokens WHERE connector_id > $1 AND key_id <> $2 \
             ORDER BY connector_id LIMIT $3";
        let rows: Vec<Row> = on_db!(&self.db, pool => sqlx::query_as(SQL)
            .bind(after)
            .bind(self.keys.current_id())
            .bind(PAGE)
            .fetch_all(pool)
            .await)?;
        Ok(Stale(rows))
    }

    /// Seals rows with the current key, as far as they still are as they were read, and adds them to
    /// the count of `note`. Done again, it finds them changed.
    pub async fn reseal(&self, stale: &Stale, note: &AuditEntry) -> Result<Resealed, Error> {
        let mut page = Resealed::default();
        let mut anew = Vec::with_capacity(stale.0.len());
        for row in &stale.0 {
            match self.sealed_anew(row) {
                Ok(columns) => anew.push((row, columns)),
                Err(SealError::Refused | SealError::Malformed) => {
                    page.damaged.push(row.connector_id);
                }
                Err(source) => {
                    return Err(Error::Sealed { connector_id: row.connector_id, source });
                }
            }
        }
        let mut tx = self.db.begin().await?;
        for (row, columns) in anew {
            match self.replace(&mut tx, row, columns).await? {
                0 => page.changed += 1,
                _ => {
                    page.done += 1;
                    page.from.insert(row.key_id.clone());
                }
            }
        }
        if page.done > 0 {
            SqlLedger::audit_in(&mut tx, &AuditEntry { count: page.done, ..note.clone() }).await?;
        }
        tx.commit().await?;
        Ok(page)
    }

    /// The three columns of a row under the current key, at the same version.
    fn sealed_anew(&self, row: &Row) -> Result<[Option<Vec<u8>>; 3], SealError> {
        let mut anew = [None, None, None];
        for (into, (column, bytes)) in anew.iter_mut().zip(row.columns()) {
            let Some(bytes) = bytes else { continue };
            let place = row.place(column);
            let secret: SecretString = self.keys.open(&place, bytes)?;
            *into = Some(self.keys.seal(&place, &secret)?);
        }
        Ok(anew)
    }

    /// Replaces a row as it was read; answers how many rows that were.
    async fn replace(
        &self,
        tx: &mut Tx,
        row: &Row,
        [access, refresh, secret]: [Option<Vec<u8>>; 3],
    ) -> Result<u64, Error> {
        const SQL: &str = "UPDATE connector_tokens SET access_ct = $4, refresh_ct = $5, \
             secret_ct = $6, key_id = $7 WHERE connector_id = $1 AND version = $2 AND key_id = $3";
        Ok(on_tx!(tx, conn => sqlx::query(SQL)
            .bind(row.connector_id)
            .bind(row.version)
            .bind(row.key_id.as_str())
            .bind(access)
            .bind(refresh)
            .bind(secret)
            .bind(self.keys.current_id())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?)
    }

    /// Gives up what a lost key has sealed: it is deleted, its accounts are ones that a person has to
    /// connect again, and the key is retired. Answers how many accounts those are.
    pub async fn give_up_key(&self, id: &str, note: &AuditEntry) -> Result<u64, Error> {
        const ACCOUNTS: &str = "UPDATE connectors SET state = 'needs_reauth', state_reason = $2 \
             WHERE state = 'active' \
             AND id IN (SELECT connector_id FROM connector_tokens WHERE key_id = $1) RETURNING id";
        const TOKENS: &str = "UPDATE connector_tokens SET access_ct = NULL, refresh_ct = NULL, \
             secret_ct = NULL, key_id = $2, version = version + 1, lease_owner = NULL, \
             lease_until = NULL, refresh_started_at = NULL, refresh_due_at = NULL, \
             refresh_late_at = NULL WHERE key_id = $1";
        const KEY: &str = "UPDATE sealing_keys SET retired_at = coalesce(retired_at, $2) \
             WHERE id = $1";
        let reason = format!("the key {id} that sealed its secrets is lost");
        let mut tx = self.db.begin().await?;
        let lost: Vec<Uuid> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(ACCOUNTS).bind(id).bind(&reason).fetch_all(conn).await
        })?;
        let given_up = on_tx!(&mut tx, conn => sqlx::query(TOKENS)
            .bind(id)
            .bind(self.keys.current_id())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        // After the tokens, as everywhere: what tells of an account makes others wait.
        for account in lost {
            self.tell(&mut tx, EventKind::NeedsReauth, account, Some(&reason)).await?;
        }
        on_tx!(&mut tx, conn => {
            sqlx::query(KEY).bind(id).bind(self.now().as_millis()).execute(conn).await.map(drop)
        })?;
        SqlLedger::audit_in(&mut tx, &AuditEntry { count: given_up, ..note.clone() }).await?;
        tx.commit().await?;
        Ok(given_up)
    }

    /// Retires a key that is not the current one, if nothing is sealed with it; answers whether it is
    /// retired now.
    pub async fn retire_key(&self, id: &str) -> Result<bool, Error> {
        const SQL: &str = "UPDATE sealing_keys SET retired_at = coalesce(retired_at, $2) \
             WHERE id = $1 AND id <> $3 \
             AND NOT EXISTS (SELECT 1 FROM connector_tokens WHERE key_id = $1)";
        let mut tx = self.db.begin().await?;
        let retired = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(self.now().as_millis())
            .bind(self.keys.current_id())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(retired > 0)
    }
}

fn unproved(id: String) -> SealingKey {
    SealingKey { id, proof: None, first_seen: None, required: false, retired_at: None, rows: 0 }
}

//! Seals every row anew with the current key, a page at a time, while the fleet works.
//!
//! Nothing of a rotation is kept but its rows: one that broke off is gone on with by starting it
//! again, and two at once do no harm.

use std::collections::BTreeSet;

use postworks::ledger::{AuditEntry, until_sure};
use uuid::Uuid;

use super::{Error, Keyholder, judge};
use crate::store::KeyBook;

/// A rotation under way. Dropped, it breaks off: what was sealed anew stays so.
pub struct Rotation {
    keyholder: Keyholder,
    note: AuditEntry,
    /// The last row that was looked at.
    after: Uuid,
    /// Whether rows changed while this walk over the rows looked at them.
    changed: bool,
    done: u64,
    from: BTreeSet<String>,
    damaged: BTreeSet<Uuid>,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows that it has sealed anew so far.
    pub done: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// What a rotation has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Rows that were sealed anew.
    pub done: u64,
    /// Accounts whose secrets do not open, and were left as they are.
    pub damaged: Vec<Uuid>,
    /// Keys with which nothing is sealed any more, and nothing will be.
    pub retired: Vec<String>,
    /// Rows that other keys have sealed all the same: those that do not open, and those of nodes that
    /// seal with another key.
    pub left: u64,
}

impl Rotation {
    /// Begins one: the ring is proved, no node starts any more without its current key, and each one
    /// that lives has it. `note` is counted up with every page.
    ///
    /// # Errors
    /// [`super::KeyFault::NotHeld`], and those of [`Keyholder::prove`].
    pub async fn begin(keyholder: Keyholder, note: AuditEntry) -> Result<Self, Error> {
        keyholder.prove().await?;
        let rotation = Self {
            keyholder,
            note,
            after: Uuid::nil(),
            changed: false,
            done: 0,
            from: BTreeSet::new(),
            damaged: BTreeSet::new(),
        };
        match rotation.start().await {
            Ok(()) => Ok(rotation),
            Err(error) => {
                rotation.keyholder.leave().await;
                Err(error)
            }
        }
    }

    async fn start(&self) -> Result<(), Error> {
        self.check_nodes().await?;
        self.keyholder.store.require_current_key().await?;
        // Who started between the two has not been told.
        let held = self.check_nodes().await;
        if held.is_err() {
            self.keyholder.store.waive_current_key().await?;
        }
        held
    }

    async fn check_nodes(&self) -> Result<(), Error> {
        let store = &self.keyholder.store;
        let holders = store.key_holders().await?;
        let book = KeyBook { holders, ..Default::default() };
        Ok(judge::held_by_all(&book, store.keys().current_id())?)
    }

    /// Seals the next page of rows. A row that changed meanwhile is looked at again in another walk.
    ///
    /// # Errors
    /// [`super::KeyFault::NotHeld`] if a node came back without the key; what was done stays so.
    pub async fn step(&mut self) -> Result<Progress, Error> {
        self.check_nodes().await?;
        let store = &self.keyholder.store;
        let stale = store.stale(self.after).await?;
        let more = match stale.last() {
            Some(last) => {
                let page = until_sure(|| store.reseal(&stale, &self.note)).await?;
                self.done += page.done;
                self.changed |= page.changed > 0;
                self.damaged.extend(page.damaged);
                self.from.extend(page.from);
                self.after = last;
                true
            }
            // Whoever changed a row may have sealed it with an old key all the same.
            None => {
                self.after = Uuid::nil();
                std::mem::take(&mut self.changed)
            }
        };
        Ok(Progress { done: self.done, more })
    }

    /// Ends it: keys that are older than the current one, or were rotated away, are retired if nothing
    /// is sealed with them and no node seals with them.
    ///
    /// # Errors
    /// The ledger could not be asked.
    pub async fn finish(self) -> Result<Rotated, Error> {
        let Self { keyholder, done, from, damaged, .. } = self;
        let store = &keyholder.store;
        let book = store.key_book().await?;
        let current = store.keys().current_id();
        let since = book.key(current).and_then(|key| key.first_seen);
        let (mut retired, mut left) = (Vec::new(), 0);
        for key in book.keys.iter().filter(|key| key.id != current) {
            left += key.rows;
            let is_old =
                from.contains(&key.id) || (key.first_seen.is_some() && key.first_seen < since);
            let is_used = key.rows > 0 || book.sealing(&key.id).next().is_some();
            if key.retired_at.is_none() && is_old && !is_used && store.retire_key(&key.id).await? {
                retired.push(key.id.clone());
            }
        }
        keyholder.leave().await;
        Ok(Rotated { done, damaged: damaged.into_iter().collect(), retired, left })
    }
}

//! A node's key ring against the ledger: proves each key before it is used, says which keys the node
//! has for as long as it lives, and seals all rows anew when the current key is another one.
//!
//! Nothing here holds a key: [`crate::secrets`] does, and makes the proofs.

mod judge;
mod rotation;

pub(crate) use judge::may_make_up;
pub use judge::{KeyFault, Missing, shown};
pub use rotation::{Progress, Rotated, Rotation};

use std::time::Duration;

use postworks::ledger::AuditEntry;
use tokio_util::sync::CancellationToken;

use crate::store::{self, HOLDER_BELIEVED, KeyBook, Store};

/// How often a node says that it lives.
const SAY: Duration = Duration::from_secs(15);
/// Longest that the end of a process waits to say so.
const LEAVE: Duration = Duration::from_secs(2);
/// Nodes that start together may enter the same key; so often it is looked at again.
const ROUNDS: usize = 5;

const _: () = assert!(SAY.as_secs() * 3 < HOLDER_BELIEVED.as_secs());

/// Why keys are of no use now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A person has to do something about them.
    #[error(transparent)]
    Fault(#[from] KeyFault),
    /// The ledger could not be asked.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A node's ring, and the ledger that knows which keys are the right ones. Cheap to clone.
#[derive(Clone)]
pub struct Keyholder {
    store: Store,
    node: String,
}

impl Keyholder {
    /// The ring of `store`, which a process of the name `node` has. The store must see every tenant's
    /// rows.
    pub fn new(store: Store, node: impl Into<String>) -> Self {
        Self { store, node: node.into() }
    }

    /// Proves each key, and that none is missing; from then on the ring may be used, and others know
    /// that this node has it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn prove(&self) -> Result<(), Error> {
        let ring = self.store.keys();
        if !ring.current_id().is_empty() {
            // First of all. A rotation says what it needs and looks at the nodes then; we say what we
            // have and look at its needs then. So one of us sees the other.
            self.store.hold_keys(&self.node).await?;
        }
        let proved = self.compare().await;
        match proved {
            Ok(()) => ring.let_go(),
            Err(_) => self.leave().await,
        }
        proved
    }

    async fn compare(&self) -> Result<(), Error> {
        let proofs = self.store.keys().proofs();
        for _ in 0..ROUNDS {
            let book = self.store.key_book().await?;
            let unknown = judge::judge(&proofs, &book, &self.node)?;
            if unknown.is_empty() {
                return Ok(());
            }
            for entry in unknown {
                if entry.has_rows && !self.store.opens(&entry.key.id).await? {
                    return Err(KeyFault::Wrong(entry.key.id.clone()).into());
                }
                self.store.enter_key(entry.key, entry.instead).await?;
            }
        }
        Err(KeyFault::Wrong(self.store.keys().current_id().to_owned()).into())
    }

    /// What the ledger knows of keys, and whether the ring fits it. Changes nothing.
    ///
    /// # Errors
    /// The ledger could not be asked.
    pub async fn look(&self) -> Result<(KeyBook, Result<(), KeyFault>), store::Error> {
        let proofs = self.store.keys().proofs();
        let book = self.store.key_book().await?;
        let fits = judge::judge(&proofs, &book, &self.node).map(drop);
        Ok((book, fits))
    }

    /// What a rotation would begin with: the ring fits, and every node that lives has its current key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn plan(&self) -> Result<KeyBook, Error> {
        let (book, fits) = self.look().await?;
        fits?;
        judge::held_by_all(&book, self.store.keys().current_id())?;
        Ok(book)
    }

    /// Proves the keys of a program that seals something and is gone: every node that lives must be
    /// able to open it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn prove_for_all(&self) -> Result<(), Error> {
        self.prove().await?;
        let book = self.store.key_book().await;
        self.leave().await;
        Ok(judge::held_by_all(&book?, self.store.keys().current_id())?)
    }

    /// How many accounts' secrets are lost with a key that nobody has any more.
    ///
    /// # Errors
    /// [`KeyFault::NotLost`] if somebody has it; see [`Error`].
    pub async fn lost_with(&self, id: &str) -> Result<u64, Error> {
        let book = self.store.key_book().await?;
        let here = self.store.keys().ids().any(|key| key == id);
        let nodes = book.holders.iter().filter(|holder| holder.keys.iter().any(|key| key == id));
        let mut nodes: Vec<&str> = nodes.map(|holder| shown(&holder.node)).collect();
        nodes.extend(here.then_some("POSTWORKS_KEYS"));
        if !nodes.is_empty() {
            return Err(KeyFault::NotLost { id: id.to_owned(), nodes: nodes.join(", ") }.into());
        }
        Ok(book.key(id).map_or(0, |key| key.rows))
    }

    /// Gives up what a lost key has sealed, and notes it; answers how many accounts a person has to
    /// connect again.
    ///
    /// # Errors
    /// Those of [`lost_with`](Self::lost_with).
    pub async fn give_up(&self, id: &str, note: &AuditEntry) -> Result<u64, Error> {
        self.lost_with(id).await?;
        Ok(self.store.give_up_key(id, note).await?)
    }

    /// Says that the node lives and has its keys, until `stop`.
    pub(crate) async fn hold_until(self, stop: CancellationToken) {
        while tokio::time::timeout(SAY, stop.cancelled()).await.is_err() {
            let ring = self.store.keys();
            if ring.current_id().is_empty() || ring.is_held_back() {
                continue;
            }
            // Whoever needs the ledger says that it is away.
            if let Err(error) = self.store.hold_keys(&self.node).await {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "others do not know which keys this node has");
            }
        }
        self.leave().await;
    }

    /// Says that the node is gone. If it cannot, the others find out within a minute.
    pub(crate) async fn leave(&self) {
        let _ = tokio::time::timeout(LEAVE, self.store.leave_keys(&self.node)).await;
    }
}

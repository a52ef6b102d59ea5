//! The keys that accounts' secrets are sealed with: which there are and which may go; and sealing all
//! of them anew. They are every tenant's, so only the command line on the stores asks for this.

use postworks::job::Timestamp;
use postworks_workers::keys::{self, KeyFault, Progress, Rotation, shown};
use postworks_workers::store::{KeyBook, SealingKey};

use super::types::{KeyGivenUp, KeyView, KeysRotated, Page};
use super::{App, Error};
use crate::auth::ACCESS_TOKEN_KNOWN;

/// A rotation of keys under way. Dropped, it breaks off, and what was done stays so.
pub struct KeyRotation {
    rotation: Rotation,
    key: String,
    /// Accounts whose secrets other keys had sealed.
    pub matched: u64,
}

impl App {
    /// The keys that are known, and which of them may be taken out of the rings.
    pub async fn keys(&self) -> Result<Page<KeyView>, Error> {
        let (book, _fits) = self.node.keyholder().look().await?;
        let (current, now) = (self.current_key(), self.node.clock.now());
        let items = book.keys.iter().map(|key| view(key, &book, &current, now)).collect();
        Ok(Page { items, next: None })
    }

    /// What a rotation would do.
    pub async fn plan_key_rotation(&self) -> Result<KeysRotated, Error> {
        self.must_have_keys()?;
        let book = self.node.keyholder().plan().await?;
        let key = self.current_key();
        let matched = sealed_by_others(&book, &key);
        let (damaged, retired) = (Vec::new(), Vec::new());
        Ok(KeysRotated {
            key,
            dry_run: true,
            matched,
            resealed: 0,
            left: matched,
            damaged,
            retired,
        })
    }

    /// Begins to seal everything with the current key.
    pub async fn rotate_keys(&self, reason: Option<&str>) -> Result<KeyRotation, Error> {
        self.must_have_keys()?;
        let key = self.current_key();
        let note = self.note("keys.rotate", key.as_str(), reason)?;
        let keyholder = self.node.keyholder();
        let matched = sealed_by_others(&keyholder.plan().await?, &key);
        let rotation = Rotation::begin(keyholder.clone(), note).await?;
        Ok(KeyRotation { rotation, key, matched })
    }

    /// Gives up what a lost key has sealed, or only says how much that is.
    pub async fn give_up_key(
        &self,
        id: &str,
        dry_run: bool,
        reason: Option<&str>,
    ) -> Result<KeyGivenUp, Error> {
        self.must_have_keys()?;
        let note = self.note("keys.give_up", id, reason)?;
        let keyholder = self.node.keyholder();
        let accounts = match dry_run {
            true => keyholder.lost_with(id).await?,
            false => keyholder.give_up(id, &note).await?,
        };
        Ok(KeyGivenUp { id: id.to_owned(), dry_run, accounts })
    }

    /// Proves the keys before something is sealed here that others have to open.
    pub async fn prove_keys(&self) -> Result<(), Error> {
        self.must_have_keys()?;
        Ok(self.node.keyholder().prove_for_all().await?)
    }

    fn current_key(&self) -> String {
        self.node.key_ids().ok().and_then(|ids| ids.first()).cloned().unwrap_or_default()
    }

    fn must_have_keys(&self) -> Result<(), Error> {
        self.node.key_ids().map(drop).map_err(|error| Error::NotSetUp(error.to_string()))
    }
}

impl KeyRotation {
    /// Seals the next page.
    pub async fn step(&mut self) -> Result<Progress, Error> {
        Ok(self.rotation.step().await?)
    }

    /// Ends it once there is nothing more.
    pub async fn finish(self) -> Result<KeysRotated, Error> {
        let Self { rotation, key, matched } = self;
        let done = rotation.finish().await?;
        Ok(KeysRotated {
            key,
            dry_run: false,
            matched,
            resealed: done.done,
            left: done.left,
            damaged: done.damaged,
            retired: done.retired,
        })
    }
}

fn sealed_by_others(book: &KeyBook, current: &str) -> u64 {
    book.keys.iter().filter(|key| key.id != current).map(|key| key.rows).sum()
}

fn view(key: &SealingKey, book: &KeyBook, current: &str, now: Timestamp) -> KeyView {
    let needed = needed(key, book, current, now);
    let has = book.holders.iter().filter(|holder| holder.keys.contains(&key.id)).count();
    KeyView {
        id: key.id.clone(),
        rows: key.rows,
        nodes: has as u64,
        sealing: book.sealing(&key.id).count() as u64,
        first_seen: key.first_seen,
        retired_at: key.retired_at,
        may_go: needed.is_none(),
        needed,
    }
}

/// Why a key has to stay in the rings.
fn needed(key: &SealingKey, book: &KeyBook, current: &str, now: Timestamp) -> Option<String> {
    if key.rows > 0 {
        return Some(format!("has sealed {} accounts' secrets", key.rows));
    }
    if let Some(holder) = book.sealing(&key.id).next() {
        return Some(format!("{} seals with it", shown(&holder.node)));
    }
    let Some(retired_at) = key.retired_at else {
        let first = key.id == current;
        return Some(if first { "seals" } else { "nothing was rotated away from it" }.to_owned());
    };
    let known = retired_at.after(ACCESS_TOKEN_KNOWN);
    (known > now).then(|| format!("access tokens that it signed are good until {known}"))
}

impl From<keys::Error> for Error {
    fn from(error: keys::Error) -> Self {
        match error {
            keys::Error::Fault(fault @ (KeyFault::NotHeld { .. } | KeyFault::NotLost { .. })) => {
                Self::Conflict(fault.to_string())
            }
            keys::Error::Fault(fault) => Self::NotSetUp(fault.to_string()),
            keys::Error::Store(error) => error.into(),
        }
    }
}

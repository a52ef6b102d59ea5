//! Whether a key ring fits what the ledger knows of keys. Asks nobody.

use std::fmt;

use postworks::job::Timestamp;

use crate::secrets::KeyProof;
use crate::store::{KeyBook, SealingKey};

/// Why a node may not use its key ring. The texts say what to do, and hold no key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Another key has that id.
    #[error(
        "the key {0:?} in POSTWORKS_KEYS is not the one of that id that accounts' secrets are sealed \
         with: give this node the same bytes as the others have, or, if it is to be a new key, an id \
         that no key had before"
    )]
    Wrong(String),
    /// Keys that are in use are not here.
    #[error(
        "POSTWORKS_KEYS is without {}: add what is missing to its end, as the other nodes have it; what \
         is lost for good can be given up with `postworks keys give-up`",
        named(.0)
    )]
    Missing(Vec<Missing>),
    /// It would seal with a key that is to go.
    #[error(
        "the key {id:?} stands first in POSTWORKS_KEYS, and was retired at {at}: other nodes may be \
         without it by now; put the key first that the others have there"
    )]
    Retired {
        /// The key.
        id: String,
        /// Since when.
        at: Timestamp,
    },
    /// No keys were given, and none may be made up.
    #[error(
        "POSTWORKS_KEYS is missing, and no keys are made up beside those that are in use ({0}): give \
         this node the keys that the others have"
    )]
    Beside(String),
    /// Nodes that live could not open what the current key seals.
    #[error(
        "{nodes} would not open what the key {id:?} seals: give every node this key first, at the end \
         of its POSTWORKS_KEYS, and start it again; one that is gone counts for a minute"
    )]
    NotHeld {
        /// The key.
        id: String,
        /// The nodes, with commas between.
        nodes: String,
    },
    /// A key that was to be given up is there.
    #[error(
        "the key {id:?} is not lost ({nodes}): seal what it has sealed with another one by \
         `postworks keys rotate`, and nobody has to connect an account again"
    )]
    NotLost {
        /// The key.
        id: String,
        /// Who has it, with commas between.
        nodes: String,
    },
}

/// A key that is in use and not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The key.
    pub id: String,
    /// Accounts whose secrets it has sealed; none if a rotation is just going to.
    pub rows: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            0 => write!(f, "the key {:?}, with which secrets are being sealed anew", self.id),
            1 => write!(f, "the key {:?}, which has sealed an account's secrets", self.id),
            rows => write!(f, "the key {:?}, which has sealed {rows} accounts' secrets", self.id),
        }
    }
}

fn named(missing: &[Missing]) -> String {
    missing.iter().map(Missing::to_string).collect::<Vec<_>>().join(", and ")
}

/// A key that the ledger has to be told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The key.
    pub(super) key: &'a KeyProof,
    /// What stands there, and may be replaced.
    pub(super) instead: Option<&'a [u8]>,
    /// Whether rows can show that it is the right one.
    pub(super) has_rows: bool,
}

/// Whether the ring of `node` fits; and which of its keys the ledger does not know.
pub(super) fn judge<'a>(
    ring: &'a [KeyProof],
    book: &'a KeyBook,
    node: &str,
) -> Result<Vec<Entry<'a>>, KeyFault> {
    let mut unknown = Vec::new();
    for key in ring {
        let known = book.key(&key.id);
        let proof = known.and_then(|known| known.proof.as_deref());
        if proof == Some(key.proof.as_slice()) {
            continue;
        }
        match known {
            Some(known) if proof.is_some() && !is_free(known, book, node) => {
                return Err(KeyFault::Wrong(key.id.clone()));
            }
            known => {
                let has_rows = known.is_some_and(|known| known.rows > 0);
                unknown.push(Entry { key, instead: proof, has_rows });
            }
        }
    }
    let is_here = |id: &str| ring.iter().any(|key| key.id == id);
    let needed =
        book.keys.iter().filter(|key| key.rows > 0 || (key.required && key.retired_at.is_none()));
    let missing: Vec<Missing> = needed
        .filter(|key| !is_here(&key.id))
        .map(|key| Missing { id: key.id.clone(), rows: key.rows })
        .collect();
    if !missing.is_empty() {
        return Err(KeyFault::Missing(missing));
    }
    let current = ring.first().and_then(|key| book.key(&key.id));
    match current.and_then(|key| Some((key.id.clone(), key.retired_at?))) {
        Some((id, at)) => Err(KeyFault::Retired { id, at }),
        None => Ok(unknown),
    }
}

/// Whether the proof of a known key may be replaced: it was a slip, which has sealed nothing and which
/// no other node has.
fn is_free(known: &SealingKey, book: &KeyBook, node: &str) -> bool {
    let mut others = book.holders.iter().filter(|holder| holder.node != node);
    known.rows == 0
        && !known.required
        && known.retired_at.is_none()
        && !others.any(|holder| holder.keys.contains(&known.id))
}

/// Whether every node that lives can open what a key seals.
///
/// # Errors
/// [`KeyFault::NotHeld`].
pub(super) fn held_by_all(book: &KeyBook, id: &str) -> Result<(), KeyFault> {
    let without: Vec<&str> = book.without(id).map(|holder| shown(&holder.node)).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(KeyFault::NotHeld { id: id.to_owned(), nodes: without.join(", ") })
}

/// Whether a ring may be made up: nobody has one.
///
/// # Errors
/// [`KeyFault::Beside`].
pub(crate) fn may_make_up(book: &KeyBook) -> Result<(), KeyFault> {
    let sealed = book.keys.iter().filter(|key| key.rows > 0 || key.required);
    let sealed = sealed.filter(|key| key.retired_at.is_none() || key.rows > 0);
    let mut there: Vec<String> = sealed.map(|key| key.id.clone()).collect();
    let held = book.holders.iter().filter_map(|holder| {
        let id = holder.keys.first()?;
        Some(format!("{id} on {}", shown(&holder.node)))
    });
    there.extend(held);
    if there.is_empty() { Ok(()) } else { Err(KeyFault::Beside(there.join(", "))) }
}

/// A node as people know it: its host and process.
pub fn shown(node: &str) -> &str {
    node.rsplit_once(':').map_or(node, |(shown, _boot)| shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeyHolder;

    fn proof(id: &str, byte: u8) -> KeyProof {
        KeyProof { id: id.to_owned(), proof: [byte; 32] }
    }

    fn known(id: &str, byte: u8, rows: u64) -> SealingKey {
        SealingKey {
            id: id.to_owned(),
            proof: Some(vec![byte; 32]),
            first_seen: Some(Timestamp::default()),
            required: false,
            retired_at: None,
            rows,
        }
    }

    fn holder(node: &str, keys: &[&str]) -> KeyHolder {
        KeyHolder { node: node.to_owned(), keys: keys.iter().map(|&key| key.to_owned()).collect() }
    }

    fn book(keys: Vec<SealingKey>, holders: Vec<KeyHolder>) -> KeyBook {
        KeyBook { keys, holders }
    }

    #[test]
    fn a_ring_fits_if_its_keys_are_those_that_are_known_and_none_in_use_is_missing() {
        let all = book(vec![known("k1", 1, 7), known("k2", 2, 0)], Vec::new());
        assert_eq!(judge(&[proof("k1", 1)], &all, "me"), Ok(Vec::new()));
        let both = [proof("k2", 2), proof("k1", 1)];
        assert_eq!(judge(&both, &all, "me"), Ok(Vec::new()));
        let new = [proof("k1", 1), proof("k3", 3)];
        let entry = Entry { key: &new[1], instead: None, has_rows: false };
        assert_eq!(judge(&new, &all, "me"), Ok(vec![entry]));
        let fault = judge(&[proof("k2", 2)], &all, "me").unwrap_err();
        assert!(matches!(fault, KeyFault::Missing(_)));
        let said = fault.to_string();
        assert!(said.contains("\"k1\", which has sealed 7 accounts' secrets"), "{said}");
    }

    #[test]
    fn another_key_of_a_known_id_is_wrong_unless_it_sealed_nothing_and_nobody_has_it() {
        let typed = [proof("k1", 1), proof("k2", 9)];
        let wrong = Err(KeyFault::Wrong("k2".to_owned()));
        let slip = book(vec![known("k1", 1, 7), known("k2", 2, 0)], vec![holder("me", &["k2"])]);
        let entry = Entry { key: &typed[1], instead: Some(&[2; 32]), has_rows: false };
        assert_eq!(judge(&typed, &slip, "me"), Ok(vec![entry]));
        let used = book(vec![known("k2", 2, 1)], Vec::new());
        assert_eq!(judge(&typed, &used, "me"), wrong);
        let held = book(vec![known("k2", 2, 0)], vec![holder("other", &["k1", "k2"])]);
        assert_eq!(judge(&typed, &held, "me"), wrong);
        let retired = SealingKey { retired_at: Some(Timestamp::default()), ..known("k2", 2, 0) };
        assert_eq!(judge(&typed, &book(vec![retired], Vec::new()), "me"), wrong);
    }

    #[test]
    fn rows_of_a_key_that_nobody_has_proved_yet_are_the_proof() {
        let ring = [proof("k1", 1)];
        let unproved = SealingKey { proof: None, ..known("k1", 0, 3) };
        let all = book(vec![unproved], vec![holder("other", &["k1"])]);
        let entry = Entry { key: &ring[0], instead: None, has_rows: true };
        assert_eq!(judge(&ring, &all, "me"), Ok(vec![entry]));
    }

    #[test]
    fn a_rotation_is_told_of_nodes_that_would_be_left_behind_and_leaves_none() {
        let rotating = SealingKey { required: true, ..known("k2", 2, 0) };
        let all = book(vec![known("k1", 1, 7), rotating.clone()], vec![holder("web:7:x", &["k1"])]);
        let fault = judge(&[proof("k1", 1)], &all, "me").unwrap_err();
        assert_eq!(fault, KeyFault::Missing(vec![Missing { id: "k2".to_owned(), rows: 0 }]));
        let fault = held_by_all(&all, "k2").unwrap_err();
        assert!(fault.to_string().starts_with("web:7 would not open"), "{fault}");
        assert_eq!(held_by_all(&all, "k1"), Ok(()));
        let over = SealingKey { retired_at: Some(Timestamp::default()), ..rotating };
        assert_eq!(
            judge(&[proof("k1", 1)], &book(vec![known("k1", 1, 7), over], vec![]), "me"),
            Ok(vec![])
        );
    }

    #[test]
    fn a_ring_is_made_up_only_where_nobody_has_one() {
        assert_eq!(may_make_up(&KeyBook::default()), Ok(()));
        assert_eq!(may_make_up(&book(vec![known("old", 1, 0)], Vec::new())), Ok(()));
        let sealed = may_make_up(&book(vec![known("k1", 1, 1)], Vec::new())).unwrap_err();
        assert!(sealed.to_string().contains("in use (k1)"), "{sealed}");
        let held = may_make_up(&book(Vec::new(), vec![holder("web:7:x", &["k1"])])).unwrap_err();
        assert!(held.to_string().contains("k1 on web:7"), "{held}");
    }

    #[test]
    fn a_retired_key_opens_and_does_not_seal() {
        let at = Timestamp::default();
        let old = SealingKey { retired_at: Some(at), ..known("k1", 1, 0) };
        let all = book(vec![old, known("k2", 2, 7)], Vec::new());
        assert_eq!(judge(&[proof("k2", 2), proof("k1", 1)], &all, "me"), Ok(Vec::new()));
        let fault = judge(&[proof("k1", 1), proof("k2", 2)], &all, "me").unwrap_err();
        assert_eq!(fault, KeyFault::Retired { id: "k1".to_owned(), at });
    }
}

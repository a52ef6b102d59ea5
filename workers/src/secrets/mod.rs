//! Seals the accounts' secrets before they reach a database, and opens them again.
//!
//! Each value is encrypted with AES-256-GCM under a key of its own: HKDF-SHA256 of a master key
//! and the place the value belongs to. The place and the row's version are authenticated too, so
//! a value copied to another row or column, or one of an older version, does not open.
//!
//! This module knows no table: a [`Place`] is all it is told.

mod proof;
mod ring;
mod signature;

pub use proof::KeyProof;
pub use ring::{KeyRing, KeyRingError};

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The layout this program writes: format, length of the key's id, id, nonce, ciphertext.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// Where a sealed value belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The account.
    pub connector_id: Uuid,
    /// The column.
    pub column: &'static str,
    /// The row's version at which the value is written.
    pub version: i64,
}

/// A value that cannot be sealed or opened. Trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no key to seal with.
    #[error(
        "there is no key to seal secrets with: set POSTWORKS_KEYS to id:base64 of 32 random \
         bytes, the same on every node"
    )]
    NoKeys,
    /// The ledger has not been asked yet whether these are the right keys.
    #[error("the keys wait for the ledger, which has to say that they are the right ones")]
    Unproved,
    /// The key that sealed it is not here.
    #[error("the key ring has no key {0:?}, which sealed this account's tokens: add it to the end")]
    MissingKey(String),
    /// The value is damaged, was sealed under another key of the same id, or belongs elsewhere.
    #[error("a sealed value does not open: it is damaged, misplaced or of another key ring")]
    Refused,
    /// These are no bytes that [`KeyRing::seal`] writes.
    #[error("not a sealed value of a format that this program knows")]
    Malformed,
}

impl Place {
    /// What makes the value's own key.
    fn info(&self) -> Vec<u8> {
        [self.connector_id.as_bytes().as_slice(), self.column.as_bytes()].concat()
    }

    /// What is authenticated with the value.
    fn aad(&self) -> Vec<u8> {
        let Self { connector_id, column, version } = self;
        format!("{connector_id}|{column}|{version}").into_bytes()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at version {}", self.column, self.connector_id, self.version)
    }
}

impl KeyRing {
    /// Encrypts `secret` for `place` under the current key.
    ///
    /// # Errors
    /// [`SealError::NoKeys`], [`SealError::Unproved`], or for a value of more than 64 GB.
    pub fn seal(&self, place: &Place, secret: &SecretString) -> Result<Vec<u8>, SealError> {
        self.may_be_used()?;
        let (id, master) = self.current().ok_or(SealError::NoKeys)?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &place.aad() };
        let sealed = cipher(master, place)?
            .encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload)
            .map_err(|_| SealError::Refused)?;
        let id_bytes = u8::try_from(id.len()).map_err(|_| SealError::Malformed)?;
        Ok([&[FORMAT, id_bytes], id.as_bytes(), &nonce, &sealed].concat())
    }

    /// Decrypts what [`seal`](Self::seal) wrote for the same place, under any key of the ring.
    pub fn open(&self, place: &Place, bytes: &[u8]) -> Result<SecretString, SealError> {
        self.may_be_used()?;
        self.open_unproved(place, bytes)
    }

    /// Decrypts also while nobody has found the ring to be the right one: for who finds out.
    pub(crate) fn open_unproved(
        &self,
        place: &Place,
        bytes: &[u8],
    ) -> Result<SecretString, SealError> {
        let (&[format, id_bytes], rest) =
            bytes.split_first_chunk::<2>().ok_or(SealError::Malformed)?;
        if format != FORMAT {
            return Err(SealError::Malformed);
        }
        let (id, rest) = rest.split_at_checked(id_bytes.into()).ok_or(SealError::Malformed)?;
        let (nonce, sealed) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
        let id = std::str::from_utf8(id).map_err(|_| SealError::Malformed)?;
        let master = self.get(id).ok_or_else(|| SealError::MissingKey(id.to_owned()))?;
        let plain = cipher(master, place)?
            .decrypt(&Nonce::<Aes256Gcm>::from(*nonce), Payload { msg: sealed, aad: &place.aad() })
            .map_err(|_| SealError::Refused)?;
        // The text is copied into a string of exactly its length: a string with room to spare
        // would be moved when it is boxed, and leave its first copy behind.
        let plain = Zeroizing::new(plain);
        let text = std::str::from_utf8(&plain).map_err(|_| SealError::Malformed)?;
        Ok(SecretString::from(text.to_owned()))
    }
}

/// The cipher of one place.
fn cipher(master: &[u8; 32], place: &Place) -> Result<Aes256Gcm, SealError> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, master)
        .expand(&place.info(), key.as_mut_slice())
        .map_err(|_| SealError::Refused)?;
    Aes256Gcm::new_from_slice(key.as_slice()).map_err(|_| SealError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const NEW: &str = "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn place(account: u128, column: &'static str, version: i64) -> Place {
        Place { connector_id: Uuid::from_u128(account), column, version }
    }

    #[test]
    fn a_value_opens_only_where_it_belongs() {
        let ring = KeyRing::parse(OLD).unwrap();
        let home = place(1, "access_ct", 4);
        let sealed = ring.seal(&home, &SecretString::from("sesame")).unwrap();
        assert_eq!(ring.open(&home, &sealed).unwrap().expose_secret(), "sesame");
        for elsewhere in
            [place(2, "access_ct", 4), place(1, "refresh_ct", 4), place(1, "access_ct", 5)]
        {
            assert!(matches!(ring.open(&elsewhere, &sealed), Err(SealError::Refused)));
        }
        assert_ne!(sealed, ring.seal(&home, &SecretString::from("sesame")).unwrap());
    }

    #[test]
    fn a_value_of_an_old_key_opens_until_that_key_is_taken_away() {
        let home = place(1, "access_ct", 1);
        let sealed =
            KeyRing::parse(OLD).unwrap().seal(&home, &SecretString::from("sesame")).unwrap();
        let both = KeyRing::parse(&format!("{NEW},{OLD}")).unwrap();
        assert_eq!(both.open(&home, &sealed).unwrap().expose_secret(), "sesame");
        assert_eq!(both.current_id(), "k2");
        let error = KeyRing::parse(NEW).unwrap().open(&home, &sealed).unwrap_err();
        assert!(error.to_string().contains("no key \"k1\""), "{error}");
    }

    #[test]
    fn without_keys_nothing_is_sealed_and_the_error_says_what_to_set() {
        let home = place(1, "access_ct", 1);
        let error = KeyRing::none().seal(&home, &SecretString::from("sesame")).unwrap_err();
        assert!(error.to_string().contains("set POSTWORKS_KEYS"), "{error}");
    }

    #[test]
    fn a_ring_that_is_held_back_opens_and_seals_nothing_until_it_is_let_go() {
        let ring = KeyRing::parse(OLD).unwrap();
        let (home, sesame) = (place(1, "access_ct", 1), SecretString::from("sesame"));
        let sealed = ring.seal(&home, &sesame).unwrap();
        let copy = ring.clone();
        ring.hold_back();
        assert!(matches!(copy.seal(&home, &sesame), Err(SealError::Unproved)));
        assert!(matches!(copy.open(&home, &sealed), Err(SealError::Unproved)));
        ring.let_go();
        assert_eq!(copy.open(&home, &sealed).unwrap().expose_secret(), "sesame");
    }

    #[test]
    fn no_byte_may_change_and_no_bytes_make_it_panic() {
        let ring = KeyRing::parse(OLD).unwrap();
        let home = place(1, "access_ct", 1);
        let sealed = ring.seal(&home, &SecretString::from("sesame")).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring.open(&home, &changed).is_err(), "byte {at}");
            assert!(ring.open(&home, &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}

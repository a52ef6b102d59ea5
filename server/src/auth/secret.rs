//! Secrets that are told once: API keys and refresh tokens. Each names its id, as in
//! `pw_<id>_<secret>`, so that one that is found somewhere can be revoked.

use std::fmt;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What keys begin with.
const PREFIX: &str = "pw_";
/// What refresh tokens begin with.
const REFRESH_PREFIX: &str = "pwr_";

/// A secret that is told once and kept as its hash.
pub(crate) struct Secret {
    /// Names it.
    pub(crate) id: Uuid,
    /// SHA-256 of its text.
    pub(crate) hash: [u8; 32],
    text: SecretString,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Secret {
    /// A new API key.
    pub(crate) fn api_key(id: Uuid) -> Self {
        Self::new(PREFIX, id)
    }

    /// A new refresh token.
    pub(super) fn refresh_token(id: Uuid) -> Self {
        Self::new(REFRESH_PREFIX, id)
    }

    /// 256 bits from the system's source.
    fn new(prefix: &str, id: Uuid) -> Self {
        let secret: [u8; 32] = rand::random();
        let mut text = format!("{prefix}{}_", id.simple());
        secret.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
        Self { id, hash: hash(&text), text: text.into() }
    }

    /// Its text, for whoever asked for it.
    pub(crate) fn text(&self) -> SecretString {
        self.text.clone()
    }
}

/// The id in an API key, if this is the form of one.
pub(super) fn id_of_key(text: &str) -> Option<Uuid> {
    id_after(PREFIX, text)
}

/// The id in a refresh token, if this is the form of one.
pub(super) fn id_of_refresh_token(text: &str) -> Option<Uuid> {
    id_after(REFRESH_PREFIX, text)
}

fn id_after(prefix: &str, text: &str) -> Option<Uuid> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let plain = id.len() == 32 && hex(id) && secret.len() == 64 && hex(secret);
    plain.then(|| Uuid::try_parse(id).ok()).flatten()
}

/// The hash that a secret is kept as. Nobody can try 256 random bits, so a fast one will do.
pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    use subtle::ConstantTimeEq as _;
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_key_names_its_id_and_every_one_is_another() {
        let id = Uuid::now_v7();
        let (one, two) = (Secret::api_key(id), Secret::api_key(id));
        assert_ne!(one.hash, two.hash);
        let text = one.text();
        assert_eq!(id_of_key(text.expose_secret()), Some(id));
        assert!(same(&hash(text.expose_secret()), &one.hash) && !same(&one.hash, &two.hash));
        assert_eq!(id_of_refresh_token(text.expose_secret()), None);
        let refresh = Secret::refresh_token(id).text();
        assert_eq!(id_of_refresh_token(refresh.expose_secret()), Some(id));
        assert_eq!(id_of_key(refresh.expose_secret()), None);
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let key = Secret::api_key(Uuid::nil());
        assert_eq!(format!("{key:?}"), format!("Secret {{ id: {}, .. }}", Uuid::nil()));
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let good = Secret::api_key(Uuid::now_v7()).text();
        let good = good.expose_secret();
        let longer = format!("{good}0");
        let upper = good.to_uppercase();
        for text in ["", "pw_", "pw__", &good[..good.len() - 1], &longer, &upper, &good[1..]] {
            assert_eq!(id_of_key(text), None, "{text}");
        }
    }
}

//! Logging in with a password, and staying so with refresh tokens.

use std::net::IpAddr;

use postworks_workers::store::{Exchange, Exchanged, NewRefresh, User};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::access_token::LIFETIME;
use super::passwords::{self, BYTES_MAX};
use super::secret::{Secret, hash, id_of_refresh_token, same};
use super::standing::role;
use super::{Auth, Error};
use crate::app;

/// Longest email that there can be.
pub(crate) const EMAIL_BYTES_MAX: usize = 254;

/// What a login or a refresh is answered with.
#[derive(Debug)]
pub struct Pair {
    /// Goes with every request.
    pub access_token: SecretString,
    /// Gets the next pair, once.
    pub refresh_token: SecretString,
    /// How long the access token is good, in seconds.
    pub expires_in: u64,
}

/// What is known of who refreshes: the program's name for itself and the address it comes from.
/// Kept as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client([u8; 32]);

impl Client {
    /// The client with this user agent, at this address. Behind a proxy that is the proxy's.
    pub fn of(user_agent: Option<&[u8]>, peer: Option<IpAddr>) -> Self {
        let peer = peer.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        let known = Sha256::new().chain_update(peer).chain_update(b"\n");
        Self(known.chain_update(user_agent.unwrap_or_default()).finalize().into())
    }
}

impl Auth {
    /// Begins a session for who knows the password.
    ///
    /// # Errors
    /// [`Error::Refused`], in the same time and words whether the email or the password is wrong.
    pub async fn login(&self, email: &str, password: SecretString) -> Result<Pair, Error> {
        const WRONG: Error = Error::Refused("the email or the password is wrong");
        let email = proper_email(email).map_err(|message| Error::field("/email", message))?;
        if password.expose_secret().len() > BYTES_MAX {
            return Err(Error::field("/password", format!("must be at most {BYTES_MAX} bytes")));
        }
        let attempts = &self.0.attempts;
        attempts.check(&email, self.0.clock.now()).map_err(|wait| Error::TooMany { wait })?;
        // Before anything is asked for: whoever is turned away costs nothing.
        let place = self.0.passwords.place()?;
        let (user, hash) = self.0.store.user_with_password(&email).await?.unzip();
        let right = place.check(password, hash).await?;
        let Some(user) = user.filter(|user| right && user.disabled_at.is_none()) else {
            attempts.failed(&email, self.0.clock.now());
            return Err(WRONG);
        };
        let session = self.0.store.new_id();
        let first = Secret::refresh_token(self.0.store.new_id());
        let pair = self.pair(&user, session, &first)?;
        self.0.store.begin_session(session, user.id, new(&first)).await?;
        tracing::info!(user_id = %user.id, session_id = %session, "logged in");
        Ok(pair)
    }

    /// Exchanges a refresh token for the next pair. One that comes again ends its session, unless
    /// the same client sends it again within seconds.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no good.
    pub async fn refresh(&self, token: &SecretString, client: Client) -> Result<Pair, Error> {
        const WRONG: Error =
            Error::Refused("the refresh token is wrong, used, too old or revoked; log in again");
        let token = token.expose_secret();
        let id = id_of_refresh_token(token).ok_or(WRONG)?;
        let known = self.0.store.refresh_hash(id).await?.ok_or(WRONG)?;
        if !same(&known, &hash(token)) {
            return Err(WRONG);
        }
        let next = Secret::refresh_token(self.0.store.new_id());
        let exchange = Exchange { id, client: client.0, next: new(&next) };
        match self.0.store.exchange(exchange).await? {
            Exchanged::Done { session, user } => self.pair(&user, session, &next),
            Exchanged::Over => Err(WRONG),
            Exchanged::Reused { session } => {
                self.0.standings.forget(session);
                tracing::warn!(session_id = %session, "a refresh token came twice: its session is ended");
                Err(WRONG)
            }
        }
    }

    fn pair(&self, user: &User, session: Uuid, refresh: &Secret) -> Result<Pair, Error> {
        let no_keys = || {
            let words = "there is no key to sign access tokens with: set POSTWORKS_KEYS";
            app::Error::NotSetUp(words.to_owned())
        };
        let signed = self.0.tokens.sign(user.id, session, role(&user.role)?, self.0.clock.now());
        Ok(Pair {
            access_token: signed.ok_or_else(no_keys)?,
            refresh_token: refresh.text(),
            expires_in: LIFETIME.as_secs(),
        })
    }
}

fn new(secret: &Secret) -> NewRefresh {
    NewRefresh { id: secret.id, hash: secret.hash }
}

/// An email as it is kept: in small letters.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn proper_email(text: &str) -> Result<String, String> {
    let email = text.trim().to_lowercase();
    let plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    let halves = email.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
    if plain && halves && email.len() <= EMAIL_BYTES_MAX {
        return Ok(email);
    }
    Err("must be an address such as ann@example.org".to_owned())
}

/// The hash of a new password; takes tens of milliseconds, on a thread of its own.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn hashed_password(password: SecretString) -> Result<String, String> {
    let hashed = tokio::task::spawn_blocking(move || passwords::hash(&password));
    hashed.await.unwrap_or_else(|_| Err("cannot be hashed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_kept_in_small_letters_and_must_look_like_one() {
        assert_eq!(proper_email(" Ann@Example.org ").as_deref(), Ok("ann@example.org"));
        for text in ["", "ann", "@example.org", "ann@", "a b@example.org", "a\u{0}b@example.org"] {
            assert!(proper_email(text).is_err(), "{text:?}");
        }
        assert!(proper_email(&format!("{}@example.org", "a".repeat(250))).is_err());
    }

    #[test]
    fn a_client_is_known_by_its_name_and_address() {
        let of = |agent: &str, ip: &str| Client::of(Some(agent.as_bytes()), ip.parse().ok());
        assert_eq!(of("curl", "127.0.0.1"), of("curl", "::ffff:127.0.0.1"));
        assert_ne!(of("curl", "127.0.0.1"), of("curl", "127.0.0.2"));
        assert_ne!(of("curl", "127.0.0.1"), of("wget", "127.0.0.1"));
        assert_ne!(Client::of(None, None), of("curl", ""));
    }

    #[test]
    fn debug_shows_no_token() {
        let pair =
            Pair { access_token: "hush".into(), refresh_token: "hush".into(), expires_in: 1 };
        assert!(!format!("{pair:?}").contains("hush"));
    }
}

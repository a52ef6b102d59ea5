//! What a platform's OAuth 2.0 servers are, and what they know us by.

use std::path::{Path, PathBuf};

use postworks::config::{ClientAuth, OAuth};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::platforms::OAuthDefaults;

/// A platform's servers, and our client there.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(super) issuer: Option<String>,
    pub(super) authorize_url: Url,
    pub(super) token_url: Url,
    pub(super) revoke_url: Option<Url>,
    pub(super) userinfo_url: Option<Url>,
    pub(super) client_id: String,
    pub(super) client: Client,
    pub(super) scopes: Vec<String>,
    /// Whether codes are tied to who set out for them.
    pub(super) pkce: bool,
    api_url: Option<Url>,
}

/// How a request says that it is ours (RFC 6749 §2.3.1).
#[derive(Debug, Clone)]
pub(super) enum Client {
    /// In a header: both parts as they stand in a form.
    Basic {
        /// Our id, encoded.
        id: String,
        /// The secret, encoded.
        secret: SecretString,
        /// The secret as it is, which a server might quote.
        plain: SecretString,
    },
    /// In the form.
    Post(SecretString),
    /// By our id alone.
    Public,
}

/// Why there is no client of a platform's OAuth 2.0 servers.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A key that must be set and is not.
    #[error("authorize_url, token_url and client_id must be set")]
    Incomplete,
    /// The file with our secret.
    #[error("client_secret_file: the file {path:?} cannot be read: {source}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing is in it.
    #[error("client_secret_file: the file {path:?} is empty")]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
    /// An address that clients of the platform never speak to.
    #[error("{key}: {why}")]
    Address {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

impl Profile {
    /// Reads our secret, and completes what was configured by it and by what is known of the platform.
    ///
    /// # Errors
    /// Something is missing, or the secret cannot be read.
    pub fn read(config: &OAuth, known: Option<&OAuthDefaults>) -> Result<Self, ProfileError> {
        let or = |url: &Option<Url>, known: Option<&str>| {
            url.clone().or_else(|| known.and_then(|known| known.parse().ok()))
        };
        let authorize_url = or(&config.authorize_url, known.map(|known| known.authorize_url));
        let token_url = or(&config.token_url, known.map(|known| known.token_url));
        let (Some(authorize_url), Some(token_url), Some(client_id)) =
            (authorize_url, token_url, &config.client_id)
        else {
            return Err(ProfileError::Incomplete);
        };
        // Servers of one's own have none of the platform's.
        let known = known.filter(|_| config.token_url.is_none());
        let secret = config.client_secret_file.as_deref().map(secret_in).transpose()?;
        let auth = match (config.client_auth, known) {
            (Some(auth), _) => auth,
            (None, Some(known)) => known.client_auth,
            (None, None) => ClientAuth::default(),
        };
        let scopes = match (config.scopes.is_empty(), known) {
            (true, Some(known)) => known.scopes.iter().map(|&scope| scope.to_owned()).collect(),
            _ => config.scopes.clone(),
        };
        Ok(Self {
            issuer: config.issuer.clone(),
            authorize_url,
            token_url,
            revoke_url: or(&config.revoke_url, known.and_then(|known| known.revoke_url)),
            userinfo_url: or(&config.userinfo_url, known.and_then(|known| known.userinfo_url)),
            client: Client::new(client_id, secret, auth),
            client_id: client_id.clone(),
            scopes,
            pkce: config.pkce.or(known.map(|known| known.pkce)).unwrap_or(true),
            api_url: or(&None, known.map(|known| known.api_url)),
        })
    }

    /// The servers that tokens may go to: the one of the API first.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Url> {
        let api = self.api_url.iter().chain(&self.userinfo_url);
        api.chain([&self.token_url, &self.authorize_url])
    }

    /// Every address, by the setting that it comes from.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, &Url)> {
        [
            ("authorize_url", Some(&self.authorize_url)),
            ("token_url", Some(&self.token_url)),
            ("revoke_url", self.revoke_url.as_ref()),
            ("userinfo_url", self.userinfo_url.as_ref()),
        ]
        .into_iter()
        .filter_map(|(key, url)| Some((key, url?)))
    }
}

impl Client {
    fn new(id: &str, secret: Option<SecretString>, auth: ClientAuth) -> Self {
        match (secret, auth) {
            (Some(plain), ClientAuth::Basic) => Self::Basic {
                id: encoded(id),
                secret: encoded(plain.expose_secret()).into(),
                plain,
            },
            (Some(secret), ClientAuth::Post) => Self::Post(secret),
            (None, _) => Self::Public,
        }
    }

    /// What of it must stand in no error.
    pub(super) fn secrets(&self) -> Option<&SecretString> {
        match self {
            Self::Basic { plain, .. } => Some(plain),
            Self::Post(secret) => Some(secret),
            Self::Public => None,
        }
    }
}

/// As `application/x-www-form-urlencoded` has it, which the header's two parts must be in.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn secret_in(path: &Path) -> Result<SecretString, ProfileError> {
    let fault = |source| ProfileError::SecretFile { path: path.to_owned(), source };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(fault)?);
    match text.trim() {
        "" => Err(ProfileError::NoSecret { path: path.to_owned() }),
        secret => Ok(secret.into()),
    }
}

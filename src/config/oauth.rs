//! How accounts of a platform are connected with OAuth 2.0, as it is written.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::{Config, values};

/// A platform's OAuth 2.0 servers, and what they know us by. Without addresses there is none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// The server's name for itself, if its answers are to be held against it.
    #[serde(deserialize_with = "values::text_or_none")]
    pub issuer: Option<String>,
    /// Where a person consents.
    #[serde(deserialize_with = "values::url_or_none")]
    pub authorize_url: Option<Url>,
    /// Where tokens come from.
    #[serde(deserialize_with = "values::url_or_none")]
    pub token_url: Option<Url>,
    /// Where tokens are given back (RFC 7009).
    #[serde(deserialize_with = "values::url_or_none")]
    pub revoke_url: Option<Url>,
    /// Where an account says who it is.
    #[serde(deserialize_with = "values::url_or_none")]
    pub userinfo_url: Option<Url>,
    /// What the server calls us.
    #[serde(deserialize_with = "values::text_or_none")]
    pub client_id: Option<String>,
    /// The file with what proves that it is us; `None` for a public client.
    #[serde(deserialize_with = "values::path_or_none")]
    pub client_secret_file: Option<PathBuf>,
    /// How it is proved; if it is not said, as the platform is known to want it.
    pub client_auth: Option<ClientAuth>,
    /// Whether a code is tied to who set out for it (RFC 7636); if it is not said, as the platform is
    /// known to want it, else yes.
    pub pkce: Option<bool>,
    /// What we ask to be allowed.
    pub scopes: Vec<String>,
}

/// How a client proves to the token endpoint who it is (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// With id and secret in a header: `client_secret_basic`.
    #[default]
    Basic,
    /// With id and secret in the form: `client_secret_post`.
    Post,
}

impl OAuth {
    /// Whether anything of it was set.
    fn is_set(&self) -> bool {
        let urls = [&self.authorize_url, &self.token_url, &self.revoke_url, &self.userinfo_url];
        urls.into_iter().any(Option::is_some)
            || self.issuer.is_some()
            || self.client_id.is_some()
            || self.client_secret_file.is_some()
            || !self.scopes.is_empty()
    }

    /// The keys that must be set and are not, once any key is. The two addresses belong together;
    /// platforms that are one place need neither.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let one = self.authorize_url.is_some() || self.token_url.is_some();
        let needed = [
            ("authorize_url", self.authorize_url.is_some() || !one),
            ("token_url", self.token_url.is_some() || !one),
            ("client_id", self.client_id.is_some()),
        ];
        let missing = needed.into_iter().filter(|(_, there)| !there).map(|(key, _)| key);
        if self.is_set() { missing.collect() } else { Vec::new() }
    }
}

impl Config {
    /// How accounts of each platform that has OAuth 2.0 are connected, by the platform's name.
    pub fn oauth(&self) -> impl Iterator<Item = (&str, &OAuth)> {
        let platforms = self.platforms.iter();
        platforms.map(|(name, one)| (name.as_str(), &one.oauth)).filter(|(_, one)| one.is_set())
    }
}

//! Who an account is, as its platform says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use super::profile::Profile;

/// No id or name that is longer is believed; OpenID Connect allows 255 of an id.
const CHARS_MAX: usize = 255;
/// What platforms call an account's own id. The second is of those without OpenID Connect.
const IDS: [&str; 2] = ["sub", "id"];
/// What they call its handle or name.
const NAMES: [&str; 5] = ["preferred_username", "username", "login", "nickname", "name"];

/// An account's own id and its name, as far as they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
}

impl Identity {
    /// What an `id_token` says, if it is meant for us. The server itself gave it to us, so that no
    /// signature need be checked (OpenID Connect Core §3.1.3.7, point 6).
    pub(super) fn of_id_token(token: &SecretString, profile: &Profile) -> Option<Self> {
        let claims = token.expose_secret().split('.').nth(1)?;
        let claims =
            URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok().map(Zeroizing::new)?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let ours = match &claims["aud"] {
            Value::Array(several) => several.iter().any(|one| *one == *profile.client_id),
            one => *one == *profile.client_id,
        };
        let theirs = profile.issuer.as_ref().is_none_or(|issuer| claims["iss"] == **issuer);
        let id = text(&claims, &IDS[..1]);
        (ours && theirs).then(|| Self { id, name: text(&claims, &NAMES) })
    }

    /// What an account says of itself; some platforms put it into an envelope.
    pub(super) fn of_userinfo(claims: &Value) -> Self {
        let claims = claims.get("data").filter(|data| data.is_object()).unwrap_or(claims);
        Self { id: text(claims, &IDS), name: text(claims, &NAMES) }
    }

    /// Completes what is known by what was told later, unless that is of another account
    /// (OpenID Connect Core §5.3.2).
    pub(super) fn with(self, later: Self) -> Self {
        match (&self.id, &later.id) {
            (Some(known), Some(said)) if known != said => self,
            _ => Self { id: self.id.or(later.id), name: self.name.or(later.name) },
        }
    }
}

/// The first of these that is there, and is something.
fn text(claims: &Value, names: &[&str]) -> Option<String> {
    let read = |name: &&str| {
        let text = match &claims[*name] {
            Value::String(text) => text.trim().to_owned(),
            // A greater one has lost digits, and another account may have the same.
            Value::Number(id) if id.is_u64() || id.is_i64() => id.to_string(),
            _ => return None,
        };
        let fits = text.chars().count() <= CHARS_MAX && !text.chars().any(char::is_control);
        (!text.is_empty() && fits).then_some(text)
    };
    names.iter().find_map(read)
}

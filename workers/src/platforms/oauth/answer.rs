//! What a token endpoint answers. The tokens come first: on a strict server they are the only ones
//! that work now, so nothing beside them that is odd costs them.

use std::time::Duration;

use postworks::job::{JobError, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::platforms::TokenSet;
use crate::platforms::answer::Answer;
use crate::platforms::call::Call;

/// What is told with an access token (RFC 6749 §5.1).
pub(in crate::platforms) struct Told {
    access: SecretString,
    refresh: Option<SecretString>,
    life: Option<Duration>,
    /// Who the account is, as OpenID Connect says it.
    pub(super) id_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct Wire {
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    #[serde(default, deserialize_with = "lifetime")]
    expires_in: Option<Duration>,
    id_token: Option<SecretString>,
    /// Instagram's page on its consent has all of it in an envelope.
    #[serde(default, deserialize_with = "enveloped")]
    data: Option<Box<Wire>>,
}

/// The tokens of an answer, or what it means that there are none.
pub(in crate::platforms) fn tokens(answer: &Answer, call: Call<'_>) -> Result<Told, JobError> {
    let wire: Wire = answer.value(call)?;
    let wire = match wire.data {
        Some(within) if wire.access_token.is_none() => *within,
        _ => wire,
    };
    let some = |token: Option<SecretString>| token.filter(|it| !it.expose_secret().is_empty());
    let Some(access) = some(wire.access_token) else {
        return Err(answer.without("access_token", call));
    };
    let (refresh, id_token) = (some(wire.refresh_token), some(wire.id_token));
    Ok(Told { access, refresh, life: wire.expires_in, id_token })
}

impl Told {
    /// The tokens, whose life began no earlier than they were asked for.
    pub(in crate::platforms) fn into_set(self, asked_at: Timestamp) -> TokenSet {
        TokenSet {
            access: self.access,
            refresh: self.refresh,
            expires_at: self.life.map(|life| asked_at.after(life)),
            remote_id: None,
        }
    }
}

/// Seconds. Some servers write them as a text, or in parts; what is neither counts as not said.
fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// The first of a list; what is of another form counts as not there.
fn enveloped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Wire>>, D::Error> {
    let list = Value::deserialize(deserializer)?;
    Ok(list.get(0).and_then(|first| Wire::deserialize(first).ok()).map(Box::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_however_their_lifetime_is_written() {
        let seconds = |s: f64| Some(Duration::from_secs_f64(s));
        let rows = [
            ("3600", seconds(3600.0)),
            ("3599.5", seconds(3599.5)),
            (r#""3600""#, seconds(3600.0)),
            (r#"" 60 ""#, seconds(60.0)),
            ("-1", None),
            ("1e300", None),
            (r#""soon""#, None),
            (r#""NaN""#, None),
            ("null", None),
            ("[]", None),
        ];
        for (written, lifetime) in rows {
            let body = format!(r#"{{"access_token":"a","expires_in":{written}}}"#);
            let wire: Wire = serde_json::from_str(&body).unwrap();
            assert_eq!(wire.expires_in, lifetime, "{written}");
        }
        let wire: Wire = serde_json::from_str(r#"{"access_token":"a"}"#).unwrap();
        assert_eq!(wire.expires_in, None);
    }
}

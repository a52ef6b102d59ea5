//! What goes over the wire to and from the sandbox.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The form of `POST /oauth/token`.
#[derive(Serialize)]
pub(super) struct RefreshGrant<'a> {
    pub(super) grant_type: &'static str,
    pub(super) refresh_token: &'a str,
}

/// The answer to a grant (RFC 6749 §5.1).
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    #[serde(default, deserialize_with = "lifetime")]
    pub(super) expires_in: Option<Duration>,
}

/// Seconds. Some servers write them as a text, or in parts; what is neither counts as not said,
/// since the tokens beside it are the only ones that work now.
fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// The body of `POST /posts`.
#[derive(Serialize)]
pub(super) struct NewPost<'a> {
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ref: Option<&'a str>,
}

/// The answer to `POST /posts`.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) id: String,
}

/// The answer to `GET /posts`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) next: Option<String>,
}

/// A post in a list.
#[derive(Deserialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) created_at: Option<String>,
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
            let tokens: Tokens = serde_json::from_str(&body).unwrap();
            assert_eq!(tokens.expires_in, lifetime, "{written}");
        }
        let tokens: Tokens = serde_json::from_str(r#"{"access_token":"a"}"#).unwrap();
        assert_eq!(tokens.expires_in, None);
    }
}

//! When a session's token ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postworks::job::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

/// The `exp` claim of a JWT (RFC 7519 §4.1.4), in seconds since 1970. The signature is not
/// checked: it is the server's own token, and the time only schedules a refresh.
pub(super) fn expires_at(jwt: &str) -> Option<Timestamp> {
    let claims = jwt.split('.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    claims.exp.checked_mul(1000).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_from_the_claims_if_there_is_one() {
        let jwt = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let end = Timestamp::from_millis(1_772_357_400_000);
        assert_eq!(expires_at(&jwt(r#"{"sub":"did:plc:a","exp":1772357400}"#)), Some(end));
        for odd in [jwt("{}"), jwt("["), jwt(r#"{"exp":9223372036854775807}"#), String::new()] {
            assert_eq!(expires_at(&odd), None, "{odd}");
        }
        assert_eq!(expires_at("opaque"), None);
    }
}

//! Access tokens: JSON Web Tokens that say which login they come from, for a quarter of an hour.
//!
//! One algorithm, HS256; keys that follow from the node's key ring, named by the ring's ids and by
//! nothing else. Who holds the ring can check every token, so several API processes need the same.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use postworks::job::Timestamp;
use postworks_workers::secrets::KeyRing;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Role;

/// How long a token is good.
pub(super) const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// So far the clocks of two API processes may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// So long after a key last signed there may be tokens that are good by it.
pub(crate) const KNOWN: Duration = Duration::from_secs(LIFETIME.as_secs() + LEEWAY.as_secs());
const ISSUER: &str = "postworks";
const AUDIENCE: &str = "postworks-api";
/// What the keys are derived for.
const PURPOSE: &str = "access tokens, HS256";

/// Signs and checks access tokens.
pub(super) struct AccessTokens {
    current: Option<(String, EncodingKey)>,
    known: Vec<(String, DecodingKey)>,
    validation: Validation,
}

/// What a token says: all of it must be there, each once.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    /// The login.
    sid: Uuid,
    role: String,
    jti: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl AccessTokens {
    /// Tokens under the keys of a ring.
    pub(super) fn of(ring: &KeyRing) -> Self {
        let derived = ring.derived(PURPOSE);
        let current = derived.first();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        // By our own clock, below.
        validation.validate_exp = false;
        Self {
            current: current.map(|(id, key)| (id.clone(), EncodingKey::from_secret(&**key))),
            known: derived
                .iter()
                .map(|(id, key)| (id.clone(), DecodingKey::from_secret(&**key)))
                .collect(),
            validation,
        }
    }

    /// A token for a user's login; `None` without keys.
    pub(super) fn sign(
        &self,
        user: Uuid,
        session: Uuid,
        role: Role,
        now: Timestamp,
    ) -> Option<SecretString> {
        let (kid, key) = self.current.as_ref()?;
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            sid: session,
            role: role.to_string(),
            jti: Uuid::new_v4(),
            iat: seconds(now),
            nbf: seconds(now),
            exp: seconds(now.after(LIFETIME)),
        };
        jsonwebtoken::encode(&header, &claims, key).ok().map(SecretString::from)
    }

    /// The login that a token comes from, if it is one of ours and good now.
    pub(super) fn session(&self, token: &str, now: Timestamp) -> Option<Uuid> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // What must be understood is not.
        if header.crit.is_some() {
            return None;
        }
        let kid = header.kid?;
        let (_, key) = self.known.iter().find(|(id, _)| *id == kid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?.claims;
        let begun = claims.nbf <= seconds(now.after(LEEWAY));
        let over = claims.exp <= seconds(now.before(LEEWAY));
        (begun && !over).then_some(claims.sid)
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(1_000)
}

#[cfg(test)]
#[path = "access_token_tests.rs"]
mod tests;

//! Tokens that are not ours, not for us, or not for now.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

const OLD: &str = "old:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SESSION: Uuid = Uuid::from_u128(7);

fn tokens(ring: &str) -> AccessTokens {
    AccessTokens::of(&KeyRing::parse(ring).unwrap())
}

fn signed(tokens: &AccessTokens) -> String {
    let token = tokens.sign(Uuid::from_u128(1), SESSION, Role::Admin, NOW).unwrap();
    token.expose_secret().to_owned()
}

fn good() -> Value {
    let now = seconds(NOW);
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": Uuid::from_u128(1), "sid": SESSION,
        "role": "admin", "jti": Uuid::from_u128(2), "iat": now, "nbf": now, "exp": now + 900})
}

/// A token with a right signature, whatever it says.
fn forged(header: &Value, claims: &str) -> String {
    let key = KeyRing::parse(OLD).unwrap().derived(PURPOSE).remove(0).1;
    let message =
        format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.as_bytes()));
    let key = EncodingKey::from_secret(&*key);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT", "kid": "old"})
}

#[test]
fn a_token_is_good_for_a_quarter_of_an_hour_and_half_a_minute() {
    let tokens = tokens(OLD);
    let token = signed(&tokens);
    assert_eq!(tokens.session(&token, NOW), Some(SESSION));
    assert_eq!(tokens.session(&token, NOW.before(LEEWAY)), Some(SESSION));
    assert_eq!(tokens.session(&token, NOW.before(LEEWAY + Duration::from_secs(1))), None);
    let last = NOW.after(LIFETIME + LEEWAY).before(Duration::from_secs(1));
    assert_eq!(tokens.session(&token, last), Some(SESSION));
    assert_eq!(tokens.session(&token, NOW.after(LIFETIME + LEEWAY)), None);
}

#[test]
fn a_token_of_an_old_key_is_good_until_that_key_is_taken_away() {
    let token = signed(&tokens(OLD));
    assert_eq!(tokens(&format!("{NEW},{OLD}")).session(&token, NOW), Some(SESSION));
    assert_eq!(tokens(NEW).session(&token, NOW), None);
    let renamed = OLD.replace("old", "new");
    assert_eq!(tokens(&renamed).session(&token, NOW), None, "the id is not there");
    assert!(AccessTokens::of(&KeyRing::none()).sign(SESSION, SESSION, Role::Admin, NOW).is_none());
}

#[test]
fn another_algorithm_or_key_is_never_heard_of() {
    let ours = tokens(OLD);
    assert_eq!(ours.session(&forged(&header(), &good().to_string()), NOW), Some(SESSION));
    for changed in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS384"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES256"}),
        json!({"kid": "new"}),
        json!({"kid": ""}),
        json!({"kid": null}),
        json!({"kid": 1}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "/proc/sys/kernel/hostname"}),
        json!({"kid": "old' OR '1'='1"}),
        json!({"crit": ["exp"]}),
    ] {
        let mut wrong = header();
        wrong.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        let token = forged(&wrong, &good().to_string());
        assert_eq!(ours.session(&token, NOW), None, "{wrong}");
        // And without a signature.
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(ours.session(&format!("{message}."), NOW), None, "{wrong}");
    }
    // The key that a token brings along is not asked.
    let mut own = header();
    own["jwk"] = json!({"kty": "oct", "k": BASE64.encode([7; 32])});
    let token = forged(&own, &good().to_string());
    let (message, _) = token.rsplit_once('.').unwrap();
    let mine = EncodingKey::from_secret(&[7; 32]);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &mine, Algorithm::HS256);
    assert_eq!(ours.session(&format!("{message}.{}", signature.unwrap()), NOW), None);
    // The master key itself signs nothing.
    let master = EncodingKey::from_secret(&[1; 32]);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &master, Algorithm::HS256);
    assert_eq!(ours.session(&format!("{message}.{}", signature.unwrap()), NOW), None);
}

#[test]
fn what_a_token_says_must_be_whole_for_us_and_for_now() {
    let ours = tokens(OLD);
    let now = seconds(NOW);
    for (claim, value) in [
        ("iss", json!("somebody")),
        ("aud", json!("another-api")),
        ("aud", json!(["postworks-api", "another-api"])),
        ("exp", json!(now - 31)),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("nbf", json!(now + 31)),
        ("sub", json!("ann")),
        ("sid", json!(null)),
        ("iat", json!(true)),
    ] {
        let mut claims = good();
        claims[claim] = value;
        assert_eq!(ours.session(&forged(&header(), &claims.to_string()), NOW), None, "{claims}");
    }
    for claim in ["iss", "aud", "sub", "sid", "role", "jti", "iat", "nbf", "exp"] {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(ours.session(&forged(&header(), &claims.to_string()), NOW), None, "{claim}");
    }
    let twice = good().to_string().replacen('{', "{\"exp\":9999999999,", 1);
    assert_eq!(ours.session(&forged(&header(), &twice), NOW), None);
}

#[test]
fn no_byte_of_a_token_may_change_and_nothing_makes_it_panic() {
    let ours = tokens(OLD);
    let token = signed(&ours);
    for at in 0..token.len() {
        assert_eq!(ours.session(&token[..at], NOW), None, "cut at {at}");
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last character of a part may hold bits that say nothing.
        let (message, _) = token.rsplit_once('.').unwrap();
        if at < message.len() {
            assert_eq!(ours.session(&changed, NOW), None, "{at}");
        }
    }
    for text in ["", ".", "..", "...", "a.b.c", "eyJhbGciOiJIUzI1NiJ9..", "\u{0}.\u{0}.\u{0}"] {
        assert_eq!(ours.session(text, NOW), None, "{text:?}");
    }
}

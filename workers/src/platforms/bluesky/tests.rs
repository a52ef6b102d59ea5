//! What the Bluesky client sends, and what it makes of each answer. The behaviour of real servers
//! is tested in `tests/it/real_bluesky.rs`.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use postworks::clock::SystemClock;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::platforms::NetworkPolicy;
use crate::platforms::answer::Answer;
use crate::platforms::meter::Took;
use crate::platforms::responder::{Reply, Responder, SECRET, post};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };

fn class(step: Step, status: u16, error: &str) -> ErrorClass {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let call =
        Call { descriptor: &DESCRIPTOR, step, account: uuid::Uuid::nil(), secrets: &secrets };
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: json!({ "error": error, "message": "words" }).to_string().into_bytes().into(),
        took: Took::new(call, Duration::ZERO),
    };
    answer.value::<Value>(call, errors::RULES, &SystemClock).unwrap_err().class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn};
    let rows: &[(&[Step], u16, &str, ErrorClass)] = &[
        (&[Publish, Read], 400, "ExpiredToken", EXPIRED),
        (&[SignIn, Refresh], 400, "ExpiredToken", REVOKED),
        (&[Publish, Read], 400, "InvalidToken", EXPIRED),
        (&[Publish, Read], 401, "InvalidToken", EXPIRED),
        (&[Publish, Read], 401, "AuthMissing", EXPIRED),
        (&[Publish, Read], 401, "AuthenticationRequired", EXPIRED),
        (&[Refresh, SignIn], 400, "InvalidToken", REVOKED),
        (&[Refresh, SignIn], 401, "InvalidToken", REVOKED),
        (&[Refresh, SignIn], 401, "AuthMissing", REVOKED),
        (&[Refresh, SignIn], 401, "AuthenticationRequired", REVOKED),
        (&[SignIn], 401, "AuthFactorTokenRequired", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 401, "AccountTakedown", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 400, "AccountTakedown", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 501, "MethodNotImplemented", INVALID),
        // By status.
        (&[Publish, Read, Refresh, SignIn], 400, "InvalidRequest", INVALID),
        (&[Read], 400, "RecordNotFound", INVALID),
        (&[Publish], 413, "PayloadTooLarge", INVALID),
        (&[Publish, Read], 401, "SomethingNew", EXPIRED),
        (&[Publish], 500, "InternalServerError", UNKNOWN),
        (&[Publish], 502, "UpstreamFailure", UNKNOWN),
        (&[Read, Refresh, SignIn], 500, "InternalServerError", TRANSIENT),
        (&[Read, Refresh, SignIn], 502, "UpstreamFailure", TRANSIENT),
    ];
    for (steps, status, error, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, error), *expected, "{step:?}: {status} {error}");
        }
    }
    let limited = class(Publish, 429, "RateLimitExceeded");
    assert!(matches!(limited, ErrorClass::RateLimited { .. }));
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::RULES {
        let status = if rule.status == 0 { 400 } else { rule.status };
        for &step in rule.steps {
            let named = class(step, status, rule.error);
            let unnamed = class(step, status, "");
            assert_ne!(named, unnamed, "the row {} for {step:?} changes nothing", rule.error);
        }
    }
}

#[tokio::test]
async fn requests_follow_the_lexicons() {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let (account, secret) = (responder.account(), SecretString::from(SECRET));

    let session = json!({ "accessJwt": "a", "refreshJwt": "r", "did": "did:plc:1" });
    responder.answer_with(Reply::new(200, session.to_string()));
    client.sign_in(&account, &secret).await.unwrap();
    client.refresh(&account, &secret).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /xrpc/com.atproto.server.createSession
    content-type: application/json

    {"identifier":"alice","password":"[secret]"}

    POST /xrpc/com.atproto.server.refreshSession
    authorization: Bearer [secret]
    "#);

    let account = Account { remote_id: Some("did:plc:1".into()), ..account };
    responder.answer_with(Reply::new(200, r#"{"uri":"at://did:plc:1/c/k","cid":"x"}"#));
    let published = client.publish(&account, &secret, &post()).await.unwrap();
    assert_eq!(published.remote_id, "at://did:plc:1/c/k");
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /xrpc/com.atproto.repo.putRecord
    authorization: Bearer [secret]
    content-type: application/json

    {"repo":"did:plc:1","collection":"app.bsky.feed.post","rkey":"3mfygiomvtf5u","record":{"$type":"app.bsky.feed.post","text":"Hello","createdAt":"2026-03-01T09:30:00.250Z"},"swapRecord":null}
    "#);

    responder.answer_with(Reply::new(200, r#"{"records":[]}"#));
    let page = client.posts(&account, &secret, Some("3mfy")).await.unwrap();
    assert_eq!((page.posts.len(), page.next), (0, None), "the last page may be empty");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /xrpc/com.atproto.repo.listRecords?repo=did%3Aplc%3A1&collection=app.bsky.feed.post&limit=50&cursor=3mfy
    authorization: Bearer [secret]
    ");

    let record = r#"{"uri":"at://did:plc:1/c/self","value":{"displayName":"Alice","avatar":{}}}"#;
    responder.answer_with(Reply::new(200, record));
    let profile = client.profile(&account, &secret).await.unwrap();
    assert_eq!((profile.display_name.as_deref(), profile.description), (Some("Alice"), None));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /xrpc/com.atproto.repo.getRecord?repo=did%3Aplc%3A1&collection=app.bsky.actor.profile&rkey=self
    authorization: Bearer [secret]
    ");
    responder.answer_with(Reply::new(400, r#"{"error":"RecordNotFound","message":"none"}"#));
    let profile = client.profile(&account, &secret).await.unwrap();
    assert_eq!(profile, Profile::default(), "it says nothing of itself");
}

#[tokio::test]
async fn without_the_policy_a_loopback_server_is_refused_before_sending() {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy::default());
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let port = responder.url.port().unwrap();
    let secret = SecretString::from(SECRET);
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let base_url = format!("https://{host}:{port}").parse().unwrap();
        let account = Account { base_url, ..responder.account() };
        let error = client.publish(&account, &secret, &post()).await.unwrap_err();
        assert_eq!(error.class(), INVALID, "{host}");
        assert!(error.to_string().contains("POSTWORKS_ALLOW_LOOPBACK=1"), "{error}");
    }
    assert_eq!(responder.take_requests(), "", "nothing was sent");
}

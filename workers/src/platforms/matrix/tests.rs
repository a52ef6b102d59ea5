//! What the Matrix client sends, and what it makes of each answer. The behaviour of real servers is
//! tested in `tests/it/real_matrix.rs`.

use http::HeaderMap;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::meter::Took;
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{Draft, DraftImage, NetworkPolicy};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };
const TOKENS: &[Step] = &[Step::SignIn, Step::Refresh];
const ACCESS: &[Step] = &[Step::Publish, Step::Upload, Step::Read];
const ANY: &[Step] = &[Step::Publish, Step::Upload, Step::Read, Step::SignIn, Step::Refresh];

fn class_of(step: Step, status: u16, headers: HeaderMap, body: &Value) -> ErrorClass {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let call = Call { descriptor: &DESCRIPTOR, step, account: Uuid::nil(), secrets: &secrets };
    let answer = errors::with_wait(Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: body.to_string().into_bytes().into(),
        took: Took::new(call, Duration::ZERO),
    });
    answer.value::<Value>(call, &errors::TABLE, &SystemClock).unwrap_err().class()
}

fn class(step: Step, status: u16, body: &Value) -> ErrorClass {
    class_of(step, status, HeaderMap::new(), body)
}

fn refusal(name: &str) -> Value {
    json!({ "errcode": name, "error": "words" })
}

#[test]
fn each_refusal_has_its_class() {
    let soft = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "words", "soft_logout": true });
    let hard = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "words", "soft_logout": false });
    let locked = json!({ "errcode": "M_USER_LOCKED", "error": "words", "soft_logout": true });
    let rows: &[(&[Step], u16, &Value, ErrorClass)] = &[
        (ACCESS, 401, &soft, EXPIRED),
        (ACCESS, 401, &hard, REVOKED),
        (ACCESS, 401, &refusal("M_UNKNOWN_TOKEN"), REVOKED),
        (ACCESS, 401, &refusal("M_MISSING_TOKEN"), EXPIRED),
        (TOKENS, 401, &hard, REVOKED),
        (TOKENS, 401, &soft, REVOKED),
        (TOKENS, 403, &refusal("M_FORBIDDEN"), REVOKED),
        (TOKENS, 403, &refusal("M_USER_DEACTIVATED"), REVOKED),
        (ANY, 401, &locked, REVOKED),
        (ANY, 403, &refusal("M_USER_SUSPENDED"), REVOKED),
        (ANY, 403, &refusal("M_CONSENT_NOT_GIVEN"), REVOKED),
        (ANY, 403, &refusal("M_RESOURCE_LIMIT_EXCEEDED"), TRANSIENT),
        // By status.
        (ACCESS, 403, &refusal("M_FORBIDDEN"), INVALID),
        (ACCESS, 403, &refusal("M_BAD_STATE"), INVALID),
        (ACCESS, 403, &refusal("M_USER_LIMIT_EXCEEDED"), INVALID),
        (ACCESS, 413, &refusal("M_TOO_LARGE"), INVALID),
        (ANY, 400, &refusal("M_BAD_JSON"), INVALID),
        (ANY, 404, &refusal("M_UNRECOGNIZED"), INVALID),
        (&[Step::Publish], 500, &refusal("M_UNKNOWN"), UNKNOWN),
        (&[Step::Publish], 502, &Value::Null, UNKNOWN),
        (&[Step::Read, Step::Upload], 502, &refusal("M_UNKNOWN"), TRANSIENT),
        (TOKENS, 500, &refusal("M_UNKNOWN"), TRANSIENT),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, body), *expected, "{step:?}: {status} {body}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        let status = if rule.status == 0 { 400 } else { rule.status };
        let name = rule.error.split(' ').next().unwrap();
        let soft = rule.error.ends_with("(soft_logout)");
        let body = json!({ "errcode": name, "error": "words", "soft_logout": soft });
        for &step in rule.steps {
            let (named, unnamed) = (class(step, status, &body), class(step, status, &json!({})));
            let changes = named != unnamed || (status == 401 && named == EXPIRED);
            assert!(changes, "the row {} for {step:?} changes nothing", rule.error);
        }
    }
}

#[test]
fn a_limit_is_over_when_the_header_or_failing_that_the_body_says() {
    let body = json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "words", "retry_after_ms": 90_001 });
    let header = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
    for (headers, body, seconds) in [
        (header, body.clone(), 7),
        (HeaderMap::new(), body, 91),
        (HeaderMap::new(), refusal("M_LIMIT_EXCEEDED"), 30),
        (HeaderMap::new(), json!({ "retry_after_ms": -4 }), 30),
    ] {
        let before = SystemClock.now();
        let class = class_of(Step::Publish, 429, headers, &body);
        let ErrorClass::RateLimited { until, .. } = class else { panic!("{class:?}") };
        let wait = until.since(before).as_secs_f64();
        let expected = f64::from(seconds);
        assert!(wait >= expected && wait < expected + 1.0, "{wait} for {body}");
    }
}

async fn start() -> (Responder, MatrixClient, Account, SecretString) {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = MatrixClient::new(&options, SystemClock::shared()).unwrap();
    let account = Account {
        remote_id: Some("@alice:example.org".into()),
        target: Some("#news/of all:example.org".into()),
        ..responder.account()
    };
    (responder, client, account, SecretString::from(SECRET))
}

#[tokio::test]
async fn a_session_is_asked_for_kept_and_given_back_as_the_specification_says() {
    let (responder, client, account, secret) = start().await;
    let session = json!({
        "user_id": "@alice:example.org",
        "access_token": SECRET,
        "refresh_token": "r",
        "expires_in_ms": 60_000,
    });
    responder.answer_with(Reply::new(200, session.to_string()));
    let before = SystemClock.now();
    let tokens = client.sign_in(&account, &secret).await.unwrap();
    let lifetime = tokens.expires_at.unwrap().since(before);
    assert!(lifetime >= Duration::from_secs(60) && lifetime < Duration::from_secs(90));
    assert_eq!(tokens.remote_id.as_deref(), Some("@alice:example.org"));
    client.refresh(&account, &secret).await.unwrap();
    assert!(client.revoke(&account, &secret).await.unwrap());
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /_matrix/client/v3/login
    content-type: application/json

    {"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"[secret]","device_id":"POSTWORKS-00000000000000000000000000000000","initial_device_display_name":"Postworks","refresh_token":true}

    POST /_matrix/client/v3/refresh
    content-type: application/json

    {"refresh_token":"[secret]"}

    POST /_matrix/client/v3/refresh
    content-type: application/json

    {"refresh_token":"[secret]"}

    POST /_matrix/client/v3/logout
    authorization: Bearer [secret]
    content-type: application/json

    {}
    "#);

    // A server that does not renew tokens.
    let session = r#"{"user_id":"@alice:example.org","access_token":"a","device_id":"d"}"#;
    responder.answer_with(Reply::new(200, session));
    let tokens = client.sign_in(&account, &secret).await.unwrap();
    assert!(tokens.refresh.is_none() && tokens.expires_at.is_none());
    let other = Account { remote_id: Some("@bob:example.org".into()), ..account };
    assert_eq!(client.sign_in(&other, &secret).await.unwrap_err().class(), REVOKED);
}

#[tokio::test]
async fn a_message_goes_where_the_prepared_room_is() {
    let (responder, client, account, secret) = start().await;
    let ready = |image: Option<&str>| {
        let image = image.map(str::to_owned);
        Prepared::of(&Ready { room: "!room:example.org".into(), image }).unwrap()
    };
    responder.answer_with(Reply::new(200, r#"{"event_id":"$event+1"}"#));
    let plain = Outgoing { reply_to: Some("$question".into()), ..post() };
    let committed = client.commit(&account, &secret, &plain, &ready(None)).await.unwrap();
    let published = published(committed);
    assert_eq!(published.remote_id, "$event+1");
    assert_eq!(
        published.remote_url.unwrap(),
        "https://matrix.to/#/%21room%3Aexample.org/%24event%2B1?via=example.org"
    );
    let picture = Outgoing { images: vec![image("Two\n foxes")], ..post() };
    client.commit(&account, &secret, &picture, &ready(Some("mxc://example.org/1"))).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    PUT /_matrix/client/v3/rooms/!room:example.org/send/m.room.message/0198f2a0-7c3e-7000-8000-000000000001
    authorization: Bearer [secret]
    content-type: application/json

    {"msgtype":"m.text","body":"Hello","m.mentions":{},"m.relates_to":{"m.in_reply_to":{"event_id":"$question"}},"org.postworks.publication_id":"0198f2a0-7c3e-7000-8000-000000000001"}

    PUT /_matrix/client/v3/rooms/!room:example.org/send/m.room.message/0198f2a0-7c3e-7000-8000-000000000001
    authorization: Bearer [secret]
    content-type: application/json

    {"msgtype":"m.image","filename":"Two foxes.png","url":"mxc://example.org/1","info":{"mimetype":"image/png","size":3,"w":640,"h":480},"body":"Hello","m.mentions":{},"org.postworks.publication_id":"0198f2a0-7c3e-7000-8000-000000000001"}
    "#);

    responder.answer_with(Reply::new(200, r#"{"content_uri":"mxc://example.org/1"}"#));
    let uri = client.upload(&account, &secret, &image("")).await.unwrap();
    assert_eq!(uri, "mxc://example.org/1");
    insta::assert_snapshot!(responder.take_requests(), @r"
    POST /_matrix/media/v3/upload
    content-type: image/png
    authorization: Bearer [secret]

    png
    ");
}

#[tokio::test]
async fn a_room_is_looked_up_and_entered_by_the_address_a_person_gave() {
    let (responder, client, account, secret) = start().await;
    responder.answer_with(Reply::new(200, r#"{"room_id":"!room:example.org"}"#));
    let room = client.room(&account, &secret).await.unwrap();
    assert_eq!(room, "!room:example.org");
    // Nobody it knows, and nowhere it could go.
    responder.answer_with(Reply::new(404, refusal("M_NOT_FOUND").to_string()));
    let error = client.enter(&account, &secret, &room).await.unwrap_err();
    assert_eq!(error.class(), INVALID);
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/directory/room/%23news%2Fof%20all:example.org
    authorization: Bearer [secret]



    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.member/@alice:example.org
    authorization: Bearer [secret]



    POST /_matrix/client/v3/join/%23news%2Fof%20all:example.org
    authorization: Bearer [secret]
    content-type: application/json

    {}
    ");

    // In the room, of which everything is answered, its encryption too.
    responder.answer_with(Reply::new(200, r#"{"membership":"join"}"#));
    let error = client.enter(&account, &secret, &room).await.unwrap_err();
    assert!(error.to_string().contains("the room is encrypted"), "{error}");
}

#[tokio::test]
async fn the_accounts_own_messages_are_read_whatever_else_is_among_them() {
    let (responder, client, account, secret) = start().await;
    let account = Account { target: Some("!room:example.org".into()), ..account };
    let page = include_str!("fixtures/messages.json");
    responder.answer_with(Reply::new(200, page));
    let page = client.posts(&account, &secret, Some("t47429")).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("t47409"));
    let posts: Vec<_> = page.posts.iter().map(|post| (&*post.remote_id, &*post.text)).collect();
    assert_eq!(posts, [("$text", "Hello"), ("$captioned", "A fox"), ("$file", "")]);
    assert_eq!(page.posts[0].created_at, Some(Timestamp::from_millis(1_772_357_400_250)));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/rooms/!room:example.org/messages?dir=b&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%2C%22senders%22%3A%5B%22%40alice%3Aexample.org%22%5D%7D&limit=15&from=t47429
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn an_account_without_a_profile_says_nothing_of_itself() {
    let (responder, client, account, secret) = start().await;
    responder.answer_with(Reply::new(200, r#"{"displayname":"Alice","avatar_url":"mxc://a/b"}"#));
    let profile = client.profile(&account, &secret).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Alice"));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/profile/@alice:example.org
    authorization: Bearer [secret]
    ");
    responder.answer_with(Reply::new(404, refusal("M_UNKNOWN").to_string()));
    assert_eq!(client.profile(&account, &secret).await.unwrap(), Profile::default());
}

#[test]
fn what_no_message_can_hold_is_refused_with_the_limit() {
    let most = Most {
        text: (56_000, "bytes"),
        images: 1,
        kinds: &ImageKind::ALL,
        bytes: 52_428_800,
        alt: (2_000, "bytes"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    // Each quote takes two bytes in an event.
    let (quotes, description) = ("\"".repeat(28_000), "é".repeat(1_001));
    let linked = |link| Draft { text: &quotes, link, ..Draft::default() };
    assert_eq!(DESCRIPTOR.limits.check("matrix", &linked(None)), Ok(()));
    let described = DraftImage { alt: &description, ..image_of(ImageKind::Png) };
    for (draft, field, says) in [
        (
            linked(Some("https://example.org/")),
            "/text",
            "the text with the link's address has 56024 bytes",
        ),
        (shows(vec![described]), "/images/0/alt", "has 2002 bytes; matrix takes at most 2000"),
    ] {
        let (of, words) = refused(&DESCRIPTOR, &draft);
        assert_eq!(of, field);
        assert!(words.contains(says), "{words}");
    }
}

fn image(alt: &str) -> Image {
    Image {
        id: Uuid::nil(),
        kind: ImageKind::Png,
        bytes: b"png".as_slice().into(),
        width: 640,
        height: 480,
        alt: alt.into(),
        url: None,
    }
}

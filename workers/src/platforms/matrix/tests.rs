//! What the Matrix client sends, and what it makes of each answer. The behaviour of real servers is
//! tested in `tests/it/real_matrix.rs`.

mod finding;
mod preparing;
mod refusals;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{Draft, DraftImage, NetworkPolicy};

const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;

fn refusal(name: &str) -> Value {
    json!({ "errcode": name, "error": "words" })
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
    let committed = client.commit(account.with(&secret), &plain, &ready(None)).await.unwrap();
    let published = published(committed);
    assert_eq!(published.remote_id, "$event+1");
    assert_eq!(
        published.remote_url.unwrap(),
        "https://matrix.to/#/%21room%3Aexample.org/%24event%2B1?via=example.org"
    );
    let picture = Outgoing { images: vec![image("Two\n foxes")], ..post() };
    client
        .commit(account.with(&secret), &picture, &ready(Some("mxc://example.org/1")))
        .await
        .unwrap();
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
    let uri = client.upload(account.with(&secret), &image("")).await.unwrap();
    assert_eq!(uri, "mxc://example.org/1");
    insta::assert_snapshot!(responder.take_requests(), @r"
    POST /_matrix/media/v3/upload
    authorization: Bearer [secret]
    content-type: image/png

    png
    ");
}

#[tokio::test]
async fn a_room_is_looked_up_and_entered_by_the_address_a_person_gave() {
    let (responder, client, account, secret) = start().await;
    responder.answer_with(Reply::new(200, r#"{"room_id":"!room:example.org"}"#));
    let room = client.room(account.with(&secret)).await.unwrap();
    assert_eq!(room, "!room:example.org");
    let alias = account.target.clone().unwrap();
    // Nobody it knows, and nowhere it could go.
    responder.answer_with(Reply::new(404, refusal("M_NOT_FOUND").to_string()));
    let error = client.enter(account.with(&secret), &room, &alias).await.unwrap_err();
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
    let error = client.enter(account.with(&secret), &room, &alias).await.unwrap_err();
    assert!(error.to_string().contains("the room is encrypted"), "{error}");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.member/@alice:example.org
    authorization: Bearer [secret]



    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.encryption/
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn the_accounts_own_messages_are_read_whatever_else_is_among_them() {
    let (responder, client, account, secret) = start().await;
    let account = Account { target: Some("!room:example.org".into()), ..account };
    let page = include_str!("fixtures/messages.json");
    responder.answer_with(Reply::new(200, page));
    let page = client.posts(account.with(&secret), Some("t47429")).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("t47409"));
    let posts: Vec<_> = page.posts.iter().map(|post| (&*post.remote_id, &*post.text)).collect();
    assert_eq!(
        posts,
        [
            ("$text", "Hello"),
            ("$captioned", "A fox"),
            ("$file", ""),
            ("$ours", "By us"),
            ("$sent", "By this device"),
        ]
    );
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
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Alice"));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/profile/@alice:example.org
    authorization: Bearer [secret]
    ");
    responder.answer_with(Reply::new(404, refusal("M_UNKNOWN").to_string()));
    assert_eq!(client.profile(account.with(&secret)).await.unwrap(), Profile::default());
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

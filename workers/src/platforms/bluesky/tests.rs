//! What the Bluesky client sends, and what it makes of each answer. The behaviour of real servers
//! is tested in `tests/it/real_bluesky.rs`.

mod reading;
mod refusals;
mod taken;

use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{Draft, Link, NetworkPolicy};

const INVALID: ErrorClass = ErrorClass::Invalid;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };

/// A server, a client of it, and an account that has signed in.
async fn start() -> (Responder, BlueskyClient, Account, SecretString) {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let account = Account { remote_id: Some("did:plc:1".into()), ..responder.account() };
    (responder, client, account, SecretString::from(SECRET))
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
    let answer = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await;
    let published = published(answer.unwrap());
    assert_eq!(published.remote_id, "at://did:plc:1/c/k");
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /xrpc/com.atproto.repo.putRecord
    authorization: Bearer [secret]
    content-type: application/json

    {"repo":"did:plc:1","collection":"app.bsky.feed.post","rkey":"3mfygiomvtf5u","record":{"$type":"app.bsky.feed.post","text":"Hello","createdAt":"2026-03-01T09:30:00.250Z"},"swapRecord":null}
    "#);

    responder.answer_with(Reply::new(200, r#"{"records":[]}"#));
    let page = client.posts(account.with(&secret), Some("3mfy")).await.unwrap();
    assert_eq!((page.posts.len(), page.next), (0, None), "the last page may be empty");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /xrpc/com.atproto.repo.listRecords?repo=did%3Aplc%3A1&collection=app.bsky.feed.post&limit=50&cursor=3mfy
    authorization: Bearer [secret]
    ");

    let record = r#"{"uri":"at://did:plc:1/c/self","value":{"displayName":"Alice","avatar":{}}}"#;
    responder.answer_with(Reply::new(200, record));
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!((profile.display_name.as_deref(), profile.description), (Some("Alice"), None));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /xrpc/com.atproto.repo.getRecord?repo=did%3Aplc%3A1&collection=app.bsky.actor.profile&rkey=self
    authorization: Bearer [secret]
    ");
    responder.answer_with(Reply::new(400, r#"{"error":"RecordNotFound","message":"none"}"#));
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile, Profile::default(), "it says nothing of itself");
}

const PARENT: &str = "at://did:plc:2/app.bsky.feed.post/3kabc";

fn image(alt: &str) -> Image {
    Image {
        id: uuid::Uuid::nil(),
        kind: ImageKind::Png,
        bytes: "pixels".into(),
        width: 640,
        height: 480,
        alt: alt.to_owned(),
        url: None,
    }
}

fn link() -> Link {
    let url = "https://example.org/a?b=c".parse().unwrap();
    Link { url, title: Some("A page".into()), description: None }
}

#[tokio::test]
async fn images_are_uploaded_one_by_one_and_the_record_refers_to_them() {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let (account, secret) = (responder.account(), SecretString::from(SECRET));
    let images = vec![image("a cat"), Image { width: 0, ..image("") }];
    let post = Outgoing { images, link: Some(link()), reply_to: Some(PARENT.into()), ..post() };

    let root = json!({ "uri": "at://did:plc:3/app.bsky.feed.post/3kaaa", "cid": "bafyroot" });
    let value = json!({ "text": 5, "reply": { "root": root, "parent": root } });
    let parent = json!({ "uri": PARENT, "cid": "bafyparent", "value": value });
    responder.answer_with(Reply::new(200, parent.to_string()));
    let mut prepared =
        client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    let blob = json!({ "blob": { "$type": "blob", "ref": { "$link": "bafkcat" }, "mimeType": "image/png",
        "size": 6 } });
    responder.answer_with(Reply::new(200, blob.to_string()));
    while let Preparation::Waits { so_far, until } = prepared {
        assert!(until <= SystemClock.now(), "there is nothing to wait for");
        prepared = client.prepare(account.with(&secret), &post, so_far).await.unwrap();
    }
    let Preparation::Ready(ready) = prepared else { panic!("it is not ready") };
    let again = client.prepare(account.with(&secret), &post, ready.clone()).await.unwrap();
    assert_eq!(again, Preparation::Ready(ready.clone()), "all is there");
    responder.answer_with(Reply::new(200, r#"{"uri":"at://did:plc:1/c/k","cid":"x"}"#));
    client.commit(account.with(&secret), &post, &ready).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /xrpc/com.atproto.repo.getRecord?repo=did%3Aplc%3A2&collection=app.bsky.feed.post&rkey=3kabc
    authorization: Bearer [secret]



    POST /xrpc/com.atproto.repo.uploadBlob
    authorization: Bearer [secret]
    content-type: image/png

    pixels

    POST /xrpc/com.atproto.repo.uploadBlob
    authorization: Bearer [secret]
    content-type: image/png

    pixels

    POST /xrpc/com.atproto.repo.putRecord
    authorization: Bearer [secret]
    content-type: application/json

    {"repo":"alice","collection":"app.bsky.feed.post","rkey":"3mfygiomvtf5u","record":{"$type":"app.bsky.feed.post","text":"Hello\n\nhttps://example.org/a?b=c","facets":[{"index":{"byteStart":7,"byteEnd":32},"features":[{"$type":"app.bsky.richtext.facet#link","uri":"https://example.org/a?b=c"}]}],"reply":{"root":{"uri":"at://did:plc:3/app.bsky.feed.post/3kaaa","cid":"bafyroot"},"parent":{"uri":"at://did:plc:2/app.bsky.feed.post/3kabc","cid":"bafyparent"}},"embed":{"$type":"app.bsky.embed.images","images":[{"image":{"$type":"blob","mimeType":"image/png","ref":{"$link":"bafkcat"},"size":6},"alt":"a cat","aspectRatio":{"width":640,"height":480}},{"image":{"$type":"blob","mimeType":"image/png","ref":{"$link":"bafkcat"},"size":6},"alt":""}]},"createdAt":"2026-03-01T09:30:00.250Z"},"swapRecord":null}
    "#);
}

#[tokio::test]
async fn a_link_is_a_card_and_the_text_is_marked_up() {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let (account, secret) = (responder.account(), SecretString::from(SECRET));
    let text = "Grüße: https://example.org/x #rust".to_owned();
    let post = Outgoing { text, link: Some(link()), ..post() };
    let ready = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    assert_eq!(ready, Preparation::Ready(Prepared::NOTHING), "nothing is needed");
    responder.answer_with(Reply::new(200, r#"{"uri":"at://did:plc:1/c/k","cid":"x"}"#));
    client.commit(account.with(&secret), &post, &Prepared::NOTHING).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /xrpc/com.atproto.repo.putRecord
    authorization: Bearer [secret]
    content-type: application/json

    {"repo":"alice","collection":"app.bsky.feed.post","rkey":"3mfygiomvtf5u","record":{"$type":"app.bsky.feed.post","text":"Grüße: https://example.org/x #rust","facets":[{"index":{"byteStart":9,"byteEnd":30},"features":[{"$type":"app.bsky.richtext.facet#link","uri":"https://example.org/x"}]},{"index":{"byteStart":31,"byteEnd":36},"features":[{"$type":"app.bsky.richtext.facet#tag","tag":"rust"}]}],"embed":{"$type":"app.bsky.embed.external","external":{"uri":"https://example.org/a?b=c","title":"A page","description":""}},"createdAt":"2026-03-01T09:30:00.250Z"},"swapRecord":null}
    "#);
}

#[tokio::test]
async fn what_cannot_be_prepared_is_refused_before_anything_leaves() {
    let responder = Responder::start().await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = BlueskyClient::new(&options, SystemClock::shared()).unwrap();
    let (account, secret) = (responder.account(), SecretString::from(SECRET));
    for id in
        ["3kabc", "https://bsky.app/profile/a/post/3kabc", "at://did:plc:2/app.bsky.feed.like/3k"]
    {
        let reply = Outgoing { reply_to: Some(id.into()), ..post() };
        let refused =
            client.prepare(account.with(&secret), &reply, Prepared::NOTHING).await.unwrap_err();
        assert_eq!(refused.class(), INVALID, "{id}");
    }
    assert_eq!(responder.take_requests(), "", "nothing was sent");
}

#[test]
fn uploads_are_made_anew_before_the_server_may_clear_them_away() {
    let post = Outgoing { images: vec![image(""), image("")], ..post() };
    let at = |minutes: u64| SystemClock.now().before(Duration::from_secs(60 * minutes));
    let upload = |minutes| Upload { blob: Value::Null, at: at(minutes) };
    let held = |uploads| Held { uploads, ..Held::default() };
    let now = SystemClock.now();
    assert_eq!(held(vec![]).lacks(&post, now), Some(0));
    assert_eq!(held(vec![upload(4)]).lacks(&post, now), Some(1));
    assert_eq!(held(vec![upload(6), upload(0)]).lacks(&post, now), Some(0));
    assert_eq!(held(vec![upload(4), upload(0)]).lacks(&post, now), None);
    let mut renewed = held(vec![upload(6), upload(0)]);
    renewed.add(0, upload(0));
    assert_eq!((renewed.uploads.len(), renewed.lacks(&post, now)), (2, None));
    let kept = Prepared::of(&renewed).unwrap();
    assert_eq!(kept.read::<Held>().unwrap(), Some(renewed));
    assert_eq!(Prepared::of(&Held::default()).unwrap(), Prepared::NOTHING);
}

#[test]
fn what_bluesky_takes_is_what_its_lexicons_say() {
    let most = Most {
        text: (300, "graphemes"),
        images: 4,
        kinds: &ImageKind::ALL,
        bytes: 1_000_000,
        alt: (2_000, "characters"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let said = |text| Draft { text, ..Draft::default() };
    let family = "👨‍👩‍👧‍👦";
    let (accents, light) = ("e\u{301}".repeat(300), family.repeat(120));
    for text in [&accents, &light] {
        assert_eq!(DESCRIPTOR.limits.check("bluesky", &said(text)), Ok(()));
    }
    let (heavy, long) = (family.repeat(121), "x".repeat(280));
    let link = Some("https://example.org/page");
    assert_eq!(DESCRIPTOR.limits.check("bluesky", &Draft { link, ..said(&long) }), Ok(()));
    for (draft, expected) in [
        (said(&heavy), "the text has 3025 bytes; bluesky takes at most 3000"),
        (
            Draft { text: &long, link, ..shows(vec![image_of(ImageKind::Png)]) },
            "the text with the link's address has 306 graphemes; bluesky takes at most 300",
        ),
    ] {
        let (field, words) = refused(&DESCRIPTOR, &draft);
        assert_eq!((field.as_str(), words.as_str()), ("/text", expected));
    }
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
        let sent = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await;
        let error = sent.unwrap_err();
        assert_eq!(error.class(), INVALID, "{host}");
        assert!(error.to_string().contains("POSTWORKS_ALLOW_LOOPBACK=1"), "{error}");
    }
    assert_eq!(responder.take_requests(), "", "nothing was sent");
}

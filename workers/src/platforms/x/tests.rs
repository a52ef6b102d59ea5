//! What the X client sends, and what it makes of each answer. That X's own document permits what it
//! sends is tested in `tests/it/contract_real_x.rs`.

mod images;
mod refusals;
mod tokens;

use postworks::clock::{Clock as _, SystemClock};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::responder::{Reply, Responder, SECRET, post, published as put};
use crate::platforms::{Draft, Image, Link, NetworkPolicy, Others};

const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

fn problem(name: &str, detail: &str) -> Value {
    let kind = match name {
        "" => "about:blank".to_owned(),
        name => format!("https://api.x.com/2/problems/{name}"),
    };
    json!({ "type": kind, "title": "A title", "detail": detail })
}

fn coded(code: u64) -> Value {
    json!({ "errors": [{ "code": code, "message": "words" }] })
}

fn client() -> XClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    XClient::new(&options, SystemClock::shared()).unwrap()
}

fn known(responder: &Responder) -> Account {
    Account { remote_id: Some("2244994945".into()), ..responder.account() }
}

fn image(kind: ImageKind, alt: &str) -> Image {
    Image {
        id: Uuid::nil(),
        kind,
        bytes: (&b"an image"[..]).into(),
        width: 2,
        height: 1,
        alt: alt.into(),
        url: None,
    }
}

fn illustrated() -> Outgoing {
    Outgoing {
        link: Some(Link {
            url: "https://example.org/page".parse().unwrap(),
            title: None,
            description: None,
        }),
        images: vec![image(ImageKind::Png, "A chart"), image(ImageKind::Jpeg, "")],
        reply_to: Some("1346889436626259968".into()),
        ..post()
    }
}

#[tokio::test]
async fn a_post_is_sent_with_all_that_it_has() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(201, r#"{"data":{"id":"17","text":"Hello"}}"#));
    let sent = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap();
    let there = put(sent);
    assert_eq!(there.remote_id, "17");
    assert_eq!(there.remote_url.as_deref(), Some("https://x.com/i/web/status/17"));

    let upload =
        |id| json!({ "id": id, "ends": "2026-03-01T09:30:00Z", "ready": true, "described": true });
    let prepared = Prepared(json!({ "media": [upload("7"), upload("8")] }));
    client.commit(account.with(&secret), &illustrated(), &prepared).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /2/tweets
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello"}

    POST /2/tweets
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello\n\nhttps://example.org/page","media":{"media_ids":["7","8"]},"reply":{"in_reply_to_tweet_id":"1346889436626259968"}}
    "#);
}

#[tokio::test]
async fn a_success_without_a_post_leaves_it_unknown() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    for body in [r#"{"errors":[{"title":"Internal Error","type":"about:blank"}]}"#, "{}", ""] {
        responder.answer_with(Reply::new(201, body));
        let error = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await;
        assert_eq!(error.unwrap_err().class(), UNKNOWN, "{body}");
    }
}

#[tokio::test]
async fn a_text_that_the_account_has_already_is_not_an_error() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let said = "You are not allowed to create a Tweet with duplicate content.";
    for body in [problem("", said), coded(187)] {
        responder.answer_with(Reply::new(403, body.to_string()));
        let sent = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap();
        assert_eq!(sent, Committed::AlreadyThere { remote_id: None });
    }
}

/// What reconciling says of a post of this text, which may be from when the vendor's example of an answer
/// is from.
async fn reconciled(text: &str, reply_to: Option<&str>, body: &str, others: &Others) -> Reconciled {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, body));
    let post = Outgoing { text: text.into(), reply_to: reply_to.map(str::to_owned), ..post() };
    let [since, until] = ["2021-01-06T18:20:00Z", "2021-01-06T18:45:00Z"];
    let sought = Sought::alone(since.parse().unwrap(), until.parse().unwrap());
    let sought = Sought { others, ..sought };
    client.reconcile(account.with(&secret), &post, &Prepared::NOTHING, sought).await.unwrap()
}

#[tokio::test]
async fn a_post_is_known_by_its_text_in_one_listing() {
    let all = include_str!("fixtures/timeline.json");
    let no_more = &all.replace("next_token", "other_token");
    let asked = async |text, reply_to| reconciled(text, reply_to, no_more, Others::NONE).await;
    let alike = |id: &str| Reconciled::Alike(published(id.to_owned()));
    let long = "Learn how to use the user Tweet timeline & more in the X API v2\n\
                https://developer.example/docs/timelines/";
    assert_eq!(asked(long, None).await, alike("1346889436626259968"));
    assert_eq!(asked("A picture of it", None).await, alike("1346887277104820224"));
    let first = Some("1346885000000000000");
    assert_eq!(asked("Thanks", first).await, alike("1346886000000000000"));
    assert_eq!(asked("@someone Thanks", first).await, alike("1346886000000000000"));
    // Another answer, or one further down in that conversation, which X does not tell.
    for (text, reply_to) in [("Thanks", Some("1")), ("Thanks", None), ("Something else", None)] {
        let told = asked(text, reply_to).await;
        assert!(matches!(told, Reconciled::Unsure(_)), "{text}: {told:?}");
    }
    let ids = ["1346889436626259968", "1346887277104820224", "1346886000000000000"];
    let others = Others { ids: ids.map(str::to_owned).into(), texts: Vec::new() };
    let told = reconciled("Something else", None, no_more, &others).await;
    assert_eq!(told, Reconciled::Absent, "all of these are other publications'");
    let told = reconciled("Something else", None, all, &others).await;
    assert!(matches!(told, Reconciled::Unsure(_)), "there are more: {told:?}");
    let nobody = r#"{"meta":{"result_count":0}}"#;
    assert_eq!(reconciled("Hello", None, nobody, Others::NONE).await, Reconciled::Absent);
}

#[tokio::test]
async fn what_an_account_has_is_read_as_x_documents_it() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/timeline.json")));
    let page = client.posts(account.with(&secret), Some("7140dib")).await.unwrap();
    let texts: Vec<&str> = page.posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Learn how to use the user Tweet timeline & more in the X API v2 \
             https://developer.example/docs/timelines",
            "A picture of it",
            "@someone Thanks"
        ]
    );
    assert_eq!(page.posts[0].created_at, Some("2021-01-06T18:40:40Z".parse().unwrap()));
    assert_eq!(page.next.as_deref(), Some("7140dibdnow9c7btw3w29gqolns6a96fc2vzb6fnhrg4u"));

    // One as the guides name the numbers, one as the OpenAPI document does.
    let numbered = json!({
        "data": [
            { "id": "1", "public_metrics": { "retweet_count": 7, "reply_count": 3, "like_count": 38,
                "quote_count": 1, "bookmark_count": 2, "impression_count": 1_250 } },
            { "id": "2", "public_metrics": { "repost_count": 1, "reply_count": 0, "like_count": 0,
                "quote_count": 0, "bookmark_count": 0, "impression_count": 9 } }
        ],
        "errors": [{ "resource_id": "3", "title": "Not Found Error",
            "type": "https://api.x.com/2/problems/resource-not-found", "detail": "Could not find" }]
    });
    responder.answer_with(Reply::new(200, numbered.to_string()));
    let ids = ["1", "2", "3"].map(str::to_owned);
    let numbers = client.numbers(account.with(&secret), &ids).await.unwrap();
    let of = |likes, reposts, replies, views| Numbers {
        likes: Some(likes),
        reposts: Some(reposts),
        replies: Some(replies),
        views: Some(views),
    };
    assert_eq!(numbers, [("1".into(), of(38, 7, 3, 1_250)), ("2".into(), of(0, 1, 0, 9))]);

    let me = r#"{"data":{"id":"2244994945","name":"X Dev","username":"XDevelopers",
        "description":"The voice","public_metrics":{"followers_count":513868}}}"#;
    responder.answer_with(Reply::new(200, me));
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("X Dev"));
    assert_eq!(profile.followers, Some(513_868));

    responder.answer_with(Reply::new(200, r#"{"meta":{"result_count":0}}"#));
    let sought = Sought::alone(post().created_at, post().created_at);
    client.reconcile(account.with(&secret), &post(), &Prepared::NOTHING, sought).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /2/users/2244994945/tweets?exclude=retweets&tweet.fields=created_at%2Cconversation_id%2Centities&max_results=50&pagination_token=7140dib
    authorization: Bearer [secret]



    GET /2/tweets?ids=1%2C2%2C3&tweet.fields=public_metrics
    authorization: Bearer [secret]



    GET /2/users/me?user.fields=description%2Cpublic_metrics
    authorization: Bearer [secret]



    GET /2/users/2244994945/tweets?exclude=retweets&tweet.fields=created_at%2Cconversation_id%2Centities&max_results=100&start_time=2026-03-01T09%3A29%3A00Z
    authorization: Bearer [secret]
    ");
}

#[test]
fn what_x_does_not_take_is_refused_before_it_sees_it() {
    let most = Most {
        text: (280, "characters as X counts them"),
        images: 4,
        kinds: &ImageKind::ALL,
        bytes: 5_242_880,
        alt: (1_000, "characters"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let (text, link) = ("x".repeat(258), Some("https://example.org/a/long/one"));
    let (field, words) = refused(&DESCRIPTOR, &Draft { text: &text, link, ..Draft::default() });
    assert_eq!(field, "/text");
    assert_eq!(
        words,
        "the text with the link's address has 283 characters as X counts them; x takes at most 280"
    );
    let wordless = Draft { text: "", ..shows(vec![image_of(ImageKind::Webp); 4]) };
    assert_eq!(DESCRIPTOR.limits.check("x", &wordless), Ok(()), "images need no text");
    let among_others = shows(vec![image_of(ImageKind::Png), image_of(ImageKind::Gif)]);
    let (field, words) = refused(&DESCRIPTOR, &among_others);
    assert_eq!(field, "/images/1");
    assert_eq!(words, "image 2 is a GIF; x takes one only as the one image of a post");
}

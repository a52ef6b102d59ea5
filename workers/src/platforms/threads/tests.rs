//! What the client of Threads sends, and what it makes of answers that are made after those that
//! Meta's pages print. How containers live is tested with Instagram's.

use postworks::clock::SystemClock;
use postworks::job::ErrorClass;
use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::platforms::http::HttpOptions;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::meta::testing::{image, link, oauth, prepare, ready, sent};
use crate::platforms::oauth::Consent;
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{
    Account, Draft, NetworkPolicy, Outgoing, Platform as _, Prepared, Reconciled, Sought,
};

const FINISHED: &str = r#"{"status":"FINISHED","id":"17889615691921648"}"#;
const PERMALINK: &str =
    r#"{"permalink":"https://www.threads.net/@threadsapitestuser/post/abcdefg","id":"1234567"}"#;

fn client() -> ThreadsClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    ThreadsClient::new(&options, SystemClock::shared()).unwrap()
}

fn account(responder: &Responder) -> Account {
    Account { remote_id: Some("1234567".into()), ..responder.account() }
}

fn id(id: &str) -> Reply {
    Reply::new(200, format!(r#"{{"id":"{id}"}}"#))
}

#[tokio::test]
async fn a_text_an_answer_and_images_are_containers_first() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let images = vec![image(ImageKind::Png, "A cat")];
    let posts = [
        Outgoing { link: Some(link()), ..post() },
        Outgoing { reply_to: Some("7654321".into()), ..post() },
        Outgoing { images, text: String::new(), ..post() },
    ];
    for post in &posts {
        responder.answer_in_turn([
            id("17889615691921648"),
            Reply::new(200, FINISHED),
            id("1234567"),
            Reply::new(200, PERMALINK),
        ]);
        let client = client();
        let asked = prepare(&client, &account, &secret, post, Prepared::NOTHING).await.unwrap();
        let committed = client.commit(account.with(&secret), post, &ready(asked)).await.unwrap();
        let made = published(committed);
        assert_eq!((made.remote_id.as_str(), made.remote_url), ("1234567", None));
        let address = client.address(account.with(&secret), &made.remote_id).await.unwrap();
        assert!(address.unwrap().ends_with("/post/abcdefg"));
    }
    let asked_for = sent(&responder);
    let text = asked_for.split("\n\nPOST /v1.0/1234567/threads\n").next().unwrap();
    insta::assert_snapshot!(text, @r"
    POST /v1.0/1234567/threads
    content-type: application/x-www-form-urlencoded

    media_type=TEXT&text=Hello%0A%0Ahttps%3A%2F%2Fexample.org%2Fpage&access_token=[secret]

    GET /v1.0/17889615691921648?fields=status%2Cerror_message&access_token=[secret]

    POST /v1.0/1234567/threads_publish
    content-type: application/x-www-form-urlencoded

    creation_id=17889615691921648&access_token=[secret]

    GET /v1.0/1234567?fields=permalink&access_token=[secret]
    ");
    let made: Vec<&str> =
        asked_for.lines().filter(|line| line.starts_with("media_type")).skip(1).collect();
    assert_eq!(
        made,
        [
            "media_type=TEXT&text=Hello&reply_to_id=7654321&access_token=[secret]",
            "media_type=IMAGE&image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fpng&alt_text=A+cat&access_token=[secret]",
        ]
    );
}

#[tokio::test]
async fn several_images_are_a_carousel() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let images = vec![image(ImageKind::Png, "A cat"), image(ImageKind::Jpeg, "")];
    let post = Outgoing { images, ..post() };
    let finished = || Reply::new(200, FINISHED);
    responder.answer_in_turn([id("1"), id("2"), finished(), finished(), id("3"), finished()]);
    let asked = prepare(&client(), &account, &secret, &post, Prepared::NOTHING).await.unwrap();
    responder.answer_with(id("1234567"));
    let made = client().commit(account.with(&secret), &post, &ready(asked)).await.unwrap();
    assert_eq!(published(made).remote_id, "1234567");
    insta::assert_snapshot!(sent(&responder), @r"
    POST /v1.0/1234567/threads
    content-type: application/x-www-form-urlencoded

    media_type=IMAGE&image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fpng&alt_text=A+cat&is_carousel_item=true&access_token=[secret]

    POST /v1.0/1234567/threads
    content-type: application/x-www-form-urlencoded

    media_type=IMAGE&image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fjpg&is_carousel_item=true&access_token=[secret]

    GET /v1.0/1?fields=status%2Cerror_message&access_token=[secret]

    GET /v1.0/2?fields=status%2Cerror_message&access_token=[secret]

    POST /v1.0/1234567/threads
    content-type: application/x-www-form-urlencoded

    media_type=CAROUSEL&children=1%2C2&text=Hello&access_token=[secret]

    GET /v1.0/3?fields=status%2Cerror_message&access_token=[secret]

    POST /v1.0/1234567/threads_publish
    content-type: application/x-www-form-urlencoded

    creation_id=3&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_container_that_failed_says_why() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let failed =
        r#"{"status":"ERROR","id":"17889615691921648","error_message":"FAILED_DOWNLOADING_VIDEO"}"#;
    responder.answer_in_turn([id("17889615691921648"), Reply::new(200, failed)]);
    let asked = prepare(&client(), &account, &secret, &post(), Prepared::NOTHING).await;
    let error = asked.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("FAILED_DOWNLOADING_VIDEO"), "{error}");
}

#[tokio::test]
async fn an_answer_is_looked_for_among_answers() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let prepared =
        Prepared(serde_json::json!({ "container": "1", "made_at": "2026-03-01T09:30:00Z" }));
    let at = "2026-03-01T09:30:30Z".parse().unwrap();
    let sought = Sought::alone(at, at);
    let answer = Outgoing { reply_to: Some("7654321".into()), ..post() };
    for post in [post(), answer] {
        responder.answer_in_turn([
            Reply::new(200, r#"{"status":"PUBLISHED","id":"1"}"#),
            Reply::new(200, include_str!("fixtures/threads.json")),
        ]);
        let found =
            client().reconcile(account.with(&secret), &post, &prepared, sought).await.unwrap();
        let Reconciled::Alike(published) = found else { panic!("{found:?}") };
        assert_eq!(published.remote_id, "1234567");
    }
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v1.0/1?fields=status%2Cerror_message&access_token=[secret]

    GET /v1.0/1234567/threads?fields=id%2Ctext%2Ctimestamp&limit=25&access_token=[secret]

    GET /v1.0/1?fields=status%2Cerror_message&access_token=[secret]

    GET /v1.0/1234567/replies?fields=id%2Ctext%2Ctimestamp&limit=25&access_token=[secret]
    ");
}

#[tokio::test]
async fn posts_numbers_and_the_account_are_read() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/threads.json")));
    let page = client().posts(account.with(&secret), None).await.unwrap();
    assert_eq!((page.posts.len(), page.next.as_deref()), (2, Some("AFTER_CURSOR")));
    assert_eq!(page.posts[1].created_at, Some("2024-09-12T23:17:39Z".parse().unwrap()));

    let gone = r#"{"error":{"message":"Unsupported get request.","type":"THApiException","code":100,"error_subcode":33}}"#;
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v1.0/1234567/threads?fields=id%2Ctext%2Ctimestamp&limit=25&access_token=[secret]
    ");
    responder.answer_in_turn([
        Reply::new(200, include_str!("fixtures/insights.json")),
        Reply::new(400, gone),
    ]);
    let ids = ["1234567".to_owned(), "1".to_owned()];
    let numbers = client().numbers(account.with(&secret), &ids).await.unwrap();
    let first = Numbers { likes: Some(9), reposts: Some(1), replies: Some(2), views: Some(100) };
    assert_eq!(numbers, [("1234567".to_owned(), first)], "the other one is gone");
    let person = r#"{"id":"1234567","username":"threadsapitestuser","name":"Threads API Test User","threads_biography":"Testing Threads API"}"#;
    responder.answer_with(Reply::new(200, person));
    let profile = client().profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Threads API Test User"));
    assert_eq!(profile.description.as_deref(), Some("Testing Threads API"));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v1.0/1234567/insights?metric=views%2Clikes%2Creplies%2Creposts&access_token=[secret]

    GET /v1.0/1/insights?metric=views%2Clikes%2Creplies%2Creposts&access_token=[secret]

    GET /v1.0/me?fields=name%2Cusername%2Cthreads_biography&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_consent_becomes_a_token_of_sixty_days_that_renews_itself() {
    let responder = Responder::start().await;
    let oauth = oauth(&DESCRIPTOR, &responder);
    let long = r#"{"access_token":"s3cr3t-long","token_type":"bearer","expires_in":5183944}"#;
    responder.answer_in_turn([
        Reply::new(200, r#"{"access_token":"s3cr3t-short","user_id":17841405793187218}"#),
        Reply::new(200, long),
        Reply::new(200, r#"{"id":"1234567","username":"threadsapitestuser"}"#),
    ]);
    let (code, verifier) = (SecretString::from("the-code"), SecretString::from(SECRET));
    let redirect_uri = "https://app.example/api/oauth/threads/callback";
    let consent = Consent { code: &code, verifier: &verifier, redirect_uri, target: None };
    let granted = client().exchange_code(&oauth, consent).await.unwrap();
    assert_eq!(granted.tokens.refresh.unwrap().expose_secret(), "s3cr3t-long");
    assert_eq!(granted.tokens.remote_id.as_deref(), Some("1234567"));
    assert_eq!(granted.name.as_deref(), Some("threadsapitestuser"));

    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, long));
    let set = client().refresh(&account, &secret).await.unwrap();
    assert_eq!(set.access.expose_secret(), "s3cr3t-long");
    insta::assert_snapshot!(sent(&responder), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the-code&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fthreads%2Fcallback&client_id=us&client_secret=0ur-s3cret

    GET /token/access_token?grant_type=th_exchange_token&access_token=s3cr3t-short&client_secret=0ur-s3cret

    GET /token/v1.0/me?fields=id%2Cusername&access_token=s3cr3t-long

    GET /refresh_access_token?grant_type=th_refresh_token&access_token=[secret]
    ");

    // A token that a person pasted.
    let who = Reply::new(200, r#"{"id":"1234567","username":"threadsapitestuser"}"#);
    responder.answer_in_turn([Reply::new(200, long), who]);
    let set = client().sign_in(&account, &secret).await.unwrap();
    assert_eq!(set.remote_id.as_deref(), Some("1234567"));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /refresh_access_token?grant_type=th_refresh_token&access_token=[secret]

    GET /v1.0/me?fields=id%2Cusername&access_token=s3cr3t-long
    ");

    let used = r#"{"error_type":"OAuthException","code":400,"error_message":"Matching code was not found or was already used"}"#;
    responder.answer_with(Reply::new(400, used));
    let error = client().exchange_code(&oauth, consent).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(error.to_string().contains("already used"), "{error}");
}

/// Those that stand by themselves in blocks of other characters.
#[test]
fn an_emoji_counts_its_bytes_wherever_unicode_has_it() {
    for emoji in "©®‼⁉™ℹ↔↙↩↪⌚Ⓜ▪▫▶◀◻◾☀✂⤴⤵⬅⭐〰〽㊗㊙🀄🎉🫠".chars()
    {
        for text in [emoji.to_string(), format!("{emoji}\u{fe0f}")] {
            assert_eq!(length(&text), text.len(), "{text}");
        }
    }
    for text in ["1\u{fe0f}\u{20e3}", "👩🏽\u{200d}🚀", "🇩🇪", "🏴\u{e0067}\u{e007f}"]
    {
        assert_eq!(length(text), text.len(), "{text}");
    }
    assert_eq!(length("ü → ≤ 東"), 7, "what is none counts one");
}

#[test]
fn what_threads_would_not_take_is_refused_with_its_limit() {
    let most = Most {
        text: (500, "characters (an emoji counts its bytes)"),
        images: 20,
        kinds: &[ImageKind::Jpeg, ImageKind::Png],
        bytes: 8_000_000,
        alt: (1_000, "characters"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let said = |text, link| Draft { text, link, ..Draft::default() };
    let (umlauts, parties, party) = ("ü".repeat(500), "🎉".repeat(125), "🎉".repeat(126));
    for text in [&umlauts, &parties] {
        assert_eq!(DESCRIPTOR.limits.check("threads", &said(text, None)), Ok(()));
    }
    let link = Some("https://example.org/page");
    let hidden = Draft { is_public: false, ..shows(vec![image_of(ImageKind::Png)]) };
    for (draft, field, says) in [
        (said(&party, None), "/text", "has 504 characters (an emoji counts its bytes)"),
        (said(&umlauts, link), "/text", "the text with the link's address has 526 characters"),
        (hidden, "/images/0", "set api.public_url"),
    ] {
        let (of, words) = refused(&DESCRIPTOR, &draft);
        assert_eq!(of, field);
        assert!(words.contains(says), "{words}");
    }
}

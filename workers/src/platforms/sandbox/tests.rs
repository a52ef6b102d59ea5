//! What the sandbox's client sends, and what it makes of each answer.

use std::time::Duration;

use postworks::clock::{Clock, SystemClock};
use postworks::config::{Config, Sources};
use postworks::job::{Category, ErrorClass, JobError};
use secrecy::SecretString;

use super::*;
use crate::platforms::http::Timeouts;
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{self, NetworkPolicy};

const TRANSIENT: ErrorClass = ErrorClass::Transient;
const REPEATABLE: ErrorClass = ErrorClass::Unknown { repeatable: true };
const UNREPEATABLE: ErrorClass = ErrorClass::Unknown { repeatable: false };

fn client(descriptor: &'static Descriptor) -> SandboxClient {
    let timeouts = Timeouts { total: Duration::from_secs(10), ..Timeouts::default() };
    // No policy is needed: the sandbox is local.
    let options = HttpOptions::new(NetworkPolicy::default()).with_timeouts(timeouts);
    SandboxClient::new(descriptor, &options, SystemClock::shared()).unwrap()
}

fn secret() -> SecretString {
    SECRET.into()
}

/// The class of one step's failure, and its message, which must not hold the secret.
async fn failure(responder: &Responder, client: &SandboxClient, step: Step) -> JobError {
    let (account, secret) = (responder.account(), secret());
    let error = match step {
        Step::SignIn => client.sign_in(&account, &secret).await.unwrap_err(),
        Step::Refresh => client.refresh(&account, &secret).await.unwrap_err(),
        Step::Publish => {
            client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap_err()
        }
        Step::Read => client.posts(account.with(&secret), None).await.unwrap_err(),
        Step::Upload => panic!("the sandbox takes no uploads"),
        Step::Revoke => panic!("the sandbox takes nothing back"),
    };
    for text in [error.chain(), format!("{error:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
    error
}

#[tokio::test]
async fn a_publish_carries_the_key_and_the_reference_of_its_kind_of_platform() {
    let responder = Responder::start().await;
    responder.answer_with(Reply::new(201, r#"{"id":"p/1"}"#));
    for descriptor in [&SANDBOX, &SANDBOX_LOOKUP, &SANDBOX_BLIND] {
        let (client, account) = (client(descriptor), responder.account());
        let answer = client.commit(account.with(&secret()), &post(), &Prepared::NOTHING).await;
        let published = published(answer.unwrap());
        assert_eq!(published.remote_id, "p/1");
        assert_eq!(published.remote_url, Some(format!("{}posts/p%2F1", responder.url)));
    }
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /posts
    authorization: Bearer [secret]
    content-type: application/json
    idempotency-key: 0198f2a0-7c3e-7000-8000-000000000001

    {"text":"Hello","client_ref":"0198f2a0-7c3e-7000-8000-000000000001"}

    POST /posts
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello","client_ref":"0198f2a0-7c3e-7000-8000-000000000001"}

    POST /posts
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello"}
    "#);
}

#[tokio::test]
async fn tokens_come_from_the_refresh_grant() {
    let responder = Responder::start().await;
    let answer =
        r#"{"access_token":"a2","refresh_token":"r2","expires_in":60,"token_type":"bearer"}"#;
    responder.answer_with(Reply::new(200, answer));
    let before = SystemClock.now();
    let tokens = client(&SANDBOX).sign_in(&responder.account(), &secret()).await.unwrap();
    assert_eq!(tokens.access.expose_secret(), "a2");
    assert_eq!(tokens.refresh.as_ref().unwrap().expose_secret(), "r2");
    let life = tokens.expires_at.unwrap().since(before);
    assert!(life >= Duration::from_secs(60) && life < Duration::from_secs(70), "{life:?}");
    assert!(!format!("{tokens:?}").contains("r2"));
    insta::assert_snapshot!(responder.take_requests(), @r"
    POST /oauth/token
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]
    ");
}

#[tokio::test]
async fn pages_are_asked_for_with_the_cursor_and_read_newest_first() {
    let responder = Responder::start().await;
    let items = r#"{"items":[
        {"id":"2","text":"b","created_at":"2026-03-01T09:30:00Z","client_ref":null},
        {"id":"1","text":"a","created_at":"long ago"}],"next":"1"}"#;
    responder.answer_with(Reply::new(200, items));
    let client = client(&SANDBOX);
    let account = Account { remote_id: Some("acc 1".into()), ..responder.account() };
    let page = client.posts(account.with(&secret()), Some("7&x")).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("1"));
    assert_eq!(page.posts[0].created_at, Some("2026-03-01T09:30:00Z".parse().unwrap()));
    assert_eq!(page.posts[1].created_at, None, "an odd time does not stop the walk");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /posts?account=acc+1&cursor=7%26x
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn a_post_is_looked_up_by_its_reference() {
    let responder = Responder::start().await;
    let (account, secret, post) = (responder.account(), secret(), post());
    let lookup = client(&SANDBOX_LOOKUP);

    responder.answer_with(Reply::new(200, r#"{"items":[],"next":null}"#));
    let sought = Sought::alone(SystemClock.now(), SystemClock.now());
    let nothing = Prepared::NOTHING;
    let absent = lookup.reconcile(account.with(&secret), &post, &nothing, sought).await.unwrap();
    assert_eq!(absent, Reconciled::Absent);
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /posts?account=alice&client_ref=0198f2a0-7c3e-7000-8000-000000000001
    authorization: Bearer [secret]
    ");

    responder.answer_with(Reply::new(200, r#"{"items":[{"id":"9","text":"Hello"}],"next":null}"#));
    let found = lookup.reconcile(account.with(&secret), &post, &nothing, sought).await.unwrap();
    assert!(matches!(found, Reconciled::There(found) if found.remote_id == "9"));

    let blind = client(&SANDBOX_BLIND);
    let blind = blind.reconcile(account.with(&secret), &post, &nothing, sought).await;
    assert_eq!(blind.unwrap_err().class(), ErrorClass::Invalid);
}

#[tokio::test]
async fn each_answer_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn};
    let error = |name: &str| format!(r#"{{"error":"{name}","message":"m"}}"#);
    let rows: &[(&[Step], u16, String, ErrorClass)] = &[
        (&[Publish, Read], 401, error("token_expired"), ErrorClass::AuthExpired),
        (&[Publish, Read], 401, error("token_revoked"), ErrorClass::AuthRevoked),
        (&[Publish, Read], 401, error("invalid_token"), ErrorClass::AuthExpired),
        (&[SignIn, Refresh], 401, error("invalid_token"), ErrorClass::AuthRevoked),
        (&[Publish, Read], 401, String::new(), ErrorClass::AuthExpired),
        (&[SignIn, Refresh], 400, error("invalid_grant"), ErrorClass::AuthRevoked),
        // Our configuration is wrong, which is no reason to disconnect the account.
        (&[SignIn, Refresh], 401, error("invalid_client"), ErrorClass::Invalid),
        (&[SignIn, Refresh], 400, error("invalid_request"), ErrorClass::Invalid),
        (&[Publish], 400, error("invalid_grant"), ErrorClass::Invalid),
        (&[Publish, Read], 422, error("invalid_field"), ErrorClass::Invalid),
        (&[Publish, Read], 403, error("forbidden"), ErrorClass::Invalid),
        (&[Publish, Read], 404, "not here".into(), ErrorClass::Invalid),
        (&[Publish], 500, error("injected"), REPEATABLE),
        (&[Publish], 503, error("injected"), REPEATABLE),
        (&[Publish], 408, String::new(), REPEATABLE),
        (&[SignIn, Refresh, Read], 500, error("injected"), TRANSIENT),
        (&[SignIn, Refresh, Read], 503, "<html>".into(), TRANSIENT),
        // An answer without its verdict.
        (&[Publish], 201, "{}".into(), REPEATABLE),
        (&[Publish], 200, "<html>".into(), REPEATABLE),
        (&[SignIn, Refresh, Read], 200, "[".into(), TRANSIENT),
        (&[Publish], 201, "x".repeat(1024 * 1024 + 1), REPEATABLE),
        (&[SignIn, Refresh, Read], 200, "x".repeat(1024 * 1024 + 1), ErrorClass::Invalid),
    ];
    let responder = Responder::start().await;
    let client = client(&SANDBOX);
    for (steps, status, body, class) in rows {
        responder.answer_with(Reply::new(*status, body.as_str()));
        for &step in *steps {
            let error = failure(&responder, &client, step).await;
            assert_eq!(error.class(), *class, "{step:?} {status}: {error}");
        }
    }
}

#[tokio::test]
async fn a_lost_publish_is_repeatable_only_with_a_key() {
    let responder = Responder::start().await;
    responder.answer_with(Reply::new(503, ""));
    let classes =
        [(&SANDBOX, REPEATABLE), (&SANDBOX_LOOKUP, UNREPEATABLE), (&SANDBOX_BLIND, UNREPEATABLE)];
    for (descriptor, class) in classes {
        let error = failure(&responder, &client(descriptor), Step::Publish).await;
        assert_eq!(error.class(), class, "{}", descriptor.name);
    }
}

#[tokio::test]
async fn too_many_requests_say_until_when() {
    let responder = Responder::start().await;
    responder.answer_with(Reply::new(429, "").header("retry-after", "120"));
    for step in [Step::SignIn, Step::Refresh, Step::Publish, Step::Read] {
        let before = SystemClock.now();
        let error = failure(&responder, &client(&SANDBOX), step).await;
        let ErrorClass::RateLimited { until, .. } = error.class() else { panic!("{error:?}") };
        assert!(until >= before.after(Duration::from_secs(120)));
        assert_eq!(error.category(), Category::RateLimit);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_named() {
    let responder = Responder::start().await;
    let elsewhere = "https://elsewhere.example/posts";
    let with_code = "https://elsewhere.example/posts?code=abc#token";
    responder.answer_with(Reply::new(307, "").header("location", with_code));
    let error = failure(&responder, &client(&SANDBOX), Step::Publish).await;
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert_eq!(error.to_string(), format!("publishing on sandbox: 307: {elsewhere}"));
}

#[tokio::test]
async fn a_platforms_words_are_passed_on_without_the_secret() {
    let responder = Responder::start().await;
    let body = format!(r#"{{"error":"invalid_grant","error_description":"{SECRET} was used"}}"#);
    responder.answer_with(Reply::new(400, body));
    let error = failure(&responder, &client(&SANDBOX), Step::Refresh).await;
    assert_eq!(
        error.to_string(),
        "getting new tokens from sandbox: 400 invalid_grant: [secret] was used"
    );
}

#[tokio::test]
async fn with_a_profile_tokens_come_from_its_servers_and_posts_go_where_they_went() {
    let (servers, posts) = (Responder::start().await, Responder::start().await);
    let base = &servers.url;
    let text = format!(
        "[platforms.sandbox.oauth]\nauthorize_url = \"{base}a\"\ntoken_url = \"{base}t\"\n\
         client_id = \"us\"\n"
    );
    let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
    let options = HttpOptions::new(NetworkPolicy::default());
    let platforms = platforms::all(&options, &SystemClock::shared(), config.oauth()).unwrap();
    let sandbox = platforms.get("sandbox").unwrap();
    servers.answer_with(Reply::new(200, r#"{"access_token":"a2"}"#));
    posts.answer_with(Reply::new(201, r#"{"id":"p1"}"#));
    let account = posts.account();
    sandbox.sign_in(&account, &secret()).await.unwrap();
    let tokens = sandbox.refresh(&account, &secret()).await.unwrap();
    sandbox.commit(account.with(&tokens.access), &post(), &Prepared::NOTHING).await.unwrap();
    assert_eq!(servers.take_requests().matches("POST /t\n").count(), 2);
    let published = posts.take_requests();
    assert!(published.starts_with("POST /posts\nauthorization: Bearer a2\n"), "{published}");

    servers.answer_with(Reply::new(401, r#"{"error":"invalid_client"}"#));
    let error = sandbox.refresh(&account, &secret()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid, "our fault, and no account's");
}

#[tokio::test]
async fn numbers_and_profiles_are_read_as_the_sandbox_tells_them() {
    let responder = Responder::start().await;
    let (client, account) = (client(&SANDBOX), responder.account());
    let items = r#"{"items":[{"id":"b","likes":1,"reposts":2,"replies":3,"views":4},{"id":"a"}]}"#;
    responder.answer_with(Reply::new(200, items));
    let numbers = client.numbers(account.with(&secret()), &["a".into(), "b".into()]).await.unwrap();
    let all = Numbers { likes: Some(1), reposts: Some(2), replies: Some(3), views: Some(4) };
    assert_eq!(numbers, [("b".to_owned(), all), ("a".to_owned(), Numbers::default())]);
    assert!(responder.take_requests().contains("GET /posts/numbers?ids=a%2Cb"));
    responder.answer_with(Reply::new(200, r#"{"display_name":"Ann","followers":7}"#));
    let profile = client.profile(account.with(&secret())).await.unwrap();
    assert_eq!((profile.display_name.as_deref(), profile.followers), (Some("Ann"), Some(7)));
    assert!(responder.take_requests().starts_with("GET /accounts/"));
}

//! Connecting an account over OAuth, up to the platform: who may begin, and who may come back.
//!
//! Nothing listens where tokens come from: an answer that is taken ends there, with 502. What a real
//! provider makes of one is in `real_connect`.

mod places;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use futures_util::future::join_all;
use postworks::clock::{Clock as _, SharedClock, ShiftedClock};
use postworks::ledger::Db;
use postworks_server::auth::Role;
use serde_json::{Value, json};
use url::Url;

use crate::auth::assert_challenged;
use crate::world::{Answer, World};

/// An API that connects accounts of the sandbox over OAuth, at servers that are not there.
pub(crate) const SETTINGS: &str = r#"
[api]
public_url = "https://app.example/jobs/"
[platforms.sandbox.oauth]
issuer = "https://as.example"
authorize_url = "http://127.0.0.1:1/authorize?prompt=consent"
token_url = "http://127.0.0.1:1/token"
client_id = "postworks"
scopes = ["openid"]
"#;
const START: &str = "/api/oauth/sandbox/start";
const CALLBACK: &str = "/api/oauth/sandbox/callback";
/// What no page, error or log may hold.
const CODE: &str = "c0de-of-ann";

struct House {
    world: World,
    clock: Arc<ShiftedClock>,
    ann: String,
}

/// A browser that has set out.
struct Begun {
    url: Url,
    state: String,
    /// As it is sent back.
    cookie: String,
    /// As it was set.
    set: String,
}

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.keep().join("postworks.db")).await.unwrap();
        db.migrate().await.unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let world = World::guarded_with(db, Arc::clone(&clock) as SharedClock, SETTINGS);
        let ann = key(&world, Role::Producer).await;
        Self { world, clock, ann }
    }

    async fn begin(&self, body: Value) -> Begun {
        let answer =
            self.world.ask_with("POST", START, &[("authorization", &self.ann)], body).await;
        begun(&answer)
    }

    /// Brings an answer as a browser does.
    async fn browse(&self, query: &str, cookie: &str) -> Answer {
        let headers = [("cookie", cookie)];
        let path = format!("{CALLBACK}?{query}");
        self.world.ask_with("GET", &path, &headers, Value::Null).await
    }

    /// Brings an answer as a program does.
    async fn bring(&self, state: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = json!({"state": state, "code": CODE, "session_state": "x"});
        self.world.ask_with("POST", CALLBACK, headers, answer).await
    }

    /// Nothing was used up: whoever began can still come back.
    async fn must_still_be_good(&self, begun: &Begun) {
        let answer = self.bring(&begun.state, &[("authorization", &self.ann)]).await;
        assert_taken(&answer);
        assert!(self.connectors().await.is_empty());
    }

    async fn connectors(&self) -> Vec<Value> {
        let headers = [("authorization", self.ann.as_str())];
        let answer = self.world.ask_with("GET", "/api/connectors", &headers, Value::Null).await;
        answer.body["items"].as_array().unwrap().clone()
    }
}

async fn key(world: &World, role: Role) -> String {
    format!("Bearer {}", world.app.create_api_key(role, None).await.unwrap().key)
}

#[track_caller]
fn begun(answer: &Answer) -> Begun {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.body["expires_in"], 600);
    let url: Url = answer.body["authorize_url"].as_str().unwrap().parse().unwrap();
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    Begun { state: parameters(&url)["state"].clone(), url, cookie, set }
}

fn parameters(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect()
}

/// It got as far as where tokens come from, and nobody is there.
#[track_caller]
fn assert_taken(answer: &Answer) {
    answer.assert_problem(502);
    assert!(answer.body["detail"].as_str().unwrap().contains("anew"), "{}", answer.body);
}

#[track_caller]
fn assert_page(answer: &Answer, status: u16) {
    let html = answer.body.as_str().unwrap();
    assert_eq!(answer.status.as_u16(), status, "{html}");
    let said = |name: &str| answer.headers[name].to_str().unwrap();
    assert_eq!(said("content-type"), "text/html; charset=utf-8");
    assert!(said("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!((said("referrer-policy"), said("cache-control")), ("no-referrer", "no-store"));
    for leads_out in ["http", "src", "href", "<script", "<form", CODE] {
        assert!(!html.contains(leads_out), "{leads_out:?} is in {html}");
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, field: &str) {
    answer.assert_problem(422);
    assert_eq!(answer.fields(), [field], "{}", answer.body);
}

#[tokio::test]
async fn whoever_begins_is_told_where_to_consent_and_gets_a_cookie() {
    let house = House::open().await;
    let begun = house.begin(json!({"reason": "she asked"})).await;
    assert_eq!(begun.url.path(), "/authorize");
    let told = parameters(&begun.url);
    for (name, value) in [
        ("prompt", "consent"),
        ("response_type", "code"),
        ("client_id", "postworks"),
        ("scope", "openid"),
        ("redirect_uri", "https://app.example/jobs/api/oauth/sandbox/callback"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert_eq!((told["state"].len(), told["code_challenge"].len()), (64, 43));
    let words =
        "; Max-Age=600; Path=/jobs/api/oauth/sandbox/callback; HttpOnly; SameSite=Lax; Secure";
    assert!(begun.set.ends_with(words), "{}", begun.set);
    // No two are alike, and two can be under way in one browser.
    let other = house.begin(Value::Null).await;
    assert_ne!(told["state"], other.state);
    assert_ne!(told["code_challenge"], parameters(&other.url)["code_challenge"]);
    let both = format!("{}; theme=dark; {}", begun.cookie, other.cookie);
    for one in [&other, &begun] {
        let answer = house.browse(&format!("state={}&code={CODE}", one.state), &both).await;
        assert_page(&answer, 502);
    }
}

#[tokio::test]
async fn a_state_is_good_once() {
    let house = House::open().await;
    let begun = house.begin(Value::Null).await;
    let query = format!("state={}&code={CODE}", begun.state);
    let by_ann = [("authorization", house.ann.as_str())];
    let by_browser = (0..4).map(|_| house.browse(&query, &begun.cookie));
    let by_program = (0..4).map(|_| house.bring(&begun.state, &by_ann));
    let (browsed, brought) = tokio::join!(join_all(by_browser), join_all(by_program));
    let statuses: Vec<u16> =
        browsed.iter().chain(&brought).map(|answer| answer.status.as_u16()).collect();
    let of = |status| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((of(502), of(422)), (1, 7), "{statuses:?}");
    // Nor is one that the platform refused.
    let begun = house.begin(Value::Null).await;
    let query = format!("state={}&error=access_denied", begun.state);
    for words in ["access_denied", "is used"] {
        let answer = house.browse(&query, &begun.cookie).await;
        assert_page(&answer, 422);
        assert!(answer.body.as_str().unwrap().contains(words), "{}", answer.body);
    }
}

#[tokio::test]
async fn another_users_state_is_refused() {
    let house = House::open().await;
    let begun = house.begin(Value::Null).await;
    let (bob, eve) =
        (key(&house.world, Role::Admin).await, key(&house.world, Role::Readonly).await);
    let bobs = house.world.ask_with("POST", START, &[("authorization", &bob)], Value::Null).await;
    let bobs = self::begun(&bobs);
    assert_refused(&house.bring(&begun.state, &[("authorization", &bob)]).await, "/state");
    // A key that is there must be the one; the cookie does not make up for it.
    let both = [("authorization", bob.as_str()), ("cookie", begun.cookie.as_str())];
    assert_refused(&house.bring(&begun.state, &both).await, "/state");
    house.bring(&begun.state, &[("authorization", &eve)]).await.assert_problem(403);
    assert_challenged(&house.bring(&begun.state, &[("authorization", "Bearer pw_x")]).await);
    assert_challenged(&house.bring(&begun.state, &[]).await);
    // Bob's browser, with what it got for its own.
    let (name, _) = begun.cookie.split_once('=').unwrap();
    let (_, value) = bobs.cookie.split_once('=').unwrap();
    let swapped = format!("{name}={value}");
    let query = format!("state={}&code={CODE}", begun.state);
    assert_page(&house.browse(&query, &bobs.cookie).await, 403);
    assert_page(&house.browse(&query, &swapped).await, 422);
    assert_refused(&house.bring(&begun.state, &[("cookie", &swapped)]).await, "/state");
    house.must_still_be_good(&begun).await;
    house.world.ask("POST", START).await.assert_problem(401);
    house
        .world
        .ask_with("POST", START, &[("authorization", &eve)], Value::Null)
        .await
        .assert_problem(403);
}

#[tokio::test]
async fn a_redirect_that_is_not_ours_is_refused() {
    let house = House::open().await;
    let ann = ("authorization", house.ann.as_str());
    let evil = json!({"redirect_uri": "https://evil.example/"});
    assert_refused(&house.world.ask_with("POST", START, &[ann], evil).await, "/redirect_uri");
    // Whatever a request says of where it arrived.
    let names = [
        ann,
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "host=evil.example"),
        ("origin", "https://evil.example"),
    ];
    let begun = begun(&house.world.ask_with("POST", START, &names, Value::Null).await);
    let told = parameters(&begun.url);
    assert_eq!(told["redirect_uri"], "https://app.example/jobs/api/oauth/sandbox/callback");
    // It comes back where it was sent, for the platform that it was begun for.
    let elsewhere = "/api/oauth/sandbox_blind/callback";
    let answer = json!({"state": begun.state, "code": CODE});
    house.world.ask_with("POST", elsewhere, &[ann], answer).await.assert_problem(404);
    house.must_still_be_good(&begun).await;
}

#[tokio::test]
async fn a_callback_without_the_cookie_connects_nobody() {
    let house = House::open().await;
    let begun = house.begin(Value::Null).await;
    let query = format!("state={}&code={CODE}", begun.state);
    let (name, value) = begun.cookie.split_once('=').unwrap();
    for cookie in
        [String::new(), "theme=dark".to_owned(), format!("{name}x={value}"), value.to_owned()]
    {
        assert_page(&house.browse(&query, &cookie).await, 403);
    }
    assert_page(&house.browse(&query, &format!("{name}={}", &value[1..])).await, 422);
    // A key is none: browsers are not told ours.
    let path = format!("{CALLBACK}?{query}");
    let by_key = [("authorization", house.ann.as_str())];
    assert_page(&house.world.ask_with("GET", &path, &by_key, Value::Null).await, 403);
    let with = [("cookie", begun.cookie.as_str())];
    let looked = house.world.ask_with("HEAD", &path, &with, Value::Null).await;
    assert_eq!(looked.status, StatusCode::METHOD_NOT_ALLOWED);
    house.must_still_be_good(&begun).await;
}

#[tokio::test]
async fn the_page_of_the_callback_tells_no_secret() {
    let house = House::open().await;
    let verifier_of = |begun: &Begun| parameters(&begun.url)["code_challenge"].clone();
    let script = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for (answer, status, words) in [
        (format!("code={CODE}"), 502, "sandbox"),
        (
            format!("error={script}&error_description=no%26%22%27{script}&code={CODE}"),
            422,
            "&lt;script",
        ),
        (format!("code={CODE}&code={CODE}"), 422, "twice"),
        (format!("code={CODE}&iss=https://evil.example/{CODE}"), 422, "another server"),
        (format!("code={}", "x".repeat(5_000)), 422, "4096"),
        ("code=".to_owned(), 422, "must be there"),
        (String::new(), 422, "must be there"),
        (format!("code={}", "x".repeat(20_000)), 414, "longer"),
    ] {
        let begun = house.begin(Value::Null).await;
        let page = house.browse(&format!("state={}&{answer}", begun.state), &begun.cookie).await;
        if words != "another server" {
            assert_page(&page, status);
        }
        let html = page.body.as_str().unwrap();
        assert!(html.contains(words), "{words:?} is not in {html}");
        let (_, cookie) = begun.cookie.split_once('=').unwrap();
        for secret in [begun.state.as_str(), cookie, CODE, &verifier_of(&begun)] {
            assert!(!html.contains(secret), "{secret:?} is in {html}");
        }
    }
    for query in ["", "state=", "state=x&code=y", "%00=%ff", "code=1"] {
        assert_page(&house.browse(query, "a=b").await, 403);
    }
}

#[tokio::test]
async fn a_state_of_yesterday_is_refused() {
    let house = House::open().await;
    let (begun, other) = (house.begin(Value::Null).await, house.begin(Value::Null).await);
    house.clock.advance(Duration::from_secs(24 * 3_600));
    let query = format!("state={}&code={CODE}", begun.state);
    assert_page(&house.browse(&query, &begun.cookie).await, 422);
    let by_ann = [("authorization", house.ann.as_str())];
    assert_refused(&house.bring(&other.state, &by_ann).await, "/state");
    let left = house.world.node.store.prune_oauth_states(house.clock.now(), 9, true).await;
    assert_eq!(left.unwrap(), 2, "a cleanup takes them");
    // Nor one that nobody ever began.
    assert_refused(&house.bring(&"0".repeat(64), &by_ann).await, "/state");
    assert_refused(&house.bring("", &by_ann).await, "/state");
}

//! What the OAuth client sends, and what it makes of each answer.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postworks::clock::{Clock as _, SystemClock};
use postworks::config::{Config, Sources};
use postworks::job::Category;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;
use crate::platforms::NetworkPolicy;
use crate::platforms::responder::{Reply, Responder, SECRET};
use crate::platforms::sandbox::SANDBOX;

const REDIRECT: &str = "https://app.example/api/oauth/sandbox/callback";
const OUR_SECRET: &str = "0ur s3cret+";

/// A client of these servers; `more` are lines of its section.
fn client(servers: &Responder, more: &str) -> OAuthClient {
    let base = &servers.url;
    let text = format!(
        "[platforms.sandbox.oauth]\nauthorize_url = \"{base}authorize?prompt=consent\"\n\
         token_url = \"{base}token\"\nrevoke_url = \"{base}revoke\"\nclient_id = \"post works\"\n\
         scopes = [\"openid\", \"publish\"]\n{more}\n"
    );
    let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
    let (_, oauth) = config.oauth().next().unwrap();
    let options = HttpOptions::new(NetworkPolicy::default());
    let profile = Profile::read(oauth, None).unwrap();
    assert!(!format!("{profile:?}").contains(OUR_SECRET));
    OAuthClient::new(&SANDBOX, profile, &options, SystemClock::shared()).unwrap()
}

/// The same, with a secret that is sent this way.
fn confidential(servers: &Responder, auth: &str) -> OAuthClient {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{OUR_SECRET}").unwrap();
    let path = file.path().display();
    client(servers, &format!("client_secret_file = \"{path}\"\nclient_auth = \"{auth}\""))
}

fn tokens(more: Value) -> Reply {
    let mut body = json!({ "access_token": "a2", "refresh_token": "r2", "expires_in": 60 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::new(200, body.to_string())
}

fn id_token(claims: Value) -> Value {
    json!({ "id_token": format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string())) })
}

async fn exchange(client: &OAuthClient) -> Result<Granted, JobError> {
    let (code, verifier) = ("the/code".into(), SECRET.into());
    client
        .exchange(Consent {
            code: &code,
            verifier: &verifier,
            redirect_uri: REDIRECT,
            target: None,
        })
        .await
}

async fn refresh(client: &OAuthClient, servers: &Responder) -> Result<TokenSet, JobError> {
    client.refresh(&servers.account(), &SECRET.into()).await
}

#[tokio::test]
async fn a_person_is_sent_to_consent_with_all_that_must_come_back() {
    let servers = Responder::start().await;
    let url = client(&servers, "").authorize_url("st&te", "ch4llenge", REDIRECT);
    let (address, query) = url.as_str().split_once('?').unwrap();
    assert_eq!(address, format!("{}authorize", servers.url));
    let pairs: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!(
        pairs,
        [
            ("prompt", "consent"),
            ("response_type", "code"),
            ("client_id", "post+works"),
            ("redirect_uri", "https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fsandbox%2Fcallback"),
            ("scope", "openid+publish"),
            ("state", "st%26te"),
            ("code_challenge", "ch4llenge"),
            ("code_challenge_method", "S256"),
        ]
    );
}

#[tokio::test]
async fn a_code_is_exchanged_with_its_verifier_and_in_our_name() {
    let servers = Responder::start().await;
    servers.answer_with(tokens(json!({})));
    let before = SystemClock.now();
    let granted = exchange(&confidential(&servers, "basic")).await.unwrap();
    assert_eq!(granted.tokens.access.expose_secret(), "a2");
    assert_eq!(granted.tokens.refresh.as_ref().unwrap().expose_secret(), "r2");
    assert!(granted.tokens.expires_at.unwrap() >= before.after(std::time::Duration::from_secs(60)));
    assert_eq!((granted.tokens.remote_id, granted.name), (None, None));
    exchange(&confidential(&servers, "post")).await.unwrap();
    exchange(&client(&servers, "")).await.unwrap();
    // The header is "post+works:0ur+s3cret%2B", as RFC 6749 §2.3.1 has it.
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /token
    authorization: Basic cG9zdCt3b3JrczowdXIrczNjcmV0JTJC
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the%2Fcode&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fsandbox%2Fcallback

    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the%2Fcode&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fsandbox%2Fcallback&client_id=post+works&client_secret=0ur+s3cret%2B

    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the%2Fcode&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fsandbox%2Fcallback&client_id=post+works
    ");
}

#[tokio::test]
async fn a_server_that_takes_no_verifier_is_sent_none() {
    let servers = Responder::start().await;
    let client = client(&servers, "pkce = false");
    let url = client.authorize_url("st4te", "ch4llenge", REDIRECT);
    assert!(url.as_str().ends_with("&scope=openid+publish&state=st4te"), "{url}");
    servers.answer_with(tokens(json!({})));
    exchange(&client).await.unwrap();
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the%2Fcode&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fsandbox%2Fcallback&client_id=post+works
    ");
}

#[test]
fn whether_codes_are_tied_is_the_platforms_to_say_unless_it_is_set() {
    let pkce = |of: &Descriptor, more: &str| {
        let text = format!("[platforms.{}.oauth]\nclient_id = \"us\"\n{more}\n", of.name);
        let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
        let (_, section) = config.oauth().next().unwrap();
        Profile::read(section, of.oauth).unwrap().pkce
    };
    let theirs = "authorize_url = \"https://as.example/\"\ntoken_url = \"https://as.example/\"";
    let (linkedin, x) = (&crate::platforms::linkedin::DESCRIPTOR, &crate::platforms::x::DESCRIPTOR);
    assert!(!pkce(linkedin, "") && pkce(linkedin, "pkce = true"));
    assert!(pkce(x, "") && !pkce(x, "pkce = false"));
    assert!(pkce(&SANDBOX, theirs) && !pkce(&SANDBOX, &format!("{theirs}\npkce = false")));
}

#[tokio::test]
async fn an_account_is_who_the_token_endpoint_says_to_us() {
    let servers = Responder::start().await;
    let client = client(&servers, "issuer = \"https://as.example\"");
    let (us, them) = ("post works", "another client");
    let rows = [
        (json!({ "aud": us, "sub": "17" }), Some("17"), None),
        (json!({ "aud": [them, us], "sub": "17", "name": "Ada" }), Some("17"), Some("Ada")),
        (
            json!({ "aud": us, "sub": "17", "name": "A", "preferred_username": "ada" }),
            Some("17"),
            Some("ada"),
        ),
        (json!({ "aud": them, "sub": "17" }), None, None),
        (json!({ "sub": "17" }), None, None),
        (json!({ "aud": us, "id": "17" }), None, None),
        (json!({ "aud": us, "sub": "1\n7" }), None, None),
        (json!({ "aud": us, "sub": "x".repeat(256) }), None, None),
        (json!({ "aud": us, "sub": "17", "iss": "https://evil.example" }), None, None),
    ];
    for (mut claims, id, name) in rows {
        if claims.get("iss").is_none() {
            claims["iss"] = json!("https://as.example");
        }
        servers.answer_with(tokens(id_token(claims.clone())));
        let granted = exchange(&client).await.unwrap();
        assert_eq!(granted.tokens.remote_id.as_deref(), id, "{claims}");
        assert_eq!(granted.name.as_deref(), name, "{claims}");
    }
    servers.answer_with(tokens(json!({ "id_token": "no.token" })));
    assert_eq!(exchange(&client).await.unwrap().tokens.remote_id, None);
}

#[tokio::test]
async fn an_account_is_asked_who_it_is_where_the_tokens_do_not_tell() {
    let (servers, accounts) = (Responder::start().await, Responder::start().await);
    let client = client(&servers, &format!("userinfo_url = \"{}me\"", accounts.url));
    let said = id_token(json!({ "aud": "post works", "sub": "17" }));
    let rows = [
        (json!({}), json!({ "sub": "17", "nickname": "ada" }), Some("17"), Some("ada")),
        (json!({}), json!({ "id": 4711, "login": "ada" }), Some("4711"), Some("ada")),
        (json!({}), json!({ "data": { "id": "9", "username": "ada" } }), Some("9"), Some("ada")),
        (said.clone(), json!({ "sub": "17", "name": "Ada" }), Some("17"), Some("Ada")),
        // Of another account: not believed.
        (said.clone(), json!({ "sub": "18", "name": "Eve" }), Some("17"), None),
        (json!({}), json!([]), None, None),
    ];
    for (told, claims, id, name) in rows {
        servers.answer_with(tokens(told));
        accounts.answer_with(Reply::new(200, claims.to_string()));
        let granted = exchange(&client).await.unwrap();
        assert_eq!(granted.tokens.remote_id.as_deref(), id, "{claims}");
        assert_eq!(granted.name.as_deref(), name, "{claims}");
    }
    accounts.take_requests();
    accounts.answer_with(Reply::new(503, ""));
    let granted = exchange(&client).await.unwrap();
    assert_eq!(granted.tokens.access.expose_secret(), "a2", "kept, though nobody says whose");
    assert_eq!(granted.unanswered.unwrap().class(), ErrorClass::Transient);
    let asked = accounts.take_requests();
    let whole = "GET /me\nauthorization: Bearer a2";
    assert_eq!(asked.matches(whole).count(), 3, "one answer that is lost costs nothing: {asked}");
}

#[tokio::test]
async fn each_answer_has_its_class() {
    let servers = Responder::start().await;
    let client = confidential(&servers, "basic");
    let error = |name: &str| json!({ "error": name }).to_string();
    let rows = [
        (400, error("invalid_grant"), ErrorClass::AuthRevoked),
        (401, error("invalid_grant"), ErrorClass::AuthRevoked),
        // Our configuration is wrong, which is no reason to disconnect anybody.
        (401, error("invalid_client"), ErrorClass::Invalid),
        (400, error("invalid_client"), ErrorClass::Invalid),
        (400, error("unauthorized_client"), ErrorClass::Invalid),
        (400, error("invalid_scope"), ErrorClass::Invalid),
        (401, String::new(), ErrorClass::Invalid),
        (302, String::new(), ErrorClass::Invalid),
        (503, String::new(), ErrorClass::Transient),
        (200, "<html>".to_owned(), ErrorClass::Transient),
        (200, "{}".to_owned(), ErrorClass::Transient),
        (200, json!({ "access_token": "" }).to_string(), ErrorClass::Transient),
        // Some refuse with a success.
        (200, error("bad_refresh_token"), ErrorClass::Invalid),
        (200, error("invalid_grant"), ErrorClass::AuthRevoked),
    ];
    for (status, body, class) in rows {
        servers.answer_with(Reply::new(status, body.clone()));
        for error in
            [exchange(&client).await.unwrap_err(), refresh(&client, &servers).await.unwrap_err()]
        {
            assert_eq!(error.class(), class, "{status} {body}: {error}");
        }
    }
    servers.answer_with(Reply::new(429, "").header("retry-after", "120"));
    assert_eq!(refresh(&client, &servers).await.unwrap_err().category(), Category::RateLimit);
}

#[tokio::test]
async fn who_is_to_blame_for_a_wrong_secret_is_told_where_to_look() {
    let servers = Responder::start().await;
    servers.answer_with(Reply::new(401, r#"{"error":"invalid_client"}"#));
    let error = refresh(&client(&servers, ""), &servers).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "getting new tokens from sandbox: 401 invalid_client: the server does not take us for its \
         client: look at client_id, client_secret_file and client_auth in [platforms.sandbox.oauth]"
    );
}

#[tokio::test]
async fn no_secret_of_a_request_is_in_its_error() {
    let servers = Responder::start().await;
    let words = format!("the/code, {SECRET}, {OUR_SECRET} and 0ur+s3cret%2B");
    let body = json!({ "error": "invalid_grant", "error_description": words });
    for auth in ["basic", "post"] {
        let client = confidential(&servers, auth);
        servers.answer_with(Reply::new(400, body.to_string()));
        assert_eq!(
            exchange(&client).await.unwrap_err().to_string(),
            "signing in to sandbox: 400 invalid_grant: \
             [secret], [secret], [secret] and [secret]"
        );
        let said = refresh(&client, &servers).await.unwrap_err().to_string();
        assert!(!said.contains(SECRET) && !said.contains(OUR_SECRET), "{said}");
        let said = client.revoke(Uuid::nil(), &SECRET.into()).await.unwrap_err().to_string();
        assert!(!said.contains(SECRET) && !said.contains(OUR_SECRET), "{said}");
    }
}

#[tokio::test]
async fn new_tokens_are_kept_unless_they_are_another_accounts() {
    let servers = Responder::start().await;
    let client = client(&servers, "");
    let odd = json!({ "expires_in": "3599.5", "id_token": null, "scope": ["a"], "token_type": 7 });
    servers.answer_with(tokens(odd));
    let set = refresh(&client, &servers).await.unwrap();
    assert_eq!(set.refresh.unwrap().expose_secret(), "r2");
    assert!(set.expires_at.is_some());
    servers.answer_with(tokens(json!({ "refresh_token": "" })));
    assert!(refresh(&client, &servers).await.unwrap().refresh.is_none(), "the old one is kept");

    let known = Account { remote_id: Some("17".into()), ..servers.account() };
    for (sub, class) in [("17", None), ("18", Some(ErrorClass::AuthRevoked))] {
        servers.answer_with(tokens(id_token(json!({ "aud": "post works", "sub": sub }))));
        let answer = client.refresh(&known, &SECRET.into()).await;
        assert_eq!(answer.err().map(|error| error.class()), class, "{sub}");
    }
    servers.take_requests();
    refresh(&client, &servers).await.unwrap();
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]&client_id=post+works
    ");
}

#[tokio::test]
async fn tokens_are_given_back_where_the_platform_takes_them() {
    let servers = Responder::start().await;
    let client_there = client(&servers, "");
    servers.answer_with(Reply::new(200, ""));
    assert!(client_there.revoke(Uuid::nil(), &SECRET.into()).await.unwrap());
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /revoke
    content-type: application/x-www-form-urlencoded

    token=[secret]&token_type_hint=refresh_token&client_id=post+works
    ");
    for (status, class) in [(503, ErrorClass::Transient), (400, ErrorClass::Invalid)] {
        servers.answer_with(Reply::new(status, ""));
        let error = client_there.revoke(Uuid::nil(), &SECRET.into()).await.unwrap_err();
        assert_eq!(error.class(), class, "{status}");
    }
}

//! The OAuth client against a real provider that rotates refresh tokens strictly.

use postworks::clock::SystemClock;
use postworks::config::{Config, Sources};
use postworks::job::ErrorClass;
use postworks_workers::platforms::http::HttpOptions;
use postworks_workers::platforms::oauth::{Consent, OAuthClient, code_challenge, new_verifier};
use postworks_workers::platforms::{self, Account, NetworkPolicy, Outgoing, Platforms};
use postworks_workers::testing::oidc::{CLIENT_ID, OidcServer, REDIRECT_URI};
use postworks_workers::testing::publish;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

/// The platforms with the provider's settings; the last win.
fn platforms(server: &OidcServer, more: &[(&str, &str)]) -> Platforms {
    let name = |key: &str| format!("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__{key}");
    let settings = server.settings(server.address()).into_iter();
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let more = more.iter().map(|(key, value)| (name(key), (*value).to_owned()));
    let mut vars: Vec<(String, String)> = settings.collect();
    for (name, value) in more {
        vars.retain(|(known, _)| *known != name);
        vars.push((name, value));
    }
    let config = Config::load(&Sources::default().env(vars)).unwrap();
    let options = HttpOptions::new(NetworkPolicy::default());
    platforms::all(&options, &SystemClock::shared(), config.oauth()).unwrap()
}

fn account(server: &OidcServer, handle: &str) -> Account {
    Account {
        connector_id: Uuid::now_v7(),
        base_url: server.url().clone(),
        identifier: handle.to_owned(),
        remote_id: None,
        target: None,
        signed_in_at: None,
    }
}

/// Consents as `login`, and brings the code back.
async fn code(
    server: &OidcServer,
    client: &OAuthClient,
    verifier: &SecretString,
    login: &str,
) -> SecretString {
    let url = client.authorize_url("a state", &code_challenge(verifier), REDIRECT_URI);
    let back = server.consent(&url, login).await;
    let said = |name: &str| {
        let mut pairs = back.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    assert!(back.as_str().starts_with(REDIRECT_URI), "{back}");
    assert_eq!(said("state").as_deref(), Some("a state"), "{back}");
    assert_eq!(said("iss").as_deref(), client.issuer(), "{back}");
    said("code").unwrap().into()
}

#[tokio::test]
async fn a_persons_consent_becomes_tokens_that_publish_and_end() {
    let server = OidcServer::start().await;
    let platforms = platforms(&server, &[]);
    let client = platforms.oauth("sandbox").unwrap();
    let verifier = new_verifier();
    let code = code(&server, client, &verifier, "ada").await;
    let consent =
        Consent { code: &code, verifier: &verifier, redirect_uri: REDIRECT_URI, target: None };
    let granted = client.exchange(consent).await.unwrap();
    assert_eq!(granted.tokens.remote_id.as_deref(), Some("ada"));
    assert_eq!(granted.name.as_deref(), Some("ada.example"));

    let account = Account { remote_id: granted.tokens.remote_id, ..account(&server, "ada") };
    let sandbox = platforms.get("sandbox").unwrap();
    let created_at = "2026-03-01T09:30:00Z".parse().unwrap();
    let post = Outgoing::of_text(Uuid::now_v7(), "Hello".to_owned(), created_at);
    publish(sandbox.as_ref(), &account, &granted.tokens.access, &post).await.unwrap();
    publish(sandbox.as_ref(), &account, &granted.tokens.access, &post).await.unwrap();
    assert_eq!(server.posts().await.len(), 1, "the key is remembered");

    let next = sandbox.refresh(&account, &granted.tokens.refresh.unwrap()).await.unwrap();
    assert_eq!(next.remote_id.as_deref(), Some("ada"));
    let refresh = next.refresh.unwrap();
    assert!(client.revoke(account.connector_id, &refresh).await.unwrap());
    let error = sandbox.refresh(&account, &refresh).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
    let error = publish(sandbox.as_ref(), &account, &next.access, &post).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthExpired, "{error}");

    // Its code is used up, and using it again is taken for theft.
    let error = client.exchange(consent).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
}

#[tokio::test]
async fn a_code_without_its_verifier_is_worth_nothing() {
    let server = OidcServer::start().await;
    let platforms = platforms(&server, &[]);
    let client = platforms.oauth("sandbox").unwrap();
    let (verifier, other) = (new_verifier(), new_verifier());
    let code = code(&server, client, &verifier, "ada").await;
    let consent =
        Consent { code: &code, verifier: &other, redirect_uri: REDIRECT_URI, target: None };
    let error = client.exchange(consent).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
    assert!(
        !error.chain().contains(other.expose_secret())
            && !error.chain().contains(code.expose_secret())
    );
}

#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_its_account_and_no_other() {
    let server = OidcServer::start().await;
    let platforms = platforms(&server, &[]);
    let sandbox = platforms.get("sandbox").unwrap();
    let (ada, bob) = (account(&server, "ada"), account(&server, "bob"));
    let (first, bobs) = (server.mint("ada").await, server.mint("bob").await);
    let next = sandbox.sign_in(&ada, &first).await.unwrap().refresh.unwrap();
    assert_ne!(next.expose_secret(), first.expose_secret());
    for token in [&first, &next] {
        let error = sandbox.refresh(&ada, token).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
    }
    sandbox.refresh(&bob, &bobs).await.unwrap();
    let counts = server.counts("ada").await;
    assert_eq!((counts.token_requests, counts.granted, counts.invalid_grant), (3, 1, 2));
    let counts = server.counts("bob").await;
    assert_eq!((counts.token_requests, counts.granted, counts.invalid_grant), (1, 1, 0));
}

#[tokio::test]
async fn a_client_is_known_by_header_form_or_name_and_a_wrong_one_disconnects_nobody() {
    let server = OidcServer::start().await;
    let post = format!("{CLIENT_ID}-post");
    let public = format!("{CLIENT_ID}-public");
    let rows: [(&[(&str, &str)], &str); 2] = [
        (&[("CLIENT_ID", &post), ("CLIENT_AUTH", "post")], "post"),
        (&[("CLIENT_ID", &public), ("CLIENT_SECRET_FILE", "")], "public"),
    ];
    for (settings, login) in rows {
        let platforms = platforms(&server, settings);
        let client = platforms.oauth("sandbox").unwrap();
        let verifier = new_verifier();
        let code = code(&server, client, &verifier, login).await;
        let consent =
            Consent { code: &code, verifier: &verifier, redirect_uri: REDIRECT_URI, target: None };
        let granted = client.exchange(consent).await.unwrap();
        assert_eq!(granted.tokens.remote_id.as_deref(), Some(login));
    }
    let token = server.mint("ada").await;
    for wrong in [&[("CLIENT_ID", "nobody")][..], &[("CLIENT_SECRET_FILE", "/etc/hostname")][..]] {
        let platforms = platforms(&server, wrong);
        let sandbox = platforms.get("sandbox").unwrap();
        let error = sandbox.refresh(&account(&server, "ada"), &token).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Invalid, "{error}");
        assert!(error.to_string().contains("[platforms.sandbox.oauth]"), "{error}");
    }
    let sandbox = platforms(&server, &[]);
    let sandbox = sandbox.get("sandbox").unwrap();
    sandbox.refresh(&account(&server, "ada"), &token).await.unwrap();
}

#[tokio::test]
async fn a_code_is_good_only_for_the_redirect_it_was_asked_with() {
    let server = OidcServer::start().await;
    let platforms = platforms(&server, &[]);
    let client = platforms.oauth("sandbox").unwrap();
    let (verifier, other): (_, Url) = (new_verifier(), "https://evil.example/cb".parse().unwrap());
    let code = code(&server, client, &verifier, "ada").await;
    let consent =
        Consent { code: &code, verifier: &verifier, redirect_uri: other.as_str(), target: None };
    assert_eq!(client.exchange(consent).await.unwrap_err().class(), ErrorClass::AuthRevoked);
}

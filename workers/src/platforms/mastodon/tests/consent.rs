//! A person's consent at a server, as the page on Mastodon has it configured.

use std::io::Write as _;

use postworks::config::{Config, Sources};

use super::*;
use crate::platforms::oauth::{Consent, OAuthClient, Profile as OAuthProfile};

const PAGE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/platforms/mastodon.md"));
const REDIRECT: &str = "https://app.example/api/oauth/mastodon/callback";

/// What the page prints, with this server in place of the one there.
fn oauth(responder: &Responder) -> OAuthClient {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    write!(secret, "our-secret").unwrap();
    let printed = PAGE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let text = printed
        .replace("https://social.example/", responder.url.as_str())
        .replace("/run/secrets/mastodon", &secret.path().display().to_string())
        .replace("client_id = \"…\"", "client_id = \"our-app\"");
    let config = Config::load(&Sources::default().file("page.toml", text)).unwrap();
    let (name, oauth) = config.oauth().next().unwrap();
    assert_eq!(name, "mastodon");
    let profile = OAuthProfile::read(oauth, None).unwrap();
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    OAuthClient::new(&DESCRIPTOR, profile, &options, SystemClock::shared()).unwrap()
}

#[tokio::test]
async fn a_code_is_exchanged_and_the_account_asked_whose_it_is_as_the_page_says() {
    let responder = Responder::start().await;
    let oauth = oauth(&responder);
    let token = json!({
        "access_token": SECRET,
        "token_type": "Bearer",
        "scope": "read:accounts read:statuses write:statuses write:media",
        "created_at": 1_573_979_017,
    });
    let me = json!({ "id": "103641", "username": "alice", "acct": "alice", "display_name": "Alice",
        "url": "https://social.example/@alice", "source": { "note": "Words" } });
    responder.answer_in_turn([Reply::new(200, token.to_string()), Reply::new(200, me.to_string())]);
    let (code, verifier) = ("the-code".into(), "the-verifier".into());
    let consent =
        Consent { code: &code, verifier: &verifier, redirect_uri: REDIRECT, target: None };
    let granted = client().exchange_code(&oauth, consent).await.unwrap();
    assert_eq!(granted.tokens.access.expose_secret(), SECRET);
    assert!(granted.tokens.refresh.is_none() && granted.tokens.expires_at.is_none());
    // The id that statuses are listed by, and not an address.
    assert_eq!(granted.tokens.remote_id.as_deref(), Some("103641"));
    assert_eq!(granted.name.as_deref(), Some("alice"));
    insta::assert_snapshot!(responder.take_requests(), @r"
    POST /oauth/token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the-code&code_verifier=the-verifier&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Fmastodon%2Fcallback&client_id=our-app&client_secret=our-secret

    GET /api/v1/accounts/verify_credentials
    authorization: Bearer [secret]
    ");
}

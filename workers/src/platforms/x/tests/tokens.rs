//! Where tokens come from, whose they are, and where they go.

use std::sync::Arc;

use super::*;
use crate::platforms::oauth::testing::{played, real};

const ME: &str = r#"{"data":{"id":"2244994945","name":"X Dev","username":"XDevelopers"}}"#;

fn told() -> Reply {
    let told = json!({ "token_type": "bearer", "expires_in": 7_200, "access_token": "a2",
        "scope": "tweet.read offline.access", "refresh_token": "r2" });
    Reply::new(200, told.to_string())
}

fn connected(servers: &Responder) -> XClient {
    client().with_oauth(Arc::new(played(&DESCRIPTOR, servers, "")))
}

#[tokio::test]
async fn tokens_come_from_xs_own_servers_by_our_id_alone() {
    let server = real(&DESCRIPTOR);
    let url = server.authorize_url("st4te", "ch4llenge", "https://app.example/back");
    assert_eq!(
        url.as_str(),
        "https://x.com/i/oauth2/authorize?response_type=code&client_id=us\
         &redirect_uri=https%3A%2F%2Fapp.example%2Fback\
         &scope=tweet.read+tweet.write+users.read+media.write+offline.access\
         &state=st4te&code_challenge=ch4llenge&code_challenge_method=S256"
    );
    let hosts: Vec<&str> = server.servers().filter_map(|url| url.host_str()).collect();
    assert_eq!(hosts[0], "api.x.com", "the account's own address");
}

#[tokio::test]
async fn a_code_becomes_tokens_and_a_name() {
    let servers = Responder::start().await;
    servers.answer_in_turn([told(), Reply::new(200, ME)]);
    let (code, verifier) = (SecretString::from("the-code"), SecretString::from(SECRET));
    let redirect_uri = "https://app.example/back";
    let consent = Consent { code: &code, verifier: &verifier, redirect_uri, target: None };
    let oauth = played(&DESCRIPTOR, &servers, "");
    let granted = client().exchange_code(&oauth, consent).await.unwrap();
    assert_eq!(granted.tokens.remote_id.as_deref(), Some("2244994945"));
    assert_eq!(granted.name.as_deref(), Some("XDevelopers"));
    // "us:0ur-s3cret".
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /2/oauth2/token
    authorization: Basic dXM6MHVyLXMzY3JldA==
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the-code&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fback

    GET /2/users/me
    authorization: Bearer a2
    ");
}

#[tokio::test]
async fn a_pasted_refresh_token_is_used_and_its_owner_asked_for() {
    let servers = Responder::start().await;
    let (client, secret) = (connected(&servers), SecretString::from(SECRET));
    for account in [servers.account(), known(&servers)] {
        servers.answer_in_turn([told(), Reply::new(200, ME)]);
        let tokens = client.sign_in(&account, &secret).await.unwrap();
        assert_eq!(tokens.refresh.unwrap().expose_secret(), "r2");
        assert_eq!(tokens.remote_id.as_deref(), Some("2244994945"));
    }
    let sent = servers.take_requests();
    let (once, again) = sent.split_at(sent.len() / 2);
    assert_eq!(once.trim_end(), again.trim());
    insta::assert_snapshot!(once, @r"
    POST /2/oauth2/token
    authorization: Basic dXM6MHVyLXMzY3JldA==
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]

    GET /2/users/me?user.fields=description%2Cpublic_metrics
    authorization: Bearer a2
    ");
}

#[tokio::test]
async fn another_accounts_refresh_token_never_publishes_as_this_one() {
    let servers = Responder::start().await;
    let (client, secret) = (connected(&servers), SecretString::from(SECRET));
    let other = ME.replace("2244994945", "7");
    servers.answer_in_turn([told(), Reply::new(200, other)]);
    let error = client.sign_in(&known(&servers), &secret).await.unwrap_err();
    assert_eq!(error.class(), REVOKED);
    assert_eq!(
        error.to_string(),
        "signing in to x: the refresh token is another account's, 7: this one is 2244994945. It is \
         used up now; enter one of this account"
    );
}

#[tokio::test]
async fn tokens_whose_owner_is_not_told_are_not_lost() {
    let servers = Responder::start().await;
    let (client, secret) = (connected(&servers), SecretString::from(SECRET));
    for (status, asked) in [(401, 1), (403, 1), (429, 1), (503, 3)] {
        servers.answer_in_turn([told(), Reply::new(status, "{}")]);
        let tokens = client.sign_in(&known(&servers), &secret).await.unwrap();
        assert_eq!(tokens.refresh.unwrap().expose_secret(), "r2", "{status}");
        assert_eq!(tokens.remote_id, None, "{status}");
        assert_eq!(servers.take_requests().matches("GET /2/users/me").count(), asked, "{status}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_and_given_back_with_our_client_and_not_without() {
    let servers = Responder::start().await;
    let (account, secret) = (known(&servers), SecretString::from(SECRET));
    servers.answer_with(told());
    let renewed = connected(&servers).refresh(&account, &secret).await.unwrap();
    assert_eq!(renewed.refresh.unwrap().expose_secret(), "r2");
    servers.answer_with(Reply::new(200, r#"{"revoked":true}"#));
    assert!(connected(&servers).revoke(&account, &secret).await.unwrap());
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /2/oauth2/token
    authorization: Basic dXM6MHVyLXMzY3JldA==
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]

    POST /2/oauth2/revoke
    authorization: Basic dXM6MHVyLXMzY3JldA==
    content-type: application/x-www-form-urlencoded

    token=[secret]&token_type_hint=refresh_token
    ");

    let error = client().refresh(&account, &secret).await.unwrap_err();
    assert_eq!(error.class(), INVALID, "the account is not to blame");
    assert!(error.to_string().contains("[platforms.x.oauth]"), "{error}");
    assert!(!client().revoke(&account, &secret).await.unwrap(), "nothing could be given back");
}

#[tokio::test]
async fn a_token_or_code_that_x_does_not_take_is_for_the_owner() {
    let servers = Responder::start().await;
    let (client, account) = (connected(&servers), known(&servers));
    let oauth = played(&DESCRIPTOR, &servers, "");
    let secret = SecretString::from(SECRET);
    let redirect_uri = "https://app.example/back";
    let consent = Consent { code: &secret, verifier: &secret, redirect_uri, target: None };
    let said = |error: &str, words: &str| json!({ "error": error, "error_description": words });
    let token = said("invalid_request", "Value passed for the token was invalid.");
    let code = said("invalid_request", "Value passed for the authorization code was invalid.");
    let missing = said("invalid_request", "Missing required parameter [refresh_token].");
    let us = said("unauthorized_client", "Missing valid authorization header");
    for (status, body, renewed, exchanged) in [
        (400, &token, REVOKED, REVOKED),
        (400, &code, INVALID, REVOKED),
        (400, &said("invalid_grant", ""), REVOKED, REVOKED),
        (400, &missing, INVALID, INVALID),
        (401, &us, INVALID, INVALID),
        (503, &json!({}), ErrorClass::Transient, ErrorClass::Transient),
    ] {
        servers.answer_with(Reply::new(status, body.to_string()));
        let error = client.refresh(&account, &secret).await.unwrap_err();
        assert_eq!(error.class(), renewed, "{error}");
        let error = client.exchange_code(&oauth, consent).await.unwrap_err();
        assert_eq!(error.class(), exchanged, "{error}");
    }
    servers.answer_with(Reply::new(400, token.to_string()));
    assert_eq!(client.sign_in(&account, &secret).await.unwrap_err().class(), REVOKED);
}

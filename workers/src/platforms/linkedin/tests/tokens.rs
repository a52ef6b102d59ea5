//! Where tokens come from, whose they are, and where they go.

use super::*;
use crate::platforms::oauth::testing::{played, real};

const REDIRECT: &str = "https://app.example/api/oauth/linkedin/callback";

fn connected(servers: &Responder, more: &str) -> LinkedInClient {
    client().with_oauth(Arc::new(played(&DESCRIPTOR, servers, more)))
}

/// Exchanges the code of a consent.
async fn exchanged(servers: &Responder) -> Result<Granted, JobError> {
    let secret = SecretString::from(SECRET);
    let consent = Consent {
        code: &secret,
        verifier: &"v3rifier".into(),
        redirect_uri: REDIRECT,
        target: Some(ORGANISATION),
    };
    client().exchange_code(&played(&DESCRIPTOR, servers, ""), consent).await
}

fn told() -> Reply {
    let told = r#"{"access_token":"s3cr3t-new","expires_in":5184000,"refresh_token":"s3cr3t-refresh","refresh_token_expires_in":31536000,"scope":"openid,profile,w_member_social"}"#;
    Reply::new(200, told)
}

fn member_says(sub: &str) -> Reply {
    Reply::new(200, json!({ "sub": sub, "name": "John Doe" }).to_string())
}

#[test]
fn a_person_sets_out_without_a_challenge() {
    let url = real(&DESCRIPTOR).authorize_url("st4te", "ch4llenge", REDIRECT);
    assert_eq!(
        url.as_str(),
        "https://www.linkedin.com/oauth/v2/authorization?response_type=code&client_id=us\
         &redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Flinkedin%2Fcallback\
         &scope=openid+profile+w_member_social&state=st4te"
    );
}

#[tokio::test]
async fn tokens_come_from_a_consent_or_a_renewal() {
    let servers = Responder::start().await;
    servers.answer_in_turn([told(), member_says("782bbtaQ"), told()]);
    let granted = exchanged(&servers).await.unwrap();
    assert_eq!(granted.target.as_deref(), Some(ORGANISATION));
    assert_eq!(granted.name.as_deref(), Some("John Doe"));
    assert_eq!(granted.tokens.remote_id.as_deref(), Some("782bbtaQ"));
    assert_eq!(granted.tokens.refresh.unwrap().expose_secret(), "s3cr3t-refresh");
    let client = connected(&servers, "");
    let set = client.refresh(&member(&servers), &SECRET.into()).await.unwrap();
    assert_eq!(set.access.expose_secret(), "s3cr3t-new");
    insta::assert_snapshot!(sent(&servers), @r"
    POST /oauth/v2/accessToken
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Flinkedin%2Fcallback&client_id=us&client_secret=0ur-s3cret

    GET /v2/userinfo
    authorization: Bearer s3cr3t-new

    POST /oauth/v2/accessToken
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]&client_id=us&client_secret=0ur-s3cret
    ");
}

#[tokio::test]
async fn a_pasted_token_is_its_members_alone() {
    let servers = Responder::start().await;
    let secret = SecretString::from(SECRET);
    servers.answer_with(member_says("782bbtaQ"));
    let set = client().sign_in(&member(&servers), &secret).await.unwrap();
    assert_eq!((set.remote_id.as_deref(), set.refresh.is_none()), (Some("782bbtaQ"), true));
    insta::assert_snapshot!(sent(&servers), @r"
    GET /v2/userinfo
    authorization: Bearer [secret]
    ");
    servers.answer_with(member_says("other"));
    let error = client().sign_in(&member(&servers), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    servers.answer_with(Reply::new(401, r#"{"status":401,"code":"EXPIRED_ACCESS_TOKEN"}"#));
    let error = client().sign_in(&member(&servers), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
}

#[tokio::test]
async fn a_token_or_code_that_linkedin_does_not_take_is_for_the_member() {
    use ErrorClass::{AuthRevoked, Invalid, Transient};
    let servers = Responder::start().await;
    let client = connected(&servers, "");
    let said = |error: &str, words: &str| json!({ "error": error, "error_description": words });
    let other = "Unable to retrieve access token: appid/redirect uri/code verifier does not match \
                 authorization code. Or authorization code expired. Or external member binding exists";
    let unknown = "Unable to retrieve access token: authorization code not found";
    let ended = "The provided authorization grant or refresh token is invalid, expired or revoked.";
    let missing = "A required parameter \"client_id\" is missing";
    for (status, body, renewed, code) in [
        (400, said("invalid_grant", ended), AuthRevoked, AuthRevoked),
        (400, said("invalid_request", unknown), Invalid, AuthRevoked),
        (400, said("invalid_request", other), Invalid, AuthRevoked),
        (400, said("invalid_redirect_uri", other), Invalid, AuthRevoked),
        (400, said("invalid_redirect_uri", "It is none of the app's"), Invalid, Invalid),
        (400, said("invalid_request", missing), Invalid, Invalid),
        (401, said("invalid_client", "Client authentication failed"), Invalid, Invalid),
        (401, Value::Null, Invalid, Invalid),
        (503, Value::Null, Transient, Transient),
    ] {
        servers.answer_with(Reply::new(status, body.to_string()));
        let error = client.refresh(&member(&servers), &SECRET.into()).await.unwrap_err();
        assert_eq!(error.class(), renewed, "{error}");
        let error = exchanged(&servers).await.unwrap_err();
        assert_eq!(error.class(), code, "{error}");
    }
}

#[tokio::test]
async fn tokens_are_given_back_where_the_configuration_says() {
    let servers = Responder::start().await;
    let (account, secret) = (member(&servers), SecretString::from(SECRET));
    assert!(!client().revoke(&account, &secret).await.unwrap());
    assert!(!connected(&servers, "").revoke(&account, &secret).await.unwrap());
    assert_eq!(sent(&servers), "");
    servers.answer_with(Reply::new(200, ""));
    let client = connected(&servers, "revoke_url = \"https://www.linkedin.com/revoke\"");
    assert!(client.revoke(&account, &secret).await.unwrap());
    insta::assert_snapshot!(sent(&servers), @r"
    POST /revoke
    content-type: application/x-www-form-urlencoded

    token=[secret]&token_type_hint=refresh_token&client_id=us&client_secret=0ur-s3cret
    ");
}

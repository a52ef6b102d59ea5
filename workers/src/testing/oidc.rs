//! A real OpenID Connect provider with strict rotation, and a platform that takes its tokens, private
//! to a test, on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use http::Method;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;
use url::Url;

use super::script::{self, Runtime, Script, answer, text};
use crate::platforms::http::{Http, endpoint};

/// What the provider calls us, if our secret comes in a header.
pub const CLIENT_ID: &str = "postworks";
/// What proves it. It reads otherwise in a form, as a header has it too.
pub const CLIENT_SECRET: &str = "s3cret/+ 100% ours";
/// Where people come back to, unless a test says otherwise.
pub const REDIRECT_URI: &str = "https://app.example/api/oauth/sandbox/callback";
/// The address where tokens come from.
const TOKEN_PATH: &str = "token";

const SCRIPT: Script = Script {
    folder: "servers/oidc",
    runtime: Runtime::Node("oidc-provider"),
    args: &["provider.mjs"],
};

/// A running provider. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct OidcServer {
    _child: Child,
    issuer: Url,
    http: Http,
    secret: TempDir,
}

/// Requests to the token endpoint for one account, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub token_requests: u64,
    /// Those that were answered with tokens.
    pub granted: u64,
    /// Those whose token or code was no longer good.
    pub invalid_grant: u64,
}

/// A post as the platform holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcPost {
    /// Whose it is.
    pub account: String,
    /// Its text.
    pub text: String,
}

impl OidcServer {
    /// Starts a provider with no accounts: any name that logs in is one.
    pub async fn start() -> Self {
        Self::start_with(&[REDIRECT_URI]).await
    }

    /// The same, with these addresses where people may come back to.
    pub async fn start_with(redirect_uris: &[&str]) -> Self {
        let env = [
            ("REDIRECT_URIS", redirect_uris.join(",")),
            ("CLIENT_SECRET", CLIENT_SECRET.to_owned()),
        ];
        let (child, issuer) = SCRIPT.start(&env).await;
        let issuer = issuer.parse().expect("an address");
        let http = script::http();
        let secret = TempDir::new().expect("a temporary folder");
        fs::write(secret.path().join("client"), CLIENT_SECRET).expect("a file of our own");
        Self { _child: child, issuer, http, secret }
    }

    /// The provider's address and name for itself; also the accounts' `base_url`.
    pub fn url(&self) -> &Url {
        &self.issuer
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.issuer.socket_addrs(|| None).expect("an address and a port")[0]
    }

    /// The variables that make `[platforms.sandbox.oauth]` this provider's. Tokens come from
    /// `token_server`: the provider itself, or a proxy before it.
    pub fn settings(&self, token_server: SocketAddr) -> Vec<(&'static str, String)> {
        let at = |path| endpoint(&self.issuer, path).to_string();
        let secret = self.secret.path().join("client").display().to_string();
        vec![
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__ISSUER", self.name()),
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__AUTHORIZE_URL", at("auth")),
            (
                "POSTWORKS__PLATFORMS__SANDBOX__OAUTH__TOKEN_URL",
                format!("http://{token_server}/{TOKEN_PATH}"),
            ),
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__REVOKE_URL", at("token/revocation")),
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__USERINFO_URL", at("me")),
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__CLIENT_ID", CLIENT_ID.to_owned()),
            ("POSTWORKS__PLATFORMS__SANDBOX__OAUTH__CLIENT_SECRET_FILE", secret),
            (
                "POSTWORKS__PLATFORMS__SANDBOX__OAUTH__SCOPES",
                "openid, profile, offline_access, publish".to_owned(),
            ),
        ]
    }

    /// Has an account's owner consent; answers the refresh token that comes of it.
    pub async fn mint(&self, account: &str) -> SecretString {
        text(&self.post("_mint", account).await, "refresh_token").into()
    }

    /// Ends the access tokens of an account, and no refresh token.
    pub async fn expire(&self, account: &str) {
        self.post("_expire", account).await;
    }

    /// From now on the token endpoint answers so much later.
    pub async fn slow_down(&self, ms: u32) {
        let url = endpoint(&self.issuer, "_slow");
        answer(self.http.request(Method::POST, url).query(&[("ms", ms)])).await;
    }

    /// What the token endpoint was asked for an account since the start.
    pub async fn counts(&self, account: &str) -> Counts {
        let all = answer(self.http.request(Method::GET, endpoint(&self.issuer, "_counts"))).await;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let of = &all[account];
        Counts {
            token_requests: number(&of["token_requests"]),
            granted: number(&of["granted"]),
            invalid_grant: number(&of["refused"]["invalid_grant"]),
        }
    }

    /// What was posted, oldest first.
    pub async fn posts(&self) -> Vec<OidcPost> {
        let all = answer(self.http.request(Method::GET, endpoint(&self.issuer, "_posts"))).await;
        let posts = all.as_array().expect("a list of posts").iter();
        posts
            .map(|post| OidcPost { account: text(post, "account"), text: text(post, "text") })
            .collect()
    }

    /// Walks a person's browser from an address to consent at, through login and consent, to where
    /// it is sent back: an address with a code, or an error. Nothing is asked there.
    pub async fn consent(&self, authorize_url: &Url, login: &str) -> Url {
        let mut jar = BTreeMap::new();
        let mut place = authorize_url.clone();
        let mut form: Option<Vec<(&str, &str)>> = None;
        for _step in 0..12 {
            if place.origin() != self.issuer.origin() {
                return place;
            }
            let method = if form.is_some() { Method::POST } else { Method::GET };
            let mut request = self.http.request(method, place.clone());
            let cookies = jar.iter().map(|(name, value)| format!("{name}={value}"));
            request = request.header(COOKIE, cookies.collect::<Vec<String>>().join("; "));
            if let Some(form) = form.take() {
                request = request.form(&form);
            }
            let response = request.send().await.expect("the provider answers");
            for cookie in response.headers().get_all(SET_COOKIE) {
                let cookie = cookie.to_str().expect("a cookie in ASCII");
                let pair = cookie.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie's name and value");
                jar.insert(name.to_owned(), value.to_owned());
            }
            if let Some(next) = response.headers().get(LOCATION) {
                let next = next.to_str().expect("a location in ASCII");
                place = place.join(next).expect("a location is an address");
                continue;
            }
            let (status, page) = (response.status(), response.text().await.expect("a page"));
            assert!(status.is_success(), "the provider refused: {status} {page}");
            form = Some(if page.contains(r#"name="login""#) {
                vec![("prompt", "login"), ("login", login), ("password", "any")]
            } else {
                vec![("prompt", "consent")]
            });
        }
        panic!("the provider asks without end: {place}");
    }

    /// The name that it calls itself.
    fn name(&self) -> String {
        self.issuer.as_str().trim_end_matches('/').to_owned()
    }

    async fn post(&self, path: &str, account: &str) -> Value {
        let request = self.http.request(Method::POST, endpoint(&self.issuer, path));
        answer(request.query(&[("sub", account)])).await
    }
}

//! A fleet whose callers must prove who they are, a real provider, and a browser.
//!
//! The provider sends browsers to the name of a proxy that ends TLS; what that proxy would do, a test
//! does: it asks the API the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postworks_workers::testing::oidc::{OidcServer, REDIRECT_URI};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::fleet::{Answer, Client, Fleet, Http, run};

/// Where the provider sends browsers back to.
pub(super) const CALLBACK: &str = REDIRECT_URI;
const PUBLIC_URL: &str = "https://app.example";

/// Fields are dropped in order: first who needs the others.
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) oidc: OidcServer,
    /// Somebody who may connect accounts.
    pub(super) client: Client,
    browser: reqwest::Client,
}

/// A browser that has set out.
pub(super) struct Begun {
    pub(super) authorize_url: Url,
    /// As it is sent back.
    pub(super) cookie: String,
}

pub(super) fn id(row: &Value) -> String {
    row["id"].as_str().expect("an id").to_owned()
}

/// What stands in an address under this name.
pub(super) fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("{name} in {url}")).1.into_owned()
}

impl World {
    pub(super) async fn start() -> Self {
        let oidc = OidcServer::start().await;
        let address = oidc.address();
        Self::before(oidc, address).await
    }

    /// The same, where tokens come from this address.
    pub(super) async fn before(oidc: OidcServer, tokens: SocketAddr) -> Self {
        let profile = oidc.settings(tokens);
        let mut settings = vec![
            ("POSTWORKS_AUTH", "on"),
            ("POSTWORKS__API__PUBLIC_URL", PUBLIC_URL),
            ("POSTWORKS_LOG", "trace"),
        ];
        settings.extend(profile.iter().map(|(name, value)| (*name, value.as_str())));
        let fleet = Fleet::start_with(&settings).await;
        let made = run(&["apikey", "create", "--role", "producer"], fleet.vars()).await;
        assert_eq!(made.code, 0, "{}", made.stderr);
        let client = Client { http: Http::with_key(fleet.client.http.base(), made.stdout.trim()) };
        let browser = reqwest::Client::builder().no_proxy();
        let browser = browser.redirect(reqwest::redirect::Policy::none()).build();
        Self { fleet, oidc, client, browser: browser.expect("an HTTP client") }
    }

    /// Begins to connect an account.
    pub(super) async fn begin(&self, body: Value) -> Begun {
        let at = "/api/oauth/sandbox/start";
        let (answer, headers) = self.client.http.post_for_headers(at, &body).await;
        let answer = answer.expect(200);
        let set = headers[SET_COOKIE].to_str().expect("a cookie in ASCII");
        let cookie = set.split(';').next().unwrap_or_default().to_owned();
        let url = answer["authorize_url"].as_str().expect("an address");
        Begun { authorize_url: url.parse().expect("an address"), cookie }
    }

    /// The API's page at an address of the proxy's; answers its status too.
    pub(super) async fn browse(&self, back: &Url, cookie: &str) -> (u16, String) {
        let base = self.fleet.client.http.base();
        let url = back.as_str().replacen(PUBLIC_URL, base, 1);
        let request = self.browser.get(url).header(COOKIE, cookie);
        let answer = request.send().await.expect("the API answers");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    /// Brings what a browser brought, as a program does.
    pub(super) async fn bring(&self, back: &Url) -> Answer {
        let answer: BTreeMap<_, _> = back.query_pairs().collect();
        self.client.http.post("/api/oauth/sandbox/callback", &json!(answer)).await
    }

    pub(super) async fn ask(&self, url: &Url, cookies: &[String]) -> reqwest::Response {
        let request = self.browser.get(url.clone()).header(COOKIE, cookies.join("; "));
        request.send().await.expect("the provider answers")
    }

    /// Walks a person's browser from an address to consent at to a refusal; answers where it is sent.
    pub(super) async fn refuse(&self, authorize_url: &Url) -> Url {
        let (mut jar, mut place) = (Vec::new(), authorize_url.clone());
        while place.origin() == self.oidc.url().origin() {
            let answer = self.ask(&place, &jar).await;
            let set = answer.headers().get_all(SET_COOKIE).iter();
            jar.extend(set.map(|cookie| {
                let cookie = cookie.to_str().expect("a cookie in ASCII");
                cookie.split(';').next().unwrap_or_default().to_owned()
            }));
            place = match answer.headers().get(LOCATION) {
                Some(next) => {
                    let next = next.to_str().expect("a location in ASCII");
                    place.join(next).expect("a location is an address")
                }
                // The page that asks has a link for who does not want to.
                None => format!("{place}/abort").parse().expect("an address"),
            };
        }
        place
    }

    /// What the platform answers to an access token.
    pub(super) async fn posts_by(&self, token: &SecretString) -> u16 {
        let url = self.oidc.url().join("posts").expect("an address");
        let request = self.browser.get(url).bearer_auth(token.expose_secret());
        request.send().await.expect("the platform answers").status().as_u16()
    }

    pub(super) async fn connectors(&self) -> Vec<Value> {
        let list = self.client.http.get("/api/connectors").await.expect(200);
        list["items"].as_array().expect("a list").clone()
    }

    /// The version of an account's secrets.
    pub(super) async fn version(&self, connector: &str) -> i64 {
        let access = self.fleet.store().access(connector.parse().expect("an id")).await;
        access.expect("tokens can be read").expect("it is there").version
    }

    /// Lets an account need a person, as a platform's refusal does.
    pub(super) async fn revoke(&self, connector: &str) {
        let id = connector.parse().expect("an id");
        let version = self.version(connector).await;
        let revoked = self.fleet.store().revoke(id, None, version, "refused").await;
        assert!(revoked.expect("the database answers"), "somebody renews it");
    }
}

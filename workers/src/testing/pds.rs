//! A real Bluesky server (PDS) with its directory, private to a test, on loopback.

mod limits;
mod look;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::hmac::{Hmac, KeyInit, Mac};
use http::Method;
use postworks::job::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::process::Child;
use url::Url;

use super::script::{self, Runtime, Script, answer, text};
use crate::platforms::http::{Http, RequestBuilder, endpoint};

const PLC: Script = of_folder(&["-r", "./lo.js", "plc.js"]);
const PDS: Script = of_folder(&["-r", "./lo.js", "pds.js"]);
const JWT_SECRET: &str = "test-jwt-secret";

const fn of_folder(args: &'static [&'static str]) -> Script {
    Script { folder: "servers/pds", runtime: Runtime::Node("@atproto/pds"), args }
}

/// A running server. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct PdsServer {
    pds: Option<Child>,
    // After the server, which asks it while it runs.
    _plc: Child,
    // After both have ended: nothing writes into a folder that is being removed.
    data: TempDir,
    plc_port: u16,
    port: u16,
    // While the server is down, nobody else gets its port: connections to it are refused.
    reserved: Option<TcpSocket>,
    http: Http,
}

/// An account on the server.
#[derive(Debug, Clone)]
pub struct PdsAccount {
    /// Its name, such as `alice.test`.
    pub handle: String,
    /// Its permanent id.
    pub did: String,
    /// Its password.
    pub password: SecretString,
}

/// A post as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PdsRecord {
    /// Its `at://` address.
    pub uri: String,
    /// The hash of its content.
    pub cid: String,
    /// Its text.
    pub text: String,
}

impl PdsServer {
    /// Starts a directory and a server with no accounts, and waits until it is healthy.
    pub async fn start() -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let plc_port = free_port();
        let plc = spawn(&PLC, &[("PLC_PORT", plc_port.to_string())]).await;
        let http = script::http();
        let (port, reserved) = (free_port(), None);
        let mut server = Self { pds: None, _plc: plc, data, plc_port, port, reserved, http };
        server.restart().await;
        server
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The server's address as an account's `base_url`.
    pub fn url(&self) -> Url {
        format!("http://{}", self.address()).parse().expect("an address is a URL")
    }

    /// Ends the server at once, as `kill -9` does. Its data stay.
    pub async fn kill(&mut self) {
        if let Some(mut pds) = self.pds.take() {
            pds.kill().await.expect("kill the server");
            self.reserved = Some(reserve(self.address()));
        }
    }

    /// Starts the server again on the same data and port.
    pub async fn restart(&mut self) {
        self.kill().await;
        let env = environment(self.data.path(), self.port, self.plc_port);
        self.reserved = None;
        self.pds = Some(spawn(&PDS, &env).await);
        self.get("_health", &[]).await;
    }

    /// Creates an account such as `alice.test`.
    pub async fn create_account(&self, handle: &str) -> PdsAccount {
        let password = format!("password of {handle}");
        let body = json!({
            "handle": handle,
            "email": format!("{handle}@example.invalid"),
            "password": password,
        });
        let url = endpoint(&self.url(), "xrpc/com.atproto.server.createAccount");
        let request = self.http.request(Method::POST, url).json(&body);
        let account = answer(request).await;
        PdsAccount {
            handle: handle.to_owned(),
            did: text(&account, "did"),
            password: password.into(),
        }
    }

    /// An access token of this account that ended at `expired_at`. The server signs tokens with
    /// its HS256 secret, which we gave it, so that no test has to wait two hours.
    pub fn expired_access(&self, did: &str, expired_at: Timestamp) -> SecretString {
        let end = expired_at.as_millis() / 1000;
        let header = json!({ "typ": "at+jwt", "alg": "HS256" });
        let claims = json!({
            "scope": "com.atproto.access",
            "aud": "did:web:localhost",
            "sub": did,
            "iat": end - 7200,
            "exp": end,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut mac =
            Hmac::<Sha256>::new_from_slice(JWT_SECRET.as_bytes()).expect("HMAC takes any key");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).into()
    }

    /// All posts of an account, newest first.
    pub async fn records(&self, did: &str) -> Vec<PdsRecord> {
        let mut records = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let mut query = vec![("repo", did), ("collection", "app.bsky.feed.post")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self.get("com.atproto.repo.listRecords", &query).await;
            for record in page["records"].as_array().expect("a list of records") {
                records.push(PdsRecord {
                    uri: text(record, "uri"),
                    cid: text(record, "cid"),
                    text: text(&record["value"], "text"),
                });
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return records,
            }
        }
    }

    /// Asks for the next tokens of a session; answers the status. A session that has not ended is
    /// renewed.
    pub async fn refresh(&self, token: &SecretString) -> u16 {
        let url = endpoint(&self.url(), "xrpc/com.atproto.server.refreshSession");
        let request = self.http.request(Method::POST, url).bearer_auth(token.expose_secret());
        request.send().await.expect("the server answers").status().as_u16()
    }

    async fn get(&self, name: &str, query: &[(&str, &str)]) -> Value {
        let url = endpoint(&self.url(), &format!("xrpc/{name}"));
        answer(self.http.request(Method::GET, url).query(query)).await
    }
}

impl PdsAccount {
    /// The password in the clear, for configuration files of tests.
    pub fn exposed_password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// Starts one of the two servers and waits until it listens.
async fn spawn(script: &Script, env: &[(&str, String)]) -> Child {
    script.start(env).await.0
}

/// A port that was free a moment ago. Another process may take it first; then the start fails
/// and says so.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    listener.local_addr().expect("the port of a bound listener").port()
}

/// Keeps an address without listening on it. Connections of the server that had it may still be
/// in their last minute, which only the option permits.
pub(super) fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every socket");
    socket.bind(address).expect("bind the port of a server that is down");
    socket
}

fn environment(data: &Path, port: u16, plc_port: u16) -> Vec<(&'static str, String)> {
    let folder = |name: &str| data.join(name).display().to_string();
    // No secret protects anything here.
    let key = "11".repeat(32);
    vec![
        ("PDS_DEV_MODE", "true".into()),
        ("PDS_PORT", port.to_string()),
        ("PDS_HOSTNAME", "localhost".into()),
        ("PDS_SERVICE_HANDLE_DOMAINS", ".test".into()),
        ("PDS_DATA_DIRECTORY", folder("")),
        ("PDS_BLOBSTORE_DISK_LOCATION", folder("blobs")),
        ("PDS_BLOBSTORE_DISK_TMP_LOCATION", folder("blobs-tmp")),
        ("PDS_DID_PLC_URL", format!("http://127.0.0.1:{plc_port}")),
        // There is no app view; port 9 refuses.
        ("PDS_BSKY_APP_VIEW_URL", "http://127.0.0.1:9".into()),
        ("PDS_BSKY_APP_VIEW_DID", "did:web:localhost%3A9".into()),
        ("PDS_INVITE_REQUIRED", "false".into()),
        ("PDS_DISABLE_SSRF_PROTECTION", "true".into()),
        ("PDS_RATE_LIMITS_ENABLED", "true".into()),
        ("PDS_JWT_SECRET", JWT_SECRET.into()),
        ("PDS_DPOP_SECRET", "22".repeat(32)),
        ("PDS_ADMIN_PASSWORD", "admin".into()),
        ("PDS_REPO_SIGNING_KEY_K256_PRIVATE_KEY_HEX", key.clone()),
        ("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX", key),
        ("LOG_ENABLED", "false".into()),
    ]
}

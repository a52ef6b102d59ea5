//! A real Matrix server (Synapse) private to a test, on loopback.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use url::Url;

use super::pds::reserve;
use super::script::{self, answer, text};
use crate::platforms::http::{Http, RequestBuilder, endpoint};

/// Starting takes about two seconds; this is for machines under load.
const START_LIMIT: Duration = Duration::from_secs(90);
/// What the server says once it takes requests, before its port.
const LISTENS: &str = "now listening on TCP port ";
/// The last lines of the server that a failed start quotes.
const LINES_KEPT: usize = 12;
/// Events of a room that are read in one request.
const PAGE_EVENTS: u32 = 100;

/// How the server treats its accounts.
#[derive(Debug, Clone, Copy)]
pub struct SynapseOptions {
    /// Messages of one account.
    pub messages: Allowance,
    /// How long an access token is good that can be refreshed.
    pub access_lifetime: Duration,
}

/// How many requests are served at once, and how many a second after these.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// At once.
    pub burst: u32,
    /// A second.
    pub per_second: f64,
}

impl Allowance {
    const PLENTY: Self = Self { burst: 1_000_000, per_second: 1_000_000.0 };

    fn config(self) -> Value {
        json!({ "per_second": self.per_second, "burst_count": self.burst })
    }
}

impl Default for SynapseOptions {
    /// As many messages as one likes, and tokens of five minutes.
    fn default() -> Self {
        Self { messages: Allowance::PLENTY, access_lifetime: Duration::from_secs(300) }
    }
}

/// A running server. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct SynapseServer {
    server: Option<Child>,
    // After the server has ended: nothing writes into a folder that is being removed.
    data: TempDir,
    options: SynapseOptions,
    // The server's choice at its first start, and the same ever after.
    port: u16,
    // While the server is down, nobody else gets its port: connections to it are refused.
    reserved: Option<TcpSocket>,
    http: Http,
}

/// An account on the server.
#[derive(Debug, Clone)]
pub struct SynapseUser {
    /// Its id, such as `@alice:localhost`.
    pub user_id: String,
    /// Its password.
    pub password: SecretString,
    /// Proves a device of its own, which the test reads and writes with.
    pub access: SecretString,
    /// That device.
    pub device_id: String,
}

/// A message as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynapseMessage {
    /// Its event's id.
    pub event_id: String,
    /// Whose it is.
    pub sender: String,
    /// Its text, or its image's caption.
    pub text: String,
    /// All of its content.
    pub content: Value,
}

impl SynapseServer {
    /// Starts a server with no accounts, which serves as much as one likes.
    pub async fn start() -> Self {
        Self::start_with(SynapseOptions::default()).await
    }

    /// Starts a server with no accounts.
    pub async fn start_with(options: SynapseOptions) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let http = script::http();
        let mut server = Self { server: None, data, options, port: 0, reserved: None, http };
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
        if let Some(mut server) = self.server.take() {
            server.kill().await.expect("kill the server");
            self.reserved = Some(reserve(self.address()));
        }
    }

    /// Starts the server again on the same data and port, and waits until it listens.
    pub async fn restart(&mut self) {
        self.kill().await;
        let config = self.data.path().join("homeserver.yaml");
        // Each JSON is YAML.
        let settings = settings(self.data.path(), self.port, self.options).to_string();
        fs::write(&config, settings).expect("a file of our own");
        self.reserved = None;
        let (server, port) = spawn(&config).await;
        (self.server, self.port) = (Some(server), port);
    }

    /// Creates an account such as `alice`.
    pub async fn create_user(&self, name: &str) -> SynapseUser {
        let password = format!("password of {name}");
        let body = json!({
            "username": name,
            "password": password,
            "auth": { "type": "m.login.dummy" },
        });
        let account = answer(self.request(Method::POST, "register").json(&body)).await;
        SynapseUser {
            user_id: text(&account, "user_id"),
            password: password.into(),
            access: text(&account, "access_token").into(),
            device_id: text(&account, "device_id"),
        }
    }

    /// Creates a room of this user, by the fields of `createRoom`; answers its id.
    pub async fn create_room(&self, owner: &SynapseUser, fields: &Value) -> String {
        let (status, room) = self.ask(owner, Method::POST, "createRoom", fields).await;
        assert_eq!(status, 200, "{room}");
        text(&room, "room_id")
    }

    /// All messages of a room, newest first, as a member of it sees them.
    pub async fn messages(&self, reader: &SynapseUser, room: &str) -> Vec<SynapseMessage> {
        let mut messages = Vec::new();
        let mut from = None::<String>;
        loop {
            let mut request = self
                .request(Method::GET, &format!("rooms/{room}/messages"))
                .query(&[("dir", "b"), ("filter", r#"{"types":["m.room.message"]}"#)])
                .query(&[("limit", PAGE_EVENTS)])
                .bearer_auth(reader.access.expose_secret());
            if let Some(from) = &from {
                request = request.query(&[("from", from)]);
            }
            let page = answer(request).await;
            let events = page["chunk"].as_array().expect("a list of events").iter();
            messages.extend(events.map(|event| SynapseMessage {
                event_id: text(event, "event_id"),
                sender: text(event, "sender"),
                text: text(&event["content"], "body"),
                content: event["content"].clone(),
            }));
            match page["end"].as_str() {
                Some(end) => from = Some(end.to_owned()),
                None => return messages,
            }
        }
    }

    /// The names of an account's devices by their ids, but for the test's own.
    pub async fn devices(&self, user: &SynapseUser) -> Vec<(String, String)> {
        let (status, all) = self.ask(user, Method::GET, "devices", &Value::Null).await;
        assert_eq!(status, 200, "{all}");
        let all = all["devices"].as_array().expect("a list of devices").iter();
        all.map(|device| (text(device, "device_id"), text(device, "display_name")))
            .filter(|(id, _)| *id != user.device_id)
            .collect()
    }

    /// Signs an account out on every device but the test's own, as its owner can anywhere.
    pub async fn end_sessions(&self, user: &SynapseUser) {
        let devices: Vec<_> = self.devices(user).await.into_iter().map(|(id, _)| id).collect();
        let body = json!({
            "devices": devices,
            "auth": {
                "type": "m.login.password",
                "identifier": { "type": "m.id.user", "user": user.user_id },
                "password": user.password.expose_secret(),
            },
        });
        let (status, said) = self.ask(user, Method::POST, "delete_devices", &body).await;
        assert_eq!(status, 200, "{said}");
    }

    /// Asks anything for an account (the path is that below `/_matrix/client/v3/`); answers the
    /// status and what it says.
    pub async fn ask(
        &self,
        user: &SynapseUser,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = self.request(method, path).bearer_auth(user.access.expose_secret());
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the server answers");
        let (status, body) = (answer.status(), answer.text().await.expect("a whole answer"));
        (status.as_u16(), serde_json::from_str(&body).expect("an answer in JSON"))
    }

    /// A file that somebody uploaded, by what follows `mxc://` in its address.
    pub async fn media(&self, reader: &SynapseUser, media: &str) -> Vec<u8> {
        let path = format!("_matrix/client/v1/media/download/{media}");
        let request = self.http.request(Method::GET, endpoint(&self.url(), &path));
        let request = request.bearer_auth(reader.access.expose_secret());
        let answer = request.send().await.expect("the server answers");
        assert!(answer.status().is_success(), "{media}: {}", answer.status());
        answer.bytes().await.expect("a whole file").to_vec()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, endpoint(&self.url(), &format!("_matrix/client/v3/{path}")))
    }
}

impl SynapseUser {
    /// The password in the clear, for configuration files of tests.
    pub fn exposed_password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// Starts the server and waits until it says that it listens; answers where.
async fn spawn(config: &Path) -> (Child, u16) {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("../.tools/matrix/bin/python");
    assert!(python.exists(), "Synapse is not installed: run `make setup-platforms`");
    let mut server = Command::new(python)
        .args(["-u", "serve.py", "--config-path"])
        .arg(config)
        .current_dir(project.join("tests/servers/matrix"))
        // Its end tells the server to end, should we be killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the environment's Python starts");
    let stderr = server.stderr.take().expect("a piped stderr");
    let mut lines = BufReader::new(stderr).lines();
    let mut last = VecDeque::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("read what the server says") {
            if let Some((_, port)) = line.split_once(LISTENS) {
                return port.trim().parse().ok();
            }
            last.push_back(line);
            if last.len() > LINES_KEPT {
                last.pop_front();
            }
        }
        None
    };
    let port = tokio::time::timeout(START_LIMIT, ready).await.ok().flatten();
    let port = port.unwrap_or_else(|| panic!("Synapse did not start: {last:#?}"));
    // Read on: a process that writes to a closed pipe ends.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (server, port)
}

fn settings(data: &Path, port: u16, options: SynapseOptions) -> Value {
    let at = |name: &str| data.join(name).display().to_string();
    let plenty = Allowance::PLENTY.config();
    json!({
        "server_name": "localhost",
        "report_stats": false,
        "pid_file": at("homeserver.pid"),
        "listeners": [{
            "port": port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{ "names": ["client"] }],
        }],
        "database": { "name": "sqlite3", "args": { "database": at("homeserver.db") } },
        "media_store_path": at("media"),
        // No secret protects anything here.
        "signing_key": "ed25519 a_test VGhlIGtleSBvZiBhIHRlc3QsIG9mIDMyIGJ5dGVzLi4",
        "macaroon_secret_key": "test",
        "form_secret": "test",
        "registration_shared_secret": "test",
        // Nothing is asked of other servers.
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        "presence": { "enabled": false },
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "refreshable_access_token_lifetime": u64::try_from(options.access_lifetime.as_millis()).expect("a lifetime"),
        "rc_message": options.messages.config(),
        "rc_registration": plenty,
        "rc_login": { "address": plenty, "account": plenty, "failed_attempts": plenty },
        "rc_joins": { "local": plenty, "remote": plenty },
        "rc_joins_per_room": plenty,
        "rc_invites": { "per_room": plenty, "per_user": plenty, "per_issuer": plenty },
        "rc_room_creation": plenty,
        "rc_profile": plenty,
    })
}

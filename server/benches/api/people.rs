//! Logins, what else goes on while too many log in, and many people at work.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use serde_json::json;

use crate::fleet::{ANY, Client, POSTWORKS, Process, run};
use crate::load::{self, Load, Make, Pace};
use crate::report::Report;
use crate::target::{Target, address_of, request};
use crate::{Plan, Totals};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "correct horse battery";
/// People who are logged in and work at the same time, each on a connection.
const PEOPLE: usize = 500;
/// Requests a second of all of them.
const THEIR_RATE: f64 = 500.0;
/// Who logs in at the same time, in good order and beyond what can be checked.
const FEW: usize = 5;
const MANY: usize = 200;

/// An API that asks who asks.
struct Door {
    address: SocketAddr,
    key: String,
    _api: Process,
}

pub(crate) async fn measure(
    plan: &Plan,
    target: &Target,
    report: &mut Report,
    totals: &mut Totals,
) {
    let door = open(target).await;
    let few = Load { pace: Pace::Answered, span: plan.span, connections: FEW };
    let logins = load::send(door.address, few, door.login()).await;
    report.at_most("people", "login, 5 at once, p95", logins.ms(95.0), "ms", 200.0);
    totals.add(&logins);

    let lists = Load { pace: Pace::Rate(200.0), ..plan.load(0.0) };
    let before = load::send(door.address, lists, door.list()).await;
    let many = Load { connections: MANY, ..few };
    let (flood, others) = tokio::join!(
        load::send(door.address, many, door.login()),
        load::send(door.address, lists, door.list())
    );
    let slowest = flood.refused.max() as f64 / 1_000.0;
    report.figure("people", "logins refused, 200 at once", flood.refusals() as f64, "");
    report.at_most("people", "slowest of those refusals", slowest, "ms", 1_000.0);
    report.figure("people", "a list meanwhile, p99", others.ms(99.0), "ms");
    report.figure("people", "the same list before, p99", before.ms(99.0), "ms");
    totals.add(&before);
    totals.add(&others);

    let tokens = door.tokens().await;
    let work = Load { pace: Pace::Rate(THEIR_RATE), span: plan.span, connections: PEOPLE };
    let outcome = load::send(door.address, work, door.mixture(tokens)).await;
    let errors = outcome.requests() - outcome.good();
    report.at_most("people", "500 people, mixed requests: errors", errors as f64, "", 0.0);
    report.at_most("people", "500 people, 500/s, p99", outcome.ms(99.0), "ms", 250.0);
    totals.add(&outcome);
}

/// Starts an API with authentication beside the other one, a user and a key.
async fn open(target: &Target) -> Door {
    let fleet = &target.fleet;
    let folder = tempfile::tempdir().expect("a folder").keep();
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).expect("a file");
    let password = password.to_str().expect("text");
    let user = ["user", "create", "--email", EMAIL, "--role", "producer", "--password-file"];
    let made = run(&[&user[..], &[password]].concat(), fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = run(&["apikey", "create", "--role", "producer"], fleet.vars()).await;
    assert_eq!(key.code, 0, "{}", key.stderr);
    let mut vars = fleet.vars().to_vec();
    vars.push(("POSTWORKS_AUTH", "on".to_owned()));
    let mut api = Process::start("door", POSTWORKS, &["api", "--listen", ANY], &vars, &folder);
    let address = address_of(&api.listening("api").await);
    Door { address, key: key.stdout.trim().to_owned(), _api: api }
}

impl Door {
    fn login(&self) -> Arc<Make> {
        let host = self.address.to_string();
        let body = json!({ "email": EMAIL, "password": PASSWORD });
        Arc::new(move |_| request(&host, Method::POST, "/api/auth/login", Some(&body)))
    }

    fn list(&self) -> Arc<Make> {
        let (host, key) = (self.address.to_string(), self.key.clone());
        Arc::new(move |_| known(&key, request(&host, Method::GET, "/api/connectors", None)))
    }

    /// Each from a login of its own.
    async fn tokens(&self) -> Vec<String> {
        let client = Client::new(&format!("http://{}", self.address));
        let body = json!({ "email": EMAIL, "password": PASSWORD });
        let mut tokens = Vec::with_capacity(PEOPLE);
        for _ in 0..PEOPLE {
            let pair = client.http.post("/api/auth/login", &body).await.expect(200);
            tokens.push(pair["access_token"].as_str().expect("a token").to_owned());
        }
        tokens
    }

    /// Mostly looks, some work.
    fn mixture(&self, tokens: Vec<String>) -> Arc<Make> {
        let host = self.address.to_string();
        let job = json!({ "kind": "data_cleanup", "args": { "dry_run": true },
            "delay_ms": 86_400_000 });
        let post = json!({ "text": "hello" });
        Arc::new(move |n| {
            let asked = match n % 10 {
                0..4 => request(&host, Method::GET, "/api/jobs?limit=20", None),
                4..6 => request(&host, Method::GET, "/api/connectors", None),
                6..8 => request(&host, Method::GET, "/api/posts", None),
                8 => request(&host, Method::POST, "/api/jobs", Some(&job)),
                _ => request(&host, Method::POST, "/api/posts", Some(&post)),
            };
            let who = usize::try_from(n).unwrap_or(0) % tokens.len();
            known(&tokens[who], asked)
        })
    }
}

/// The request of somebody who is known.
fn known(token: &str, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let value = format!("Bearer {token}").parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    request
}

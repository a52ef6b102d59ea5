//! One client too busy, too slow or too many: the others are served.

use std::time::{Duration, Instant};

use postworks::config::{Config, Environment, Sources};
use postworks_workers::node::Node;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::{LONG, until};
use crate::world::World;

/// Pages that are always answered.
const ALWAYS: [&str; 5] = ["/livez", "/readyz", "/health", "/api/health", "/metrics"];

/// A client that has this address.
fn client(address: [u8; 4]) -> Client {
    let builder = Client::builder().no_proxy().timeout(LONG).local_address(Some(address.into()));
    builder.build().unwrap()
}

fn number(response: &Response, header: &str) -> Option<u64> {
    response.headers().get(header).map(|value| value.to_str().unwrap().parse().unwrap())
}

/// A connection that has sent this and nothing else.
async fn connect(url: &str, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the other side ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset has ended as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_slowed() {
    let world = World::with("[api]\nrate_limit = 1\nrate_burst = 3").await;
    let (url, _guard) = world.serve().await;
    let (busy, calm) = (client([127, 0, 0, 1]), client([127, 0, 0, 2]));
    let ask = async |client: &Client| client.get(format!("{url}/api/jobs")).send().await.unwrap();
    let first = ask(&busy).await;
    assert_eq!(first.status(), 200);
    assert_eq!(number(&first, "ratelimit-limit"), Some(3));
    assert_eq!(number(&first, "ratelimit-remaining"), Some(2));
    assert_eq!(number(&first, "ratelimit-reset"), Some(1));
    let mut refused = ask(&busy).await;
    while refused.status() == 200 {
        refused = ask(&busy).await;
    }
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(number(&refused, "ratelimit-remaining"), Some(0));
    let wait = number(&refused, "retry-after").unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!((&problem["status"], &problem["errors"]), (&json!(429), &json!([])));
    for _ in 0..20 {
        ask(&busy).await;
    }
    assert_eq!(ask(&calm).await.status(), 200, "it asked nothing yet");
    for page in ALWAYS {
        let answer = busy.get(format!("{url}{page}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{page}");
        assert_eq!(number(&answer, "ratelimit-limit"), None, "{page}");
    }
    // Time itself is the subject: it comes back when it was told to.
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(ask(&busy).await.status(), 200);
}

#[tokio::test]
async fn rate_limits_can_be_switched_off_where_load_is_the_subject() {
    for variable in [("DISABLE_RATE_LIMITING", "true"), ("POSTWORKS_RATE_LIMIT", "off")] {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            Sources::default().file("test.toml", "[api]\nrate_limit = 1\nrate_burst = 1");
        let environment =
            Environment::read(|name| (name == variable.0).then(|| variable.1.to_owned())).unwrap();
        let config = Config::load(&settings).unwrap();
        let node = Node::embedded(folder.path(), config, &environment).await.unwrap();
        let world = World::of(node, folder);
        let (url, _guard) = world.serve().await;
        for _ in 0..10 {
            let answer =
                client([127, 0, 0, 1]).get(format!("{url}/api/jobs")).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), number(&answer, "ratelimit-limit")), (200, None));
        }
    }
}

#[tokio::test]
async fn liveness_answers_while_every_place_is_taken() {
    let world = World::with("[api]\nrequests_max = 3").await;
    let (url, _guard) = world.serve().await;
    let endless = "POST /api/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                   content-length: 100\r\n\r\n{";
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect(&url, endless).await);
    }
    let http = client([127, 0, 0, 1]);
    let ask = async || http.get(format!("{url}/api/jobs")).send().await.unwrap();
    until("three places hold four", LONG, async || ask().await.status() == 503).await;
    let asked = Instant::now();
    let refused = ask().await;
    println!("refused within {:?}", asked.elapsed());
    assert!((30..=45).contains(&number(&refused, "retry-after").unwrap()));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["detail"], "Service busy, retry in 30s");
    assert_eq!(problem["cause"], "in_flight: 3 requests are under way, which is the most");
    for page in ALWAYS {
        let answer = http.get(format!("{url}{page}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{page}");
    }
    held.pop();
    until("a place never comes free", LONG, async || ask().await.status() == 200).await;
}

#[tokio::test]
async fn a_body_that_never_ends_loses_its_place() {
    let settings = "[api]\nrequests_max = 1\nrequest_timeout = \"500ms\"";
    let world = World::with(settings).await;
    let (url, _guard) = world.serve().await;
    let head = "POST /api/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let (mut answers, mut endless) = connect(&url, head).await.into_split();
    let trickle = async {
        // The server closes it one day; the pause is the attack.
        while endless.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        () = trickle => panic!("it was cut off without an answer"),
        read = answers.read_exact(&mut answer) => drop(read.unwrap()),
    }
    assert_eq!(&answer, b"HTTP/1.1 503");
    let other = client([127, 0, 0, 1]).get(format!("{url}/api/jobs")).send().await.unwrap();
    assert_eq!(other.status(), 200, "its place is free");
}

#[tokio::test]
async fn whoever_never_ends_the_head_of_a_request_is_cut_off() {
    let world = World::with("[api]\nhead_timeout = \"300ms\"").await;
    let (url, _guard) = world.serve().await;
    for begun in ["", "GET /livez HTTP/1.1\r\nhost: loc"] {
        let mut slow = connect(&url, begun).await;
        let started = Instant::now();
        let answer =
            tokio::time::timeout(LONG, rest(&mut slow)).await.expect("it is kept for ever");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(started.elapsed() >= Duration::from_millis(250), "it had no time at all");
    }
    let whole = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect(&url, whole).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

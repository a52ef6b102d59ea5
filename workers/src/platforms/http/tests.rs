//! What a failed exchange means, seen on servers that misbehave.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use postworks::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::platforms::answer::ErrorTable;
use crate::platforms::bluesky::DESCRIPTOR;
use crate::platforms::call::{Api, Step};
use crate::platforms::sandbox::{SANDBOX, SANDBOX_BLIND};

/// Goes by the status alone.
static NO_WORDS: ErrorTable = ErrorTable::plain(&[]);
const LONG: Duration = Duration::from_secs(20);

/// A step's call of a platform, without secrets.
fn call(descriptor: &'static Descriptor, step: Step) -> Call<'static> {
    let api = Api { descriptor, refusals: &NO_WORDS };
    Call { api, step, account: Uuid::nil(), secrets: &[] }
}

fn public() -> Http {
    Http::new(&DESCRIPTOR, &HttpOptions::new(NetworkPolicy::default()), SystemClock::shared())
        .unwrap()
}

/// A client of a local platform that waits for an answer so long.
fn local(descriptor: &'static Descriptor, total: Duration) -> Http {
    let timeouts = Timeouts { total, ..Timeouts::default() };
    let options = HttpOptions::new(NetworkPolicy::default()).with_timeouts(timeouts);
    Http::new(descriptor, &options, SystemClock::shared()).unwrap()
}

/// A server that answers each connection's first request by `answer`.
struct Server {
    url: Url,
    connections: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start<F, Fut>(answer: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream));
            }
        });
        Self { url, connections, serving }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads a request's head, to its end; whether there was one.
async fn head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => seen.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Writes `start`, and then `part` for as long as somebody reads.
async fn without_end(mut stream: TcpStream, start: &str, part: &[u8], pause: Duration) {
    head(&mut stream).await;
    let mut written = stream.write_all(start.as_bytes()).await;
    while written.is_ok() {
        tokio::time::sleep(pause).await;
        written = stream.write_all(part).await;
    }
}

async fn get(http: &Http, server: &Server, step: Step) -> Result<Answer, JobError> {
    let request = http.request(Method::GET, server.url.clone());
    http.send(call(&SANDBOX_BLIND, step), request).await
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_for_good() {
    let http = public();
    // Past the check of the URL, as any other name with such an address would get.
    let error = http.client.get("https://localhost:9/").send().await.unwrap_err();
    let failed = http.failed(call(&DESCRIPTOR, Step::Publish), error);
    assert_eq!(failed.class(), ErrorClass::Invalid);
    assert!(failed.to_string().contains("localhost is this machine"), "{failed}");
}

#[tokio::test]
async fn plain_http_is_refused_by_the_client_itself_as_well() {
    let error = public().client.get("http://pds.example/").send().await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_was_sent_nothing() {
    let http = public();
    // A label may have 63 characters, so the resolver refuses this without asking anybody.
    let url = format!("https://{}.example/", "a".repeat(64)).parse().unwrap();
    let request = http.request(Method::POST, url);
    let error = http.send(call(&DESCRIPTOR, Step::Publish), request).await.err().unwrap();
    assert_eq!(error.class(), ErrorClass::NotSent, "{}", error.chain());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let line = format!("x-more: {}\r\n", "x".repeat(0x1000));
    let endless = [
        (chunked.to_owned(), chunk, "the answer is longer than 1 MiB"),
        // Its length alone tells.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n".into(), String::new(), "1 MiB"),
        ("HTTP/1.1 200 OK\r\n".into(), line, "the connection broke"),
    ];
    let http = local(&SANDBOX_BLIND, LONG);
    for (start, part, words) in endless {
        let server = Server::start(move |stream| {
            let (start, part) = (start.clone(), part.clone());
            async move { without_end(stream, &start, part.as_bytes(), Duration::ZERO).await }
        })
        .await;
        let error = get(&http, &server, Step::Publish).await.err().unwrap();
        assert!(error.to_string().contains(words), "{}", error.chain());
        assert_eq!(error.class(), ErrorClass::Unknown { repeatable: false }, "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_trickles_ends_with_the_total_time() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let trickles = [(chunked, "1\r\nx\r\n"), ("HTTP/1.1 200 OK\r\n", "a: b\r\n"), ("", "")];
    let http = local(&SANDBOX_BLIND, Duration::from_millis(300));
    for (start, part) in trickles {
        let server = Server::start(move |stream| {
            without_end(stream, start, part.as_bytes(), Duration::from_millis(20))
        })
        .await;
        let error = get(&http, &server, Step::Publish).await.err().unwrap();
        assert!(error.to_string().ends_with("no answer within 300ms"), "{}", error.chain());
        assert_eq!(error.class(), ErrorClass::Unknown { repeatable: false }, "{error}");
    }
}

#[tokio::test]
async fn a_packed_answer_is_not_unpacked() {
    // `{}`, packed by gzip.
    const PACKED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0C\xbf\xa6\xa3\x02\0\0\0";
    let server = Server::start(|mut stream| async move {
        head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 22\r\n\r\n";
        stream.write_all(&[head.as_bytes(), PACKED].concat()).await.unwrap();
        // Until the client has read it.
        let _ = stream.read_u8().await;
    })
    .await;
    let answer = get(&local(&SANDBOX_BLIND, LONG), &server, Step::Read).await.unwrap();
    assert_eq!(&answer.body[..], PACKED);
    let call = call(&SANDBOX_BLIND, Step::Read);
    let read = answer.value::<serde_json::Value>(call);
    assert_eq!(
        read.unwrap_err().to_string(),
        "reading from sandbox_blind: 200 OK with an answer that is packed (gzip)"
    );
}

#[tokio::test]
async fn no_platform_shares_a_connection_with_another() {
    let server = Server::start(|mut stream| async move {
        while head(&mut stream).await {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let (one, other) = (local(&SANDBOX, LONG), local(&SANDBOX_BLIND, LONG));
    for (http, connections) in [(&one, 1), (&one, 1), (&other, 2), (&one, 2), (&other, 2)] {
        get(http, &server, Step::Read).await.unwrap();
        assert_eq!(server.connections(), connections);
    }
}

/// Answers in turn; the last answer stays.
struct Moving {
    answers: Mutex<VecDeque<IpAddr>>,
    asked: AtomicUsize,
}

impl Moving {
    fn through(answers: &[&str]) -> Arc<Self> {
        let answers = answers.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for Moving {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let first = answers[0];
        if answers.len() > 1 {
            answers.pop_front();
        }
        Ok(vec![first])
    }
}

#[tokio::test]
async fn a_name_that_moves_is_asked_for_once_a_connection_and_checked_each_time() {
    let server = Server::start(|mut stream| async move {
        // Two answers a connection.
        for _ in 0..2 {
            if head(&mut stream).await {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let lookup = Moving::through(&["127.0.0.1", "169.254.169.254"]);
    let policy = NetworkPolicy { allow_loopback: true };
    let options = HttpOptions::new(policy).with_lookup(lookup.clone());
    let http = Http::new(&DESCRIPTOR, &options, SystemClock::shared()).unwrap();
    let url = format!("http://pds.example:{}/", server.url.port().unwrap());
    let url: Url = url.parse().unwrap();
    let get = async || {
        let request = http.request(Method::GET, url.clone());
        http.send(call(&DESCRIPTOR, Step::Read), request).await
    };
    for n in 1..=2 {
        get().await.unwrap();
        assert_eq!((lookup.asked(), server.connections()), (1, 1), "request {n}");
    }
    // The server has closed the connection. Should the client not know yet, it asks again.
    let refused = loop {
        match get().await {
            Err(error) if error.class() == ErrorClass::Invalid => break error,
            Err(error) => assert_eq!(error.class(), ErrorClass::Transient, "{}", error.chain()),
            Ok(_) => panic!("somebody answered at the name's second address"),
        }
    };
    assert!(refused.to_string().contains("169.254.169.254, a link-local address"), "{refused}");
    assert_eq!((lookup.asked(), server.connections()), (2, 1), "refused without a connection");
}

#[test]
fn a_path_is_added_to_the_address() {
    for (base, url) in [
        ("https://a.example", "https://a.example/xrpc/x"),
        ("https://a.example/", "https://a.example/xrpc/x"),
        ("https://a.example/pds/", "https://a.example/pds/xrpc/x"),
    ] {
        assert_eq!(endpoint(&base.parse().unwrap(), "xrpc/x").as_str(), url);
    }
}

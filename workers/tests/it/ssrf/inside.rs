//! Servers where only this machine or its network can reach, which would answer: nobody asks them.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::alone::{Alone, alone};
use super::*;

const METADATA: &str = "169.254.169.254";
/// What a metadata service would give away.
const CREDENTIALS: &str = "the machine's credentials";

/// Counts those who connect to a port.
async fn counting(address: &str) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(address).await.unwrap();
    let count = Arc::<AtomicUsize>::default();
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            // It says nothing to whoever wants to speak TLS.
            let _ = stream.read_u8().await;
        }
    });
    count
}

/// Gives credentials to whoever asks, and counts them.
async fn metadata(network: &Alone, address: &str) -> Arc<AtomicUsize> {
    network.own(address.trim_matches(['[', ']']));
    let asked = Arc::<AtomicUsize>::default();
    let answer = async |State(asked): State<Arc<AtomicUsize>>| {
        asked.fetch_add(1, Ordering::SeqCst);
        CREDENTIALS
    };
    let router = Router::new().fallback(answer).with_state(Arc::clone(&asked));
    let listener = TcpListener::bind(format!("{address}:80")).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    asked
}

/// A platform's server that sends everybody elsewhere.
#[derive(Default)]
struct Redirecting {
    to: Mutex<(u16, String)>,
    asked: AtomicUsize,
}

impl Redirecting {
    async fn start() -> (Arc<Self>, Url) {
        let server = Arc::<Self>::default();
        let router = Router::new().fallback(Self::answer).with_state(Arc::clone(&server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (server, url)
    }

    async fn answer(State(server): State<Arc<Self>>) -> impl IntoResponse {
        server.asked.fetch_add(1, Ordering::SeqCst);
        let (status, to) = server.to.lock().unwrap().clone();
        (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, to)])
    }
}

#[test]
fn a_redirect_to_metadata_is_not_followed() {
    alone(async |network| {
        let mut services = Vec::new();
        for address in [METADATA, "168.63.129.16", "10.0.0.1", "127.0.0.2", "[fd00:ec2::254]"] {
            services.push((address, metadata(&network, address).await));
        }
        let (server, url) = Redirecting::start().await;
        let mut places: Vec<String> =
            services.iter().map(|(address, _)| format!("http://{address}/latest/")).collect();
        places.extend([
            format!("//{METADATA}/latest/"),
            "http://[::ffff:a9fe:a9fe]/latest/".to_owned(),
            "http://0xa9fea9fe/latest/".to_owned(),
            "file:///etc/passwd".to_owned(),
            url.to_string(),
        ]);
        let names = Arc::default();
        let (closed, opened) = (platforms(false, &names), platforms(true, &names));
        // The local platforms as they are, and the others as they are tested.
        let clients: Vec<_> = closed
            .descriptors()
            .map(|it| if it.local { &closed } else { &opened }.get(it.name).unwrap())
            .collect();
        for place in &places {
            for status in [301, 302, 303, 307, 308] {
                *server.to.lock().unwrap() = (status, place.clone());
                for platform in &clients {
                    let before = server.asked.load(Ordering::SeqCst);
                    let failures = ask_everything(platform.as_ref(), &url).await;
                    // Some lack what they would ask for: a section of the configuration, a room.
                    let is_unset = |error: &JobError| {
                        ["is not set", "is no room", "there is no client_id"]
                            .iter()
                            .any(|no| error.to_string().contains(no))
                    };
                    let mut told = 0;
                    for error in &failures {
                        let words = error.to_string();
                        let is_told = words.contains(&format!("{status}: {place}"));
                        assert!(is_told == is_refused(error) || is_unset(error), "{words}");
                        told += usize::from(is_told);
                    }
                    let asked = server.asked.load(Ordering::SeqCst) - before;
                    let of = platform.descriptor().name;
                    // A token that cannot be renewed may still be asked whose it is: one more.
                    let follows = asked != told && asked != told + 1;
                    assert!(!follows, "{of} follows to {place}: {asked} of {failures:?}");
                    assert!(told > 1, "{of} asks for nothing");
                }
            }
        }
        for (address, asked) in &services {
            assert_eq!(asked.load(Ordering::SeqCst), 0, "{address} was asked");
        }
        assert_eq!(network.sent().out, 0);

        // Who follows redirects gets there.
        let naive = reqwest::Client::builder().no_proxy().build().unwrap();
        for (n, (address, asked)) in services.iter().enumerate() {
            *server.to.lock().unwrap() = (302, places[n].clone());
            let given = naive.get(url.clone()).send().await.unwrap().text().await.unwrap();
            assert_eq!(given, CREDENTIALS, "{address}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{address}");
        }
    });
}

#[test]
fn a_name_that_moves_to_metadata_after_it_was_checked_is_not_followed() {
    alone(async |network| {
        for address in ["1.1.1.1", METADATA] {
            network.own(address);
        }
        let (public, metadata) =
            (counting("1.1.1.1:443").await, counting(&format!("{METADATA}:443")).await);
        let names = Arc::new(Names::default().name("pds.example", "1.1.1.1", METADATA));
        let platforms = platforms(false, &names);
        let bluesky = platforms.get("bluesky").unwrap();
        let url: Url = "https://pds.example/".parse().unwrap();
        let policy = NetworkPolicy::default();
        platforms::check_base_url(&url, bluesky.descriptor(), policy).unwrap();

        let failures = ask_everything(bluesky.as_ref(), &url).await;
        let classes: Vec<ErrorClass> = failures.iter().map(JobError::class).collect();
        let refused = ErrorClass::Invalid;
        assert_eq!(classes, [ErrorClass::NotSent, refused, refused, refused]);
        assert!(failures[1].to_string().contains(METADATA), "{}", failures[1]);
        assert_eq!(names.asked(), 4, "once for each connection");
        let connected = [&public, &metadata].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(connected, [1, 0], "only where it was checked to lead");
        assert_eq!(network.sent().out, 0);

        // Somebody does listen there.
        drop(tokio::net::TcpStream::connect((METADATA, 443)).await.unwrap());
        tokio::task::yield_now().await;
        assert_eq!(metadata.load(Ordering::SeqCst), 1);
    });
}

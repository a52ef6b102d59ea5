//! Open-loop load: requests are due at a rate, whether or not the answers keep up.
//!
//! A request's time counts from when it was due, unless its connection was idle then and only the
//! timer of this process was late: so a server that stalls is charged for every request that it
//! made wait, and not for our clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// A request that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the request of this number.
pub(crate) type Make = dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync;

/// When the next request is due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second, whether or not answers keep up.
    Rate(f64),
    /// As soon as the one before is answered, on each connection.
    Answered,
}

/// How much is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How often.
    pub(crate) pace: Pace,
    /// For how long.
    pub(crate) span: Duration,
    /// Connections that are kept open.
    pub(crate) connections: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answers of each status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub(crate) failed: u64,
    /// Connections that were opened.
    pub(crate) opened: u64,
    /// How long answers took that were no refusal, in microseconds.
    pub(crate) took: Histogram<u64>,
    /// How long refusals took: 503 and 429.
    pub(crate) refused: Histogram<u64>,
    /// From the first request to the last answer.
    pub(crate) span: Duration,
}

impl Outcome {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("sound bounds");
        Self {
            answers: BTreeMap::new(),
            failed: 0,
            opened: 0,
            took: histogram(),
            refused: histogram(),
            span: Duration::ZERO,
        }
    }

    fn add(&mut self, other: &Self) {
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        self.failed += other.failed;
        self.opened += other.opened;
        self.took.add(&other.took).expect("the same bounds");
        self.refused.add(&other.refused).expect("the same bounds");
    }

    /// Requests in all.
    pub(crate) fn requests(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.failed
    }

    /// Answers of 2xx.
    pub(crate) fn good(&self) -> u64 {
        self.answers.range(200..300).map(|(_, count)| count).sum()
    }

    /// Answers of 429 and 503: the service says that it is asked too much.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.len()
    }

    /// A percentile of the time to an answer that is no refusal, in milliseconds.
    pub(crate) fn ms(&self, percentile: f64) -> f64 {
        self.took.value_at_percentile(percentile) as f64 / 1_000.0
    }

    /// Good answers a second.
    pub(crate) fn goodput(&self) -> f64 {
        self.good() as f64 / self.span.as_secs_f64()
    }
}

/// Sends the load; each connection has one request under way at most.
pub(crate) async fn send(address: SocketAddr, load: Load, make: Arc<Make>) -> Outcome {
    let (next, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let clients = (0..load.connections)
        .map(|_| tokio::spawn(client(address, load, begun, Arc::clone(&next), Arc::clone(&make))));
    let mut all = Outcome::new();
    for outcome in join_all(clients).await {
        all.add(&outcome.expect("a client does not panic"));
    }
    all.span = begun.elapsed();
    all
}

async fn client(
    address: SocketAddr,
    load: Load,
    begun: Instant,
    next: Arc<AtomicU64>,
    make: Arc<Make>,
) -> Outcome {
    let mut outcome = Outcome::new();
    let mut connection = None;
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let due = match load.pace {
            Pace::Rate(rate) => begun + Duration::from_secs_f64(n as f64 / rate),
            Pace::Answered => Instant::now(),
        };
        if due - begun >= load.span {
            return outcome;
        }
        let idle = Instant::now() <= due;
        sleep_until(due).await;
        let from = if idle { Instant::now() } else { due };
        let asked = ask(address, &mut connection, &mut outcome.opened, make(n));
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => {
                let took = u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
                *outcome.answers.entry(status.as_u16()).or_default() += 1;
                match status {
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                        outcome.refused.saturating_record(took);
                    }
                    _ => outcome.took.saturating_record(took),
                }
            }
            Ok(Err(_)) | Err(_) => {
                outcome.failed += 1;
                connection = None;
            }
        }
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    address: SocketAddr,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    opened: &mut u64,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, Failed> {
    let usable = match connection.as_mut() {
        Some(open) => open.ready().await.is_ok(),
        None => false,
    };
    if !usable {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (open, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        *opened += 1;
        *connection = Some(open);
    }
    let open = connection.as_mut().ok_or("a connection that was just opened")?;
    let mut answer = open.send_request(request).await?;
    while let Some(frame) = answer.frame().await {
        frame?;
    }
    Ok(answer.status())
}

//! A proxy between a client and a real server that loses requests or answers: chosen ones, or by
//! chance.
//!
//! A lost answer is the hard case of publishing: the platform has acted and we do not know. No
//! server can be made to show it, so this stands between.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The request: the connection closes and the server never sees it.
    Request,
    /// The request, and the connection stays open: whoever sent it waits, and can be killed before
    /// the server hears of it.
    RequestSilently,
    /// The answer: the server has acted, then the connection closes.
    Answer,
    /// The answer, and the connection stays open: the client runs into its timeout.
    AnswerSilently,
}

/// Forwards HTTP/1.1 requests to a server on loopback, one for each connection. A body must come
/// with its length, as those of our clients do. Dropping it breaks every connection.
#[derive(Debug)]
pub struct LossyProxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    losses: Mutex<Vec<Rule>>,
    chance: Mutex<Option<Chance>>,
    answered: watch::Sender<usize>,
    failed: AtomicUsize,
    forwarded: Mutex<Vec<String>>,
    silenced: Mutex<Vec<SocketAddr>>,
}

#[derive(Debug)]
struct Rule {
    loss: Loss,
    path: String,
    left: usize,
}

/// How often something is lost that no rule chose.
#[derive(Debug, Clone, Copy)]
pub struct Odds {
    /// The share of requests that the server never sees, from 0 to 1.
    pub requests: f64,
    /// The share of answers that the client never sees, from 0 to 1.
    pub answers: f64,
}

#[derive(Debug)]
struct Chance {
    odds: Odds,
    dice: StdRng,
}

impl LossyProxy {
    /// A proxy that loses nothing yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port");
        let address = listener.local_addr().expect("the port of a bound listener");
        let state = Arc::new(State {
            upstream,
            losses: Mutex::default(),
            chance: Mutex::default(),
            answered: watch::Sender::new(0),
            failed: AtomicUsize::new(0),
            forwarded: Mutex::default(),
            silenced: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses this of the next `times` requests whose method and path, as in `POST /posts`, contain
    /// `path`.
    pub fn lose(&self, loss: Loss, path: &str, times: usize) {
        let rule = Rule { loss, path: path.to_owned(), left: times };
        lock(&self.state.losses).push(rule);
    }

    /// Loses what these odds say from now on, the same for the same seed.
    pub fn lose_by_chance(&self, odds: Odds, seed: u64) {
        let chance = Chance { odds, dice: StdRng::seed_from_u64(seed) };
        *lock(&self.state.chance) = Some(chance);
    }

    /// Loses nothing by chance any more.
    pub fn calm(&self) {
        *lock(&self.state.chance) = None;
    }

    /// Waits until clients have had this many answers of the server that are no failures of its own.
    pub async fn until_answered(&self, answers: usize) {
        let mut answered = self.state.answered.subscribe();
        answered.wait_for(|now| *now >= answers).await.expect("the proxy is there");
    }

    /// How many requests had no answer, or one that speaks of a failure of the server (5xx).
    pub fn failed(&self) -> usize {
        self.state.failed.load(Ordering::Relaxed)
    }

    /// How many requests whose method and path contain `path` reached the server.
    pub fn forwarded(&self, path: &str) -> usize {
        lock(&self.state.forwarded).iter().filter(|seen| seen.contains(path)).count()
    }

    /// The paths, with their queries, of the requests that reached the server, first to last.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.forwarded).clone()
    }

    /// The clients that were left waiting for an answer, by the addresses they came from.
    pub fn silenced(&self) -> Vec<SocketAddr> {
        lock(&self.state.silenced).clone()
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    /// Uses up a rule for this path, or asks chance.
    fn loss(&self, path: &str) -> Option<Loss> {
        let mut losses = lock(&self.losses);
        let rule = losses.iter_mut().find(|rule| rule.left > 0 && path.contains(&rule.path));
        let Some(rule) = rule else { return lock(&self.chance).as_mut()?.loss() };
        rule.left -= 1;
        Some(rule.loss)
    }

    /// Says nothing until the client gives up: then it had no answer.
    async fn leave_waiting(&self, mut client: TcpStream) -> std::io::Result<bool> {
        lock(&self.silenced).push(client.peer_addr()?);
        client.read_to_end(&mut Vec::new()).await.map(|_| false)
    }
}

impl Chance {
    fn loss(&mut self) -> Option<Loss> {
        let at: f64 = self.dice.random();
        let Odds { requests, answers } = self.odds;
        match at {
            _ if at < requests => Some(Loss::Request),
            _ if at < requests + answers => Some(Loss::Answer),
            _ => None,
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        // A broken connection is what this is about: nobody needs to hear of it.
        connections.spawn(async move { serve(client, &state).await.ok() });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, state: &State) -> std::io::Result<()> {
    let Some((path, request)) = read_request(&mut client).await? else { return Ok(()) };
    let answered = pass_on(client, state, path, &request).await;
    if matches!(answered, Ok(true)) {
        state.answered.send_modify(|answers| *answers += 1);
    } else {
        state.failed.fetch_add(1, Ordering::Relaxed);
    }
    answered.map(drop)
}

/// Whether the client has an answer, and one that is no failure of the server.
async fn pass_on(
    mut client: TcpStream,
    state: &State,
    path: String,
    request: &[u8],
) -> std::io::Result<bool> {
    let loss = state.loss(&path);
    match loss {
        Some(Loss::Request) => return Ok(false),
        Some(Loss::RequestSilently) => return state.leave_waiting(client).await,
        _ => {}
    }
    let mut server = TcpStream::connect(state.upstream).await?;
    server.write_all(request).await?;
    lock(&state.forwarded).push(path);
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match loss {
        None => client.write_all(&answer).await?,
        Some(Loss::AnswerSilently) => return state.leave_waiting(client).await,
        Some(_) => return Ok(false),
    }
    // HTTP/1.1 503 …, or nothing of a server that was killed.
    Ok(answer.get(9).is_some_and(|hundreds| *hundreds < b'5'))
}

/// Reads one whole request and has the server close the connection after its answer, so that the
/// end of the answer is the end of the stream. `None` if the client sent nothing.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let named = |line: &str, name| line.to_ascii_lowercase().starts_with(name);
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let path = first.rsplit_once(' ').map_or(first, |(path, _version)| path).to_owned();
    let mut request = format!("{first}\r\nconnection: close\r\n");
    let mut body_length = 0;
    for line in lines.filter(|line| !named(line, "connection:")) {
        if named(line, "content-length:") {
            body_length = line["content-length:".len()..].trim().parse().unwrap_or(0);
        }
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    let mut body = vec![0; body_length];
    client.read_exact(&mut body).await?;
    request.extend_from_slice(&body);
    Ok(Some((path, request)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

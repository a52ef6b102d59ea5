//! A proxy between a client and a real server that loses chosen requests or answers.
//!
//! A lost answer is the hard case of publishing: the platform has acted and we do not know. No
//! server can be made to show it, so this stands between.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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
    forwarded: Mutex<Vec<String>>,
    silenced: Mutex<Vec<SocketAddr>>,
}

#[derive(Debug)]
struct Rule {
    loss: Loss,
    path: String,
    left: usize,
}

impl LossyProxy {
    /// A proxy that loses nothing yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port");
        let address = listener.local_addr().expect("the port of a bound listener");
        let state = Arc::new(State {
            upstream,
            losses: Mutex::default(),
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

    /// Loses this of the next `times` requests whose path contains `path`.
    pub fn lose(&self, loss: Loss, path: &str, times: usize) {
        let rule = Rule { loss, path: path.to_owned(), left: times };
        lock(&self.state.losses).push(rule);
    }

    /// How many requests whose path contains `path` reached the server.
    pub fn forwarded(&self, path: &str) -> usize {
        lock(&self.state.forwarded).iter().filter(|seen| seen.contains(path)).count()
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
    /// Uses up a rule for this path.
    fn loss(&self, path: &str) -> Option<Loss> {
        let mut losses = lock(&self.losses);
        let rule = losses.iter_mut().find(|rule| rule.left > 0 && path.contains(&rule.path))?;
        rule.left -= 1;
        Some(rule.loss)
    }

    /// Says nothing until the client gives up.
    async fn leave_waiting(&self, mut client: TcpStream) -> std::io::Result<()> {
        lock(&self.silenced).push(client.peer_addr()?);
        client.read_to_end(&mut Vec::new()).await.map(drop)
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
    let loss = state.loss(&path);
    match loss {
        Some(Loss::Request) => return Ok(()),
        Some(Loss::RequestSilently) => return state.leave_waiting(client).await,
        _ => {}
    }
    let mut server = TcpStream::connect(state.upstream).await?;
    server.write_all(&request).await?;
    lock(&state.forwarded).push(path);
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match loss {
        None => client.write_all(&answer).await,
        Some(Loss::AnswerSilently) => state.leave_waiting(client).await,
        Some(_) => Ok(()),
    }
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
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
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

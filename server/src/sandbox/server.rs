//! Listens, serves connections, and cuts them without an answer where a fault rule says so.
//!
//! It serves connections itself rather than through `axum::serve` because that has no way not to
//! answer: a handler's failure becomes a response. hyper underneath closes the connection, with
//! no byte sent, when a service fails. So a handler answers [`cut`], and the service around the
//! router turns that into a failure.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tower::ServiceExt;

use super::{
    clock::{self, NowMs},
    journal::Entry,
    platform::Platform,
    room::MEMORY_LIMIT_BYTES,
    routes::{self, Sandbox},
};

/// How long shutdown waits for clients that are in the middle of sending a request.
const GRACE: Duration = Duration::from_secs(2);

/// How a sandbox is to run.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file to append the journal to; without it, it is in memory only.
    pub journal: Option<PathBuf>,
    /// How many bytes it keeps, about, before it answers 507.
    pub memory: usize,
    /// Tells the time, which tokens expire by.
    pub now_ms: NowMs,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            journal: None,
            memory: MEMORY_LIMIT_BYTES,
            now_ms: Arc::new(clock::now_ms),
        }
    }
}

/// A sandbox that runs. Dropping it stops it too, but does not wait until it has stopped.
pub struct Running {
    address: SocketAddr,
    sandbox: Arc<Sandbox>,
    connections: TaskTracker,
    abort: CancellationToken,
    /// Stops the sandbox when it is dropped, by whatever way.
    stopping: DropGuard,
}

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The journal; the text names its file.
    #[error(transparent)]
    Journal(io::Error),
}

/// Starts a sandbox in the background. It listens when this returns.
///
/// # Errors
///
/// When the address cannot be listened on, or the journal cannot be opened, is no journal, or is
/// in another sandbox's hands.
pub async fn serve(options: Options) -> Result<Running, StartError> {
    let Options { listen, journal, memory, now_ms } = options;
    let platform = Platform::open(journal.as_deref(), memory).map_err(StartError::Journal)?;
    let listener = TcpListener::bind(listen).await.map_err(StartError::Listen)?;
    let address = listener.local_addr().map_err(StartError::Listen)?;
    let stopping = CancellationToken::new();
    let sandbox =
        Arc::new(Sandbox { platform: Mutex::new(platform), now_ms, stopping: stopping.clone() });
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    let acceptor = Acceptor {
        router: routes::router(Arc::clone(&sandbox)),
        connections: connections.clone(),
        stopping: stopping.clone(),
        abort: abort.clone(),
    };
    connections.spawn(acceptor.run(listener));
    Ok(Running { address, sandbox, connections, abort, stopping: stopping.drop_guard() })
}

impl Running {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for clients on this machine.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has accepted since it started, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.sandbox.platform().journal.entries().to_vec()
    }

    /// Stops listening, lets requests in progress finish, and returns when nothing runs any more.
    /// Requests that wait or hang because of a fault rule are cut.
    pub async fn shutdown(self) {
        let Self { connections, abort, stopping, .. } = self;
        stopping.disarm().cancel();
        connections.close();
        if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
            abort.cancel();
            connections.wait().await;
        }
    }
}

/// Accepts connections until it is told to stop.
struct Acceptor {
    router: Router,
    connections: TaskTracker,
    stopping: CancellationToken,
    abort: CancellationToken,
}

impl Acceptor {
    async fn run(self, mut listener: TcpListener) {
        loop {
            // axum's `accept` rides out failures such as having run out of file descriptors.
            let (stream, _) = tokio::select! {
                accepted = Listener::accept(&mut listener) => accepted,
                () = self.stopping.cancelled() => return,
            };
            let connection =
                connection(stream, self.router.clone(), self.stopping.clone(), self.abort.clone());
            self.connections.spawn(connection);
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    stopping: CancellationToken,
    abort: CancellationToken,
) {
    // Answers are small; without this each could wait for the client's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "the client has gone already");
        return;
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            match response.extensions().get::<Cut>() {
                Some(cut) => Err(*cut),
                None => Ok(response),
            }
        }
    });
    // No timer, so no header timeout: it would also close idle connections under their clients,
    // and every cut here must be one that a rule asked for.
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = serving => served,
                () = abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        // Cut on purpose, or the client went away: both are everyday here.
        tracing::debug!(error = %error, "the connection ended early");
    }
}

/// Marks a response that must not be sent, and is the error that keeps it from being sent.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("cut by a fault rule")]
struct Cut;

/// A response that cuts the connection in place of an answer.
pub(super) fn cut() -> Response {
    let mut response = Body::empty().into_response();
    response.extensions_mut().insert(Cut);
    response
}

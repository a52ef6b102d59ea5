//! A network of our own between a client and a server: slow, one-way, lossy or gone, and changed
//! while connections are open.
//!
//! The kernel's own network emulation is not there on every machine and needs rights that tests
//! should not have, so this stands between as a process' own TCP server. What it cannot do is lose
//! single packets: TCP would repeat them anyway, and what an application sees of a bad network is
//! what is here, delay, silence and broken connections.
//!
//! A connection that lost bytes never carries any again: when its way is opened, it is reset
//! instead, since the rest of its stream would be garbage.

mod link;
mod trap;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use trap::{Spring, Trap};

/// Where the server is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the client says.
    ToServer,
    /// What the server answers.
    ToClient,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// What happens to bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They arrive.
    #[default]
    Pass,
    /// They wait, and arrive when the way is open again: a partition that heals in time.
    Hold,
    /// They vanish: on the way to the server a black hole, on the way back a lost reply.
    Swallow,
}

/// One way's weather.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// What happens to bytes.
    pub flow: Flow,
    /// How late they arrive.
    pub delay: Duration,
    /// Up to this much later still, by the proxy's seed.
    pub jitter: Duration,
}

impl Weather {
    /// Bytes arrive this late.
    pub fn late(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Bytes meet this.
    pub fn of(flow: Flow) -> Self {
        Self { flow, ..Self::default() }
    }
}

/// How new connections are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They lead to the server.
    Open,
    /// They are reset at once.
    Refusing,
    /// They are taken, and nothing ever comes.
    Silent,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In good order: the client reads the end of the stream.
    Close,
    /// With an error: the client's next read or write fails.
    Reset,
    /// The client's writing side only: the server reads the end of the stream and may still answer.
    HalfClose,
}

/// Stands on loopback before one server. Dropping it resets every connection.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What every connection sees.
#[derive(Debug)]
struct Shared {
    target: Target,
    weather: [watch::Sender<Weather>; 2],
    door: watch::Sender<Door>,
    /// Counts the orders to cut, with the last one's manner.
    cuts: watch::Sender<(u64, Cut)>,
    traps: Mutex<Vec<Arc<Trap>>>,
    seed: AtomicU64,
    open: AtomicUsize,
    accepted: AtomicUsize,
}

impl ChaosProxy {
    /// A proxy through which everything passes, until it is told otherwise. The same seed gives
    /// the same jitter, connection by connection.
    pub async fn start(target: Target, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port");
        let address = listener.local_addr().expect("the port of a bound listener");
        let shared = Arc::new(Shared {
            target,
            weather: [watch::Sender::default(), watch::Sender::default()],
            door: watch::Sender::new(Door::Open),
            cuts: watch::Sender::new((0, Cut::Close)),
            traps: Mutex::default(),
            seed: AtomicU64::new(seed),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes one way's weather, for open connections and new ones.
    pub fn set(&self, way: Way, weather: Weather) {
        self.shared.weather[way as usize].send_replace(weather);
    }

    /// Changes the weather of both ways.
    pub fn set_both(&self, weather: Weather) {
        Way::BOTH.into_iter().for_each(|way| self.set(way, weather));
    }

    /// Changes how new connections are received.
    pub fn door(&self, door: Door) {
        self.shared.door.send_replace(door);
    }

    /// Ends every connection that is open now.
    pub fn cut(&self, how: Cut) {
        self.shared.cuts.send_modify(|cuts| *cuts = (cuts.0 + 1, how));
    }

    /// Nothing gets through and nobody is told: connections stay, new ones hang.
    pub fn partition(&self) {
        self.set_both(Weather::of(Flow::Swallow));
        self.door(Door::Silent);
    }

    /// Nobody is there: connections are reset, new ones refused.
    pub fn go_away(&self) {
        self.door(Door::Refusing);
        self.cut(Cut::Reset);
    }

    /// Everything passes again. Connections that lost bytes, or never led anywhere, are reset.
    pub fn heal(&self) {
        self.set_both(Weather::default());
        self.door(Door::Open);
    }

    /// Waits for bytes and does something when they come by; see [`Trap`].
    pub fn set_trap(&self, trap: Trap) -> Arc<Trap> {
        let trap = Arc::new(trap);
        lock(&self.shared.traps).push(Arc::clone(&trap));
        trap
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let seed = shared.seed.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.open.fetch_add(1, Ordering::SeqCst);
            receive(client, &shared, seed).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn receive(client: TcpStream, shared: &Shared, seed: u64) {
    let mut door = shared.door.subscribe();
    let entered = *door.borrow_and_update();
    match entered {
        Door::Open => {
            let _ = client.set_nodelay(true);
            match &shared.target {
                Target::Tcp(address) => match TcpStream::connect(address).await {
                    Ok(server) => {
                        let _ = server.set_nodelay(true);
                        link::run(client, server, shared, seed).await;
                    }
                    Err(_) => reset(client),
                },
                Target::Unix(path) => match UnixStream::connect(path).await {
                    Ok(server) => link::run(client, server, shared, seed).await,
                    Err(_) => reset(client),
                },
            }
        }
        Door::Refusing => reset(client),
        Door::Silent => {
            let mut cuts = shared.cuts.subscribe();
            tokio::select! {
                _ = door.wait_for(|door| *door != Door::Silent) => {}
                _ = cuts.changed() => {}
            }
            reset(client);
        }
    }
}

/// Closes with an error for the other side.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Remembers that PostgreSQL was away a moment ago, so that its callers need not find out one by
//! one, each after a wait of seconds.
//!
//! A call that takes long or fails is no proof: the pool may be exhausted, or one session was
//! killed. So it only asks for a *probe*, a connection of its own, one at a time and a few a
//! second. While the probe does not get through, the server is away: calls fail at once, also
//! those that wait. The first probe that gets through lets everybody in again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Transaction};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::acting::{self, Reading};
use super::meter::Meter;
use super::{Error, PostgresOptions};
use crate::job::Tenant;

/// A call that takes longer asks for a probe, and again every time this has passed.
const SUSPICIOUS: Duration = Duration::from_millis(200);
/// Time between two probes while the server is away: it is used again this soon after its return.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// After a probe that got through, nobody is suspected for this long.
const TRUST: Duration = Duration::from_millis(200);

/// Connections to PostgreSQL, and whether it is there at all. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GuardedPool {
    connections: PgPool,
    /// For callers that are not preferred: so many connections they may use at once.
    places: Option<Arc<Semaphore>>,
    gate: Arc<Gate>,
    meter: Arc<Meter>,
    ends: Arc<Notify>,
    /// Whose rows its transactions see; all, if it is nobody's.
    tenant: Option<Tenant>,
}

/// The right to use a connection, until it is dropped.
pub(super) type Place = Option<OwnedSemaphorePermit>;

#[derive(Debug)]
struct Gate {
    connect: PgConnectOptions,
    /// A probe that takes longer did not get through.
    probe_max: Duration,
    away: watch::Sender<bool>,
    probing: AtomicBool,
}

/// An error that may mean that the server is away.
pub(super) trait Failure {
    /// What a call fails with that was not made.
    fn away() -> Self;
    /// What a call fails with that was given up half-way.
    fn given_up() -> Self;
    /// Whether the server may be away.
    fn is_suspicious(&self) -> bool;
}

impl Failure for sqlx::Error {
    fn away() -> Self {
        Self::Io(std::io::Error::other("the server was away a moment ago"))
    }

    fn given_up() -> Self {
        Self::Io(std::io::Error::other("the server went away"))
    }

    fn is_suspicious(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Tls(_) | Self::PoolTimedOut)
    }
}

impl Failure for Error {
    fn away() -> Self {
        Self::Unavailable(sqlx::Error::away())
    }

    fn given_up() -> Self {
        Self::Unsure(sqlx::Error::given_up())
    }

    fn is_suspicious(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unsure(_))
    }
}

impl GuardedPool {
    pub(super) fn new(connections: PgPool, options: &PostgresOptions) -> Self {
        let connect = PgConnectOptions::clone(&connections.connect_options());
        let (away, _) = watch::channel(false);
        let probe_max = options.acquire_timeout;
        let gate = Gate { connect, probe_max, away, probing: AtomicBool::new(false) };
        let shared = options.connections_max.saturating_sub(options.reserved).max(1);
        let places = (shared < options.connections_max).then(|| Semaphore::new(shared as usize));
        Self {
            connections,
            places: places.map(Arc::new),
            gate: Arc::new(gate),
            meter: Arc::new(Meter::new()),
            ends: Arc::default(),
            tenant: None,
        }
    }

    /// The same connections for preferred callers: some are free whatever the others do.
    pub(super) fn reserved(&self) -> Self {
        Self { places: None, ..self.clone() }
    }

    /// The same connections, acting for a tenant.
    pub(super) fn for_tenant(&self, tenant: Tenant) -> Self {
        Self { tenant: Some(tenant), ..self.clone() }
    }

    /// Whom they act for; `None` is the engine, which sees every row.
    pub(super) fn tenant(&self) -> Option<Tenant> {
        self.tenant
    }

    /// Begins a transaction, for a call under [`watch`](Self::watch).
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        Box::pin(acting::begin(self)).await
    }

    /// A connection to read with, for a call under [`watch`](Self::watch).
    ///
    /// # Errors
    /// No connection was had.
    pub async fn reading(&self) -> Result<Reading, sqlx::Error> {
        // On the heap, for the futures of all who read to stay small.
        Box::pin(Reading::begin(self)).await
    }

    /// Waits until this caller may use a connection.
    pub(super) async fn place(&self) -> Result<Place, sqlx::Error> {
        let Some(places) = &self.places else { return Ok(None) };
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(place));
        }
        let asked = Instant::now();
        let place = Arc::clone(places).acquire_owned();
        let place = tokio::time::timeout(self.gate.probe_max, place).await;
        self.meter.waited(asked.elapsed());
        match place {
            Ok(place) => place.map(Some).map_err(|_| sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A connection that acts for nobody in particular, for a call under [`watch`](Self::watch).
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let asked = Instant::now();
        let connection = self.connections.acquire().await;
        self.meter.waited(asked.elapsed());
        connection
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn ends(&self) -> &Arc<Notify> {
        &self.ends
    }

    /// The connections themselves, with no tenant's limits, for a call under
    /// [`watch`](Self::watch).
    pub fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// Makes one call on one connection, in its turn, as [`watch`](Self::watch) does.
    #[expect(private_bounds, reason = "the errors of sqlx and of the ledger, and no others")]
    pub async fn call<T, E: Failure + From<sqlx::Error>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.watch(async {
            let _place = self.place().await?;
            call.await
        })
        .await
    }

    /// Makes a call, unless the server is away; gives it up if the server goes away meanwhile.
    #[expect(private_bounds, reason = "the errors of sqlx and of the ledger, and no others")]
    pub async fn watch<T, E: Failure>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.gate.is_away() {
            // The probing task may have ended with another runtime.
            self.gate.suspect();
            return Err(E::away());
        }
        let mut call = pin!(call);
        let mut gone = pin!(self.gate.gone());
        loop {
            tokio::select! {
                biased;
                answer = &mut call => {
                    if answer.as_ref().is_err_and(E::is_suspicious) {
                        self.gate.suspect();
                    }
                    return answer;
                }
                () = &mut gone => return Err(E::given_up()),
                () = tokio::time::sleep(SUSPICIOUS) => self.gate.suspect(),
            }
        }
    }
}

impl Gate {
    fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Waits until the server is away.
    ///
    /// It looks whenever it is polled and not only when it was told: of calls within each other
    /// the innermost must see it first, as it knows best what was not begun yet.
    async fn gone(&self) {
        let mut away = self.away.subscribe();
        let mut told = pin!(away.wait_for(|away| *away));
        poll_fn(|context| match self.is_away() {
            true => Poll::Ready(()),
            false => told.as_mut().poll(context).map(drop),
        })
        .await;
    }

    /// Asks for a probe; there is one at a time.
    fn suspect(self: &Arc<Self>) {
        if !self.probing.swap(true, Ordering::AcqRel) {
            tokio::spawn(Probing(Arc::clone(self)).run());
        }
    }

    /// Whether the server lets somebody in. One that refuses us, or has no room, is there.
    async fn probe(&self) -> bool {
        match tokio::time::timeout(self.probe_max, self.connect.connect()).await {
            Ok(Ok(connection)) => {
                let _ = tokio::time::timeout(self.probe_max, connection.close()).await;
                true
            }
            // Class 57: it starts, stops or recovers.
            Ok(Err(sqlx::Error::Database(error))) => {
                !error.code().is_some_and(|code| code.starts_with("57"))
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn tell(&self, away: bool) {
        let changed = self.away.send_if_modified(|known| std::mem::replace(known, away) != away);
        match (changed, away) {
            (true, true) => {
                tracing::warn!("PostgreSQL is away; calls fail at once until it is back")
            }
            (true, false) => tracing::info!("PostgreSQL is back"),
            (false, _) => {}
        }
    }
}

/// The one task that probes.
struct Probing(Arc<Gate>);

impl Probing {
    async fn run(self) {
        while !self.0.probe().await {
            self.0.tell(true);
            // Nobody is left who could ask.
            if Arc::strong_count(&self.0) == 1 {
                return;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
        self.0.tell(false);
        tokio::time::sleep(TRUST).await;
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
    }
}

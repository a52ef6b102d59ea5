//! How many requests may be under way, and how often one client may ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::Counter;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use postworks::config;
use postworks::telemetry::metrics::{ADMISSION_REFUSED, RATE_LIMITED};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::auth::Caller;

/// The label of requests that found no place.
const IN_FLIGHT: &str = "in_flight";
/// So often clients that have been silent for long enough are forgotten.
const FORGET_EVERY_S: u64 = 1;

// The three fields that clients know. The newer drafts' `RateLimit` and `RateLimit-Policy` still
// change their form from one to the next.
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Places for requests that are under way.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    all: u32,
    refused: Counter,
}

impl Places {
    pub(super) fn new(config: &config::Api) -> Self {
        let refused = ADMISSION_REFUSED.count(&[IN_FLIGHT]);
        refused.absolute(0);
        let all = config.requests_max;
        Self { free: Arc::new(Semaphore::new(all as usize)), all, refused }
    }
}

/// Refuses a request at once if all places are taken: in a queue it would only get late.
pub(super) async fn within_places(
    State(places): State<Places>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.free.try_acquire() else {
        places.refused.increment(1);
        let cause =
            format!("{IN_FLIGHT}: {} requests are under way, which is the most", places.all);
        return Problem::busy(cause).into_response();
    };
    next.run(request).await
}

/// Who asks: somebody who is known, an address, or a network in which one client has all addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Client {
    Caller(Arc<str>),
    V4(Ipv4Addr),
    /// The first 64 bits of an address.
    V6(u64),
}

impl Client {
    /// Whoever has proved who they are is themselves, wherever they ask from.
    pub(super) fn of(request: &Request) -> Option<Self> {
        match request.extensions().get::<Caller>() {
            Some(caller) => Some(Self::Caller(Arc::clone(&caller.actor))),
            None => Self::peer(request),
        }
    }

    /// `None` for a request that came over no connection.
    pub(super) fn peer(request: &Request) -> Option<Self> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        Some(Self::at(peer.ip()))
    }

    fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

type Limiter =
    RateLimiter<Client, DashMapStateStore<Client>, DefaultClock, StateInformationMiddleware>;

/// How often each client may ask.
#[derive(Clone)]
pub(super) struct Rates(Option<Arc<Clients>>);

struct Clients {
    limiter: Limiter,
    per_second: NonZeroU32,
    burst: NonZeroU32,
    since: Instant,
    forgotten_s: AtomicU64,
    refused: Counter,
}

impl Rates {
    pub(super) fn new(config: &config::Api) -> Self {
        let refused = RATE_LIMITED.count(&[]);
        refused.absolute(0);
        let burst = NonZeroU32::new(config.rate_burst).unwrap_or(NonZeroU32::MIN);
        Self(NonZeroU32::new(config.rate_limit).map(|per_second| {
            let quota = Quota::per_second(per_second).allow_burst(burst);
            Arc::new(Clients {
                limiter: RateLimiter::dashmap(quota).with_middleware(),
                per_second,
                burst,
                since: Instant::now(),
                forgotten_s: AtomicU64::new(0),
                refused,
            })
        }))
    }
}

impl Clients {
    /// Whether this client may ask now: how often it still may at once, or how long it must wait.
    fn ask(&self, client: Client) -> Result<u32, Duration> {
        self.forget_the_silent();
        match self.limiter.check_key(&client) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(not_yet) => Err(not_yet.wait_time_from(self.limiter.clock().now())),
        }
    }

    /// Keeps the memory to the clients of the last seconds: one whose burst has come back whole is
    /// as good as new.
    fn forget_the_silent(&self) {
        let (now, last) = (self.since.elapsed().as_secs(), &self.forgotten_s);
        let then = last.load(Ordering::Relaxed);
        if now >= then + FORGET_EVERY_S
            && last.compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    fn too_often(&self, wait: Duration) -> Response {
        self.refused.increment(1);
        // Rounded up: who comes back then is let in.
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = format!(
            "this client may make {} requests a second, and {} at one stroke; retry in {seconds}s",
            self.per_second, self.burst
        );
        Problem::too_often(detail, seconds).into_response()
    }

    /// Says what is left, and when all of it will be back.
    fn tell(&self, response: &mut Response, remaining: u32) {
        let used = self.burst.get().saturating_sub(remaining);
        let reset_s = used.div_ceil(self.per_second.get());
        let headers = response.headers_mut();
        headers.insert(LIMIT, self.burst.get().into());
        headers.insert(REMAINING, remaining.into());
        headers.insert(RESET, reset_s.into());
    }
}

impl Rates {
    /// The answer to somebody who is not let in: it counts for the address it came from, so that
    /// nobody tries keys without end.
    pub(super) async fn turned_away(&self, peer: Option<Client>, problem: Problem) -> Response {
        self.hold(peer, async { problem.into_response() }).await
    }

    /// The answer, or that the client asks too often; others do not notice.
    pub(super) async fn hold(
        &self,
        client: Option<Client>,
        answer: impl Future<Output = Response>,
    ) -> Response {
        let (Some(clients), Some(client)) = (&self.0, client) else { return answer.await };
        let (mut response, remaining) = match clients.ask(client) {
            Ok(remaining) => (answer.await, remaining),
            Err(wait) => (clients.too_often(wait), 0),
        };
        clients.tell(&mut response, remaining);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postworks::config::{Config, Sources};
    use postworks::job::Tenant;

    fn clients(settings: &str) -> Arc<Clients> {
        let sources = Sources::default().file("test.toml", settings);
        Rates::new(&Config::load(&sources).unwrap().api).0.unwrap()
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_an_old_address_in_a_new_one_is_itself() {
        let at = |address: &str| Client::at(address.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:10.1.2.3"), at("10.1.2.3"));
        assert_ne!(at("10.1.2.3"), at("10.1.2.4"));
    }

    #[test]
    fn whoever_is_known_is_one_client_wherever_they_ask_from() {
        let ask = |address: [u8; 4], known: bool| {
            let mut request = Request::default();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 1))));
            if known {
                let (actor, role) = ("user:ann@example.org".into(), crate::auth::Role::Producer);
                request.extensions_mut().insert(Caller {
                    actor,
                    tenant: Tenant::DEFAULT,
                    role,
                    session: None,
                });
            }
            Client::of(&request).unwrap()
        };
        assert_eq!(ask([10, 0, 0, 1], true), ask([10, 0, 0, 2], true));
        assert_ne!(ask([10, 0, 0, 1], true), ask([10, 0, 0, 1], false));
        assert_ne!(ask([10, 0, 0, 1], false), ask([10, 0, 0, 2], false));
    }

    #[test]
    fn a_client_has_its_burst_and_waits_for_the_next_and_no_other_does() {
        let clients = clients("[api]\nrate_limit = 1\nrate_burst = 3");
        let (one, other) = (Client::at([10, 0, 0, 1].into()), Client::at([10, 0, 0, 2].into()));
        assert_eq!(
            [clients.ask(one.clone()), clients.ask(one.clone()), clients.ask(one.clone())],
            [Ok(2), Ok(1), Ok(0)]
        );
        let wait = clients.ask(one).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(clients.ask(other), Ok(2));
    }

    #[test]
    fn clients_that_are_silent_are_forgotten() {
        let clients = clients("[api]\nrate_limit = 1000000\nrate_burst = 1");
        for n in 0..10_000_u32 {
            clients.ask(Client::V4(n.into())).unwrap();
        }
        assert_eq!(clients.limiter.len(), 10_000);
        // As if the last time were long ago.
        let mut late = Arc::try_unwrap(clients).ok().unwrap();
        late.since -= Duration::from_secs(2 * FORGET_EVERY_S);
        late.ask(Client::V6(0)).unwrap();
        assert!(late.limiter.len() < 100, "{} are left", late.limiter.len());
    }
}

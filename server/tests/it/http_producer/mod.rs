//! The producers' library over HTTP, against a real API.

mod lossy;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use postworks::client::http::{HttpOptions, HttpProducer};
use postworks::job::{DataCleanup, Request};
use postworks::testing::chaos_proxy::{ChaosProxy, Target, Way};
use postworks::testing::chaos_proxy::{Spring, Trap};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::world::World;

/// How a request for jobs begins.
const ENQUEUE: &str = "POST /api/jobs";

/// An API, and a network before it that does what it is told.
struct Far {
    world: World,
    proxy: ChaosProxy,
    /// Where the API is without the network.
    near: String,
    _serving: DropGuard,
}

impl Far {
    async fn start() -> Self {
        Self::over(World::start().await).await
    }

    async fn over(world: World) -> Self {
        let (near, serving) = world.serve().await;
        let address = near.strip_prefix("http://").unwrap().parse().unwrap();
        let seed = rand::random();
        println!("the network's seed: {seed}");
        let proxy = ChaosProxy::start(Target::Tcp(address), seed).await;
        Self { world, proxy, near, _serving: serving }
    }

    /// A producer beyond the network, for which no time passes between two attempts.
    fn producer(&self, options: &HttpOptions) -> HttpProducer {
        self.producer_as(None, options)
    }

    fn producer_as(&self, api_key: Option<&str>, options: &HttpOptions) -> HttpProducer {
        let url = format!("http://{}", self.proxy.address());
        let api_key = api_key.map(|key| key.to_owned().into());
        let producer = HttpProducer::with(&url, api_key, options).unwrap();
        producer.waiting_by(|_| tokio::task::yield_now())
    }

    /// Counts what is asked from now on.
    fn count(&self) -> Arc<Trap> {
        self.proxy.set_trap(Trap::new(Way::ToServer, ENQUEUE, Spring::Tell).times(usize::MAX))
    }
}

/// A wait between two attempts: how long it is to be, and what ends it.
type Waiting = (Duration, oneshot::Sender<()>);

/// The same producer, whose waits the test ends.
fn held(producer: HttpProducer) -> (HttpProducer, mpsc::UnboundedReceiver<Waiting>) {
    let (tells, waits) = mpsc::unbounded_channel();
    let producer = producer.waiting_by(move |span| {
        let (done, over) = oneshot::channel();
        tells.send((span, done)).unwrap();
        async move { over.await.unwrap() }
    });
    (producer, waits)
}

fn cleanup() -> DataCleanup {
    DataCleanup { dry_run: true, ..DataCleanup::default() }
}

fn request() -> Request {
    Request::of(&cleanup()).unwrap()
}

/// For as long as a test may take.
fn patient() -> HttpOptions {
    HttpOptions { budget: Duration::from_secs(3_600), ..HttpOptions::default() }
}

//! What the product can do, once: the HTTP API and the command line both call [`App`].
//!
//! It validates, and turns rows of ledger and broker into what callers see. It knows neither
//! HTTP nor terminals.

mod accounts;
mod dead_letters;
mod enqueue;
mod error;
mod jobs;
mod paging;
mod producer;
pub mod product;
mod queues;
pub mod types;

use std::sync::Arc;

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::clock::SharedClock;
use postworks::job::Catalog;
use postworks::ledger::Ledger;
use postworks_workers::health::Probe;

pub use error::Error;
use producer::Producer;
pub use product::Product;

/// The application: everything that callers may ask for.
#[derive(Clone)]
pub struct App {
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    catalog: Arc<Catalog>,
    product: Arc<dyn Product>,
    producer: Arc<Producer>,
    clock: SharedClock,
}

impl App {
    /// The application over these stores.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
        catalog: Arc<Catalog>,
        product: Arc<dyn Product>,
        clock: SharedClock,
    ) -> Self {
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::clone(&catalog),
            Arc::clone(&clock),
        );
        Self { ledger, broker, catalog, product, producer: Arc::new(producer), clock }
    }

    /// What must be there for the application to work.
    pub fn probes(&self) -> Vec<Box<dyn Probe>> {
        vec![
            Box::new(LedgerProbe(Arc::clone(&self.ledger))),
            Box::new(BrokerProbe(Arc::clone(&self.broker))),
        ]
    }
}

struct LedgerProbe(Arc<dyn Ledger>);

#[async_trait]
impl Probe for LedgerProbe {
    fn name(&self) -> &'static str {
        "ledger"
    }

    async fn is_ready(&self) -> bool {
        self.0.check().await.is_ok()
    }
}

struct BrokerProbe(Arc<dyn Broker>);

#[async_trait]
impl Probe for BrokerProbe {
    fn name(&self) -> &'static str {
        "broker"
    }

    async fn is_ready(&self) -> bool {
        self.0.ping().await.is_ok()
    }
}

//! What the product can do, once: the HTTP API and the command line both call [`App`].
//!
//! It validates, and turns rows of ledger and broker into what callers see. It knows neither
//! HTTP nor terminals.

mod access;
mod accounts;
mod audit;
mod costs;
mod dead_actions;
mod dead_choice;
mod dead_letters;
mod disconnect;
mod effects;
mod enqueue;
mod error;
mod events;
mod family;
mod fates;
mod gates;
mod jobs;
mod keys;
mod media;
mod moving;
mod oauth;
mod once;
mod paging;
mod posts;
mod queues;
mod redriver;
mod redrives;
mod retention;
mod scaling;
mod schedules;
mod sets;
mod take_over;
mod tenants;
pub mod types;
mod why;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postworks::client::Producer;
use postworks::job::{IdSource, Tenant};
use postworks::ledger::Ledger;
use postworks_workers::health::Probe;
use postworks_workers::node::Node;
use postworks_workers::role;
use postworks_workers::store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::scaling::Scaling;

pub(crate) use dead_choice::category;
pub use dead_letters::Export;
pub use error::Error;
pub use keys::KeyRotation;
pub use oauth::{OAuthBegun, OAuthCookie, OAuthReturn, oauth_cookie_name};
pub use once::{Ended, RequestKey};
pub use take_over::Foreign;

/// The application: everything that callers may ask for, for one tenant.
#[derive(Clone)]
pub struct App {
    // For what concerns the fleet; rows of tenants are read and changed through what follows.
    node: Arc<Node>,
    actor: Arc<str>,
    tenant: Tenant,
    ids: Arc<IdSource>,
    // The tenant's, and for a request that may be repeated with its ids.
    ledger: Arc<dyn Ledger>,
    producer: Producer,
    store: Store,
    admission: Arc<Admission>,
    scaling: Arc<Scaling>,
    // Where the API does, once it does.
    listens_on: Arc<OnceLock<SocketAddr>>,
    // What goes on though nobody waits for it any more.
    tasks: TaskTracker,
}

impl App {
    /// The application over a node's stores, acting for the API's callers, for the house.
    pub fn new(node: Arc<Node>) -> Self {
        let tenant = Tenant::DEFAULT;
        Self {
            actor: "api".into(),
            tenant,
            ids: Arc::default(),
            ledger: node.ledger_of(tenant),
            producer: node.producer.for_tenant(tenant),
            store: node.store.for_tenant(tenant),
            admission: Arc::new(Admission::new(&node.config.admission)),
            scaling: Arc::new(Scaling::new(&node.config)),
            listens_on: Arc::default(),
            tasks: TaskTracker::new(),
            node,
        }
    }

    /// The same application for a tenant: it sees and changes no other one's rows.
    #[must_use]
    pub fn for_tenant(&self, tenant: Tenant) -> Self {
        Self {
            tenant,
            ledger: self.node.ledger_of(tenant),
            producer: self.producer.for_tenant(tenant),
            store: self.store.for_tenant(tenant),
            ..self.clone()
        }
    }

    /// The same application, acting for somebody else: so the audit names them.
    #[must_use]
    pub fn acting_as(&self, actor: impl Into<Arc<str>>) -> Self {
        Self { actor: actor.into(), ..self.clone() }
    }

    /// Returns when every job accepted so far was offered to the broker.
    pub async fn flush(&self) {
        self.node.producer.flush().await;
    }

    /// Returns when what goes on without anybody who waits for it is done, at the latest after
    /// `limit`: tokens that a platform just gave are nowhere else.
    pub async fn finish(&self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "what was begun for callers is cut off");
        }
    }

    /// What must be there for the application to work.
    pub fn probes(&self) -> Vec<Box<dyn Probe>> {
        role::probes(&self.node)
    }

    /// Whether more work is taken now. Not asked by what enqueues here: who may be refused is
    /// known to the API alone.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Measures the load until `stop`, for [`admission`](Self::admission) to know it.
    pub async fn watch_load_until(self, stop: CancellationToken) {
        self.admission.watch(self.node, stop).await;
    }

    /// Looks at the workers until `stop`, for [`autoscale`](Self::autoscale) to know how many there
    /// should be.
    pub async fn watch_workers_until(self, stop: CancellationToken) {
        self.scaling.watch(self.node, stop).await;
    }

    /// The node below.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

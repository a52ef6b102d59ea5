//! A node: the stores, the handlers and the tasks that every role of a Postworks process shares.

mod open;

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use postworks::broker::{self, Broker};
use postworks::chore::{
    Collected, Collector, Feed, Herald, LateSchedules, Reaper, Scheduler, Stores,
};
use postworks::client::Producer;
use postworks::clock::SharedClock;
use postworks::config::{Config, Environment};
use postworks::gate::quota::Quotas;
use postworks::job::{CatalogError, Queue, Tenant, WorkerId};
use postworks::ledger::{self, Db, Families, GroupCommit, Ledger, Schedules, SqlLedger};
use postworks::telemetry::metrics::{self, Known};
use postworks::worker::{
    self, Blocks, Calls, Drained, Options, Registry, Solitude, Stop, Tempo, Worker,
};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::built_in::BuiltIn;
use crate::disconnected::Disconnected;
use crate::handlers::Services;
use crate::keys::{KeyFault, Keyholder};
use crate::metrics_page::MetricsPage;
use crate::moved::MovedJobs;
use crate::platforms::http::HttpOptions;
use crate::platforms::{self, NetworkPolicy, Platforms, Windows};
use crate::readings::Product;
use crate::reconnected::Reconnected;
use crate::registry::registry;
use crate::renewals::Renewals;
use crate::secrets::{KeyRing, KeyRingError};
use crate::service;
use crate::store::Store;
use crate::syncs::Syncs;

/// Why a node cannot start. An outage of a store is no reason: the node waits for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger's address, lock or tables.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The broker's address.
    #[error("REDIS_URL or broker.prefix cannot be used")]
    Broker(#[from] broker::Error),
    /// The broker's server refuses us, which a person must put right.
    #[error(transparent)]
    BrokerRefuses(broker::Error),
    /// A store that no role can work with.
    #[error("{0}")]
    Unfit(String),
    /// The master keys.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The master keys are not those that secrets are sealed with.
    #[error(transparent)]
    Unproved(#[from] KeyFault),
    /// The platforms' clients.
    #[error(transparent)]
    Platforms(#[from] platforms::SetupError),
    /// Two handlers for one kind.
    #[error(transparent)]
    Registry(#[from] CatalogError),
    /// The data folder.
    #[error("cannot use the data folder {folder}")]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A pattern that serves nothing.
    #[error("worker.queues (--queues): {pattern} chooses no queue; there are {known}")]
    NoSuchQueue {
        /// The pattern.
        pattern: String,
        /// The queues there are.
        known: String,
    },
    /// Patterns that serve only what is switched off.
    #[error(
        "worker.queues (--queues) chooses only queues of platforms that are switched off: {queues}; \
         choose others, or set enabled = true in their [platforms.NAME]"
    )]
    AllSwitchedOff {
        /// What they choose.
        queues: String,
    },
    /// No keys were given, and nobody here may make them up.
    #[error(
        "POSTWORKS_KEYS is missing: give it id:base64 of 32 random bytes, for example \
         POSTWORKS_KEYS=k1:$(openssl rand -base64 32), the same on every node"
    )]
    NoKeys,
}

/// What the roles of a process share.
pub struct Node {
    /// The settings in effect.
    pub config: Config,
    /// Tells the time.
    pub clock: SharedClock,
    /// The record; concurrent enqueues share commits.
    pub ledger: Arc<dyn Ledger>,
    /// The index.
    pub broker: Arc<dyn Broker>,
    /// The product's rows.
    pub store: Store,
    /// Makes and records jobs.
    pub producer: Producer,
    /// The handlers.
    pub registry: Registry,
    /// The platform clients.
    pub platforms: Platforms,
    /// Which addresses platforms may have.
    pub network: NetworkPolicy,
    /// The accounts' tokens.
    pub accounts: Accounts,
    /// The database, for those whose calls must not queue behind handlers.
    reserved: Db,
    key_ids: Vec<String>,
    keyholder: Keyholder,
    /// What was found to be wrong with the keys after the start.
    key_fault: Arc<OnceLock<KeyFault>>,
    pub(crate) id: WorkerId,
    calls: Arc<Calls>,
    blocks: Arc<Blocks>,
    pub(crate) tempo: Arc<Tempo>,
}

impl Node {
    /// A node over stores that were opened elsewhere, as tests and programs of their own do it.
    ///
    /// `id` names this process to the broker; a [`RedisBroker`](postworks::broker::redis::RedisBroker)
    /// must have been given the same.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn over(
        db: Db,
        broker: Arc<dyn Broker>,
        id: WorkerId,
        keys: KeyRing,
        clock: SharedClock,
        mut config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        if !environment.rate_limit {
            config.api.rate_limit = 0;
        }
        let key_ids = keys.ids().map(str::to_owned).collect();
        // Stamps, verdicts and the reaper must not queue behind hundreds of handlers.
        let reserved = db.reserved();
        let sql: Arc<dyn Ledger> = Arc::new(SqlLedger::new(reserved.clone()));
        let ledger: Arc<dyn Ledger> = Arc::new(GroupCommit::new(sql));
        let store = Store::new(db, keys, Arc::clone(&clock));
        let keyholder = Keyholder::new(store.clone(), id.to_string());
        let network = NetworkPolicy { allow_loopback: environment.allow_loopback };
        let blocks = Blocks::new(Arc::clone(&broker), Arc::clone(&clock));
        let closing = Arc::clone(&blocks);
        let windows = Windows::new(move |account, until| closing.block(account, until));
        let http = HttpOptions::new(network).telling(windows);
        let platforms = platforms::all(&http, &clock, config.oauth())?;
        let accounts = Accounts::new(store.clone(), platforms.clone(), Arc::clone(&clock));
        let mut registry = registry(Services {
            store: store.clone(),
            accounts: accounts.clone(),
            ledger: Arc::clone(&ledger),
            platforms: platforms.clone(),
            clock: Arc::clone(&clock),
            retention: config.retention.clone(),
            sync: config.sync,
            public_url: config.api.public_url.clone(),
        })?;
        registry.configure(|catalog| config.apply(catalog));
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let calls = Arc::<Calls>::default();
        Ok(Self {
            config,
            clock,
            ledger,
            broker,
            store,
            producer,
            registry,
            platforms,
            network,
            accounts,
            reserved,
            key_ids,
            keyholder,
            key_fault: Arc::default(),
            id,
            calls,
            blocks,
            tempo: Arc::default(),
        })
    }

    /// The record as one tenant sees it: jobs, letters, redrives and the audit. Jobs are enqueued
    /// through the node's, which shares commits.
    pub fn ledger_of(&self, tenant: Tenant) -> Arc<dyn Ledger> {
        Arc::new(SqlLedger::new(self.reserved.for_tenant(tenant)))
    }

    /// Schedules, as one tenant sees them.
    pub fn schedules_of(&self, tenant: Tenant) -> Schedules {
        Schedules::new(self.reserved.for_tenant(tenant))
    }

    /// Whether the ledger has this program's tables. A ledger that cannot be reached now is no
    /// fault: the node waits for it.
    ///
    /// # Errors
    /// [`ledger::Error::Migrations`] if the tables are missing or of another version.
    pub async fn check_tables(&self) -> Result<(), ledger::Error> {
        match self.ledger.check().await {
            Err(ledger::Error::Unavailable(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the ledger cannot be reached yet");
                Ok(())
            }
            checked => checked,
        }
    }

    /// The ids of the keys that accounts' secrets are sealed with, the current one first.
    ///
    /// # Errors
    /// [`Error::NoKeys`].
    pub fn key_ids(&self) -> Result<&[String], Error> {
        if self.key_ids.is_empty() { Err(Error::NoKeys) } else { Ok(&self.key_ids) }
    }

    /// The key ring, for who proves it or seals anew with it.
    pub fn keyholder(&self) -> &Keyholder {
        &self.keyholder
    }

    /// Where it is noted that the keys turned out to be wrong after the start, which ends the role.
    pub(crate) fn key_fault(&self) -> &Arc<OnceLock<KeyFault>> {
        &self.key_fault
    }

    /// Whether the keys turned out to be wrong after the start, when the ledger could be asked: then
    /// the role was told to stop.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn found_keys_right(&self) -> Result<(), KeyFault> {
        self.key_fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Lets every counter of this node's queues start at zero.
    pub fn start_metrics(&self) {
        let queues = self.registry.queues().cloned().collect();
        let platforms = self.platforms.names().map(str::to_owned).collect();
        metrics::start_at_zero(&Known { queues, platforms });
    }

    /// What `/metrics` shows of this node, beside what the handle's recorder counts.
    pub fn metrics_page(&self, counted: PrometheusHandle) -> MetricsPage {
        MetricsPage::new(counted).with_pool_of(self.store.db().clone())
    }

    /// Reads what concerns the whole fleet, if this node has the office, until `stop`.
    pub async fn collect_until(&self, stop: CancellationToken, collected: Collected) {
        let stores = Stores {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            queues: self.registry.queues().cloned().collect(),
        };
        let mut sources = stores.sources();
        sources.push(Box::new(Product {
            store: self.store.clone(),
            platforms: self.platforms.clone(),
            switched_on: self.switched_on(),
            syncs: !self.config.sync.every.is_zero(),
        }));
        let (schedules, clock) = (self.schedules(), Arc::clone(&self.clock));
        sources.push(Box::new(LateSchedules { schedules, clock }));
        let (broker, clock) = (Arc::clone(&self.broker), Arc::clone(&self.clock));
        Collector { broker, clock, sources, collected }.run(stop).await;
    }

    fn schedules(&self) -> Schedules {
        Schedules::new(self.store.db().clone())
    }

    /// What tells the broker of publications that were moved, whosever they are.
    pub fn moved_jobs(&self) -> MovedJobs {
        MovedJobs { store: self.store.clone(), producer: self.producer.clone() }
    }

    /// The platforms that are switched on here.
    fn switched_on(&self) -> Vec<&'static str> {
        self.platforms.names().filter(|name| self.config.platform_enabled(name)).collect()
    }

    /// The quotas that all workers keep together.
    pub fn quotas(&self) -> Quotas {
        let queues: Vec<Queue> = self.registry.queues().cloned().collect();
        self.config.quotas(&queues)
    }

    /// Starts the chores that keep broker, ledger and accounts in step; they end on `stop`.
    pub fn start_chores(&self, stop: &CancellationToken) {
        let feed = Feed {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&self.calls),
            queues: self.registry.queues().cloned().collect(),
        };
        let reaper = Reaper {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            queues: self.registry.queues().cloned().collect(),
            lease: self.config.lease.duration,
            renew: self.config.lease.renew,
        };
        let reconnected = Reconnected {
            store: self.store.clone(),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
        };
        let renewals = Renewals {
            store: self.store.clone(),
            producer: self.producer.clone(),
            platforms: self.switched_on(),
        };
        let scheduler = Scheduler {
            schedules: self.schedules(),
            broker: Arc::clone(&self.broker),
            producer: self.producer.clone(),
            clock: Arc::clone(&self.clock),
        };
        let herald = Herald {
            families: Families::new(self.reserved.clone()),
            producer: self.producer.clone(),
            clock: Arc::clone(&self.clock),
        };
        let built_in = BuiltIn {
            schedules: self.schedules(),
            clock: Arc::clone(&self.clock),
            cleanup: self.config.retention.cleanup.clone(),
        };
        let syncs = Syncs {
            store: self.store.clone(),
            producer: self.producer.clone(),
            platforms: self.switched_on(),
            every: self.config.sync.every,
        };
        let disconnected =
            Disconnected { store: self.store.clone(), producer: self.producer.clone() };
        tokio::spawn(self.moved_jobs().run(stop.clone()));
        tokio::spawn(disconnected.run(stop.clone()));
        tokio::spawn(reconnected.run(stop.clone()));
        tokio::spawn(renewals.run(stop.clone()));
        tokio::spawn(scheduler.run(stop.clone()));
        tokio::spawn(herald.run(stop.clone()));
        tokio::spawn(built_in.run(stop.clone()));
        if !syncs.every.is_zero() {
            tokio::spawn(syncs.run(stop.clone()));
        }
        feed.start(stop);
        tokio::spawn(reaper.run(stop.clone()));
    }

    /// Runs `workers` workers and the chores until `stop`.
    ///
    /// # Errors
    /// See [`worker::Error`].
    pub async fn work(&self, workers: usize, stop: Stop) -> Result<Drained, worker::Error> {
        let chores = CancellationToken::new();
        let _end_with_us = chores.clone().drop_guard();
        self.start_chores(&chores);
        self.accounts.stopping_at(stop.drain.clone());
        let solitude = Solitude::default();
        let each = (0..workers.max(1)).map(|_| {
            let options = Options {
                id: self.id.clone(),
                queues: self.queues(),
                concurrency: self.config.worker.concurrency as usize,
                lease: self.config.lease.duration,
                renew: self.config.lease.renew,
                grace: self.config.worker.grace,
            };
            let worker = Worker::new(
                self.registry.clone(),
                Arc::clone(&self.broker),
                Arc::clone(&self.ledger),
                Arc::clone(&self.clock),
                options,
                Arc::clone(&self.calls),
            );
            let slots = self.config.slots(&self.queues());
            let worker = worker.limited_to(slots).heeding(&self.blocks).beside(&solitude);
            let worker = worker.with_breakers(self.config.breaker.settings());
            let worker = worker.within(self.quotas()).timed_by(&self.tempo);
            let worker = match service::pulse() {
                Some(pulse) => worker.pulsing(pulse),
                None => worker,
            };
            worker.exiting_when_stuck().run(stop.clone())
        });
        let mut sum = Drained { handed_back: 0, unsettled: 0 };
        for drained in futures_util::future::join_all(each).await {
            let drained = drained?;
            sum.handed_back += drained.handed_back;
            sum.unsettled += drained.unsettled;
        }
        // A token request that has left must reach the store.
        self.accounts.finish().await;
        Ok(sum)
    }
}

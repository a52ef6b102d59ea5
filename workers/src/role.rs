//! The role of a worker process: its flags, its health pages, and its run from start to drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use postworks::broker::Broker;
use postworks::config::{Sources, parse_duration, parse_listen, parse_number};
use postworks::ledger::Ledger;
use postworks::worker::{self, Drained, Stop};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::{Health, Probe};
use crate::keys::KeyFault;
use crate::node::Node;
use crate::presence::advertised;
use crate::service;
use crate::telemetry;

/// Flags of a worker process. What is absent comes from the configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkerArgs {
    /// Queues to serve: names, or prefixes that end in *, with commas between
    #[arg(long, value_name = "a,b.*")]
    queues: Option<String>,
    /// Jobs that run at the same time
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 0, u32::MAX))]
    concurrency: Option<u32>,
    /// How long running jobs may take to finish after a signal
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Where to serve /livez, /readyz and /metrics; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    metrics_listen: Option<SocketAddr>,
    /// Whether to drain when stdin ends: whoever started this process holds its other end
    #[arg(long, hide = true)]
    pub supervised: bool,
}

impl WorkerArgs {
    /// Puts the flags over the other sources.
    #[must_use]
    pub fn over(self, sources: Sources) -> Sources {
        let grace = self.grace.map(|grace| humantime::format_duration(grace).to_string());
        sources
            .flag("worker.queues", self.queues)
            .flag("worker.concurrency", self.concurrency)
            .flag("worker.grace", grace)
            .flag("worker.metrics_listen", self.metrics_listen)
    }
}

/// Why a worker process ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker itself.
    #[error(transparent)]
    Worker(#[from] worker::Error),
    /// The keys turned out wrong once the ledger could be asked.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The health pages' listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Works until `stop`; serves health pages, with what `metrics` counts, if the configuration says
/// where. `announce` is told of the listener.
///
/// # Errors
/// See [`Error`]. An outage of a store is none.
pub async fn run(
    node: &Node,
    metrics: PrometheusHandle,
    stop: Stop,
    announce: impl FnOnce(SocketAddr),
) -> Result<Drained, Error> {
    node.start_metrics();
    let serving = CancellationToken::new();
    let _end_with_us = serving.clone().drop_guard();
    let mut found_at = None;
    if let Some(address) = node.config.worker.metrics_listen {
        let fault = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        announce(address);
        found_at = Some(advertised(address, node.config.worker.advertise.as_deref()));
        let router = Health::new(probes(node), node.metrics_page(metrics.clone())).router();
        tokio::spawn(serve(listener, router, serving.clone()));
    }
    tokio::spawn(telemetry::upkeep(metrics, serving));
    let present = node.announce("worker", found_at, 1, &stop.drain);
    service::ready();
    let drained = node.work(1, stop).await?;
    present.leave().await;
    tracing::info!(
        handed_back = drained.handed_back,
        unsettled = drained.unsettled,
        "the worker has drained"
    );
    node.found_keys_right()?;
    Ok(drained)
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the health pages are gone");
    }
}

/// What a server says on stdout of each listener, for whoever started it.
pub fn ready_line(role: &str, address: SocketAddr) -> String {
    let pid = std::process::id();
    // By hand, since the order of the members is part of the contract; nothing here needs escaping.
    format!(r#"{{"event":"listening","role":"{role}","url":"http://{address}","pid":{pid}}}"#)
}

/// What must be there for a node to work.
pub fn probes(node: &Node) -> Vec<Box<dyn Probe>> {
    vec![
        Box::new(LedgerProbe(Arc::clone(&node.ledger))),
        Box::new(BrokerProbe(Arc::clone(&node.broker))),
    ]
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

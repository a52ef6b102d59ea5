//! What `/metrics` shows: what this process counted, what it can say of itself at this moment, and,
//! while it has the collector's office, what was read for the whole fleet.

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use postworks::chore::Collected;
use postworks::ledger::Db;
use postworks::telemetry::metrics::{self, DB_POOL_CONNECTIONS, DB_POOL_MAX};

/// The page. Cheap to clone.
#[derive(Clone)]
pub struct MetricsPage {
    counted: PrometheusHandle,
    process: Arc<metrics_process::Collector>,
    db: Option<Db>,
    collected: Option<Collected>,
}

impl MetricsPage {
    /// What the handle's recorder counts.
    pub fn new(counted: PrometheusHandle) -> Self {
        let process = metrics_process::Collector::default();
        process.describe();
        Self { counted, process: Arc::new(process), db: None, collected: None }
    }

    /// And how many connections to this database are open.
    #[must_use]
    pub fn with_pool_of(mut self, db: Db) -> Self {
        self.db = Some(db);
        self
    }

    /// And what is collected here.
    #[must_use]
    pub fn with_collected(mut self, collected: Collected) -> Self {
        self.collected = Some(collected);
        self
    }

    /// The page now, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.process.collect();
        if let Some(connections) = self.db.as_ref().and_then(Db::connections) {
            DB_POOL_CONNECTIONS.level(&["idle"]).set(f64::from(connections.idle));
            DB_POOL_CONNECTIONS.level(&["busy"]).set(f64::from(connections.busy));
            DB_POOL_MAX.level(&[]).set(f64::from(connections.max));
        }
        let mut page = self.counted.render();
        page.push_str(&self.render_collected());
        page
    }

    /// In a recorder of its own, so that nothing stays behind that is not collected any more.
    fn render_collected(&self) -> String {
        let readings = self.collected.as_ref().map(Collected::readings).unwrap_or_default();
        if readings.is_empty() {
            return String::new();
        }
        let recorder = PrometheusBuilder::new().build_recorder();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe();
            readings.iter().for_each(metrics::Reading::tell);
        });
        recorder.handle().render()
    }
}

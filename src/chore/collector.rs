//! The collector: reads what concerns the whole fleet, for the gauges that must not be added up.
//!
//! Every process with an API runs one, and one of them has the office: it alone reads, and it alone
//! shows what was read. It keeps the office for as long as it asks again in time; when it dies, or
//! loses its connection, another has it within [`TERM`] and [`LOOK`]. By then the first shows nothing
//! any more, since the term ends by its own clock as well, counted from before it asked. So a sum
//! over all processes is the truth, or there is none: what cannot be read is not shown.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Collected;
use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::telemetry::metrics::{COLLECTOR_LAST_SUCCESS, Reading};

/// Between two readings: half of a usual scrape interval.
const EVERY: Duration = Duration::from_secs(5);
/// How long the office lasts without being asked for again.
const TERM: Duration = Duration::from_secs(5);
/// Between two questions for the office.
const LOOK: Duration = Duration::from_millis(1_500);
/// A source that takes longer cannot be read.
const READ_MAX: Duration = Duration::from_secs(4);

const OFFICE: &str = "collector";
/// What the collector says of itself, beside the sources.
const SELF: &str = "collector";

/// Why a source cannot be read.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Something that is read for the whole fleet.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What it reads, for the log; unlike the others'.
    fn name(&self) -> &'static str;

    /// Reads it.
    async fn read(&self) -> Result<Vec<Reading>, SourceError>;
}

/// Reads what concerns the whole fleet.
pub struct Collector {
    /// Gives the office.
    pub broker: Arc<dyn Broker>,
    /// Tells the time.
    pub clock: SharedClock,
    /// What to read.
    pub sources: Vec<Box<dyn Source>>,
    /// Where readings go.
    pub collected: Collected,
}

impl Collector {
    /// Reads until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_office() => {}
            () = self.read() => {}
        }
        self.collected.lost();
    }

    async fn keep_office(&self) {
        loop {
            let asked = Instant::now();
            match self.broker.keep_office(OFFICE, TERM).await {
                Ok(true) => self.collected.ours_until(asked + TERM),
                Ok(false) => self.collected.lost(),
                // An outage is reported by whoever works; the office ends by itself.
                Err(error) => tracing::debug!(%error, "cannot ask for the collector's office"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn read(&self) {
        loop {
            if self.collected.is_ours() {
                self.read_all().await;
            }
            tokio::select! {
                () = self.collected.gained() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn read_all(&self) {
        let each = self.sources.iter().map(|source| self.read_one(source.as_ref()));
        if join_all(each).await.into_iter().all(|read| read) {
            let seconds = Duration::from_millis(self.clock.now().as_millis().unsigned_abs());
            let now = Reading::new(COLLECTOR_LAST_SUCCESS, &[], seconds.as_secs_f64());
            self.collected.put(SELF, vec![now]);
        }
    }

    /// Answers whether it could be read.
    async fn read_one(&self, source: &dyn Source) -> bool {
        let error = match tokio::time::timeout(READ_MAX, source.read()).await {
            Ok(Ok(readings)) => {
                self.collected.put(source.name(), readings);
                return true;
            }
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        tracing::debug!(source = source.name(), %error, "cannot be read now");
        self.collected.take_away(source.name());
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::clock::SystemClock;
    use crate::telemetry::metrics::RELAY_LAG;

    struct Switched(Arc<AtomicBool>);

    #[async_trait]
    impl Source for Switched {
        fn name(&self) -> &'static str {
            "switched"
        }

        async fn read(&self) -> Result<Vec<Reading>, SourceError> {
            match self.0.load(Ordering::SeqCst) {
                true => Ok(vec![Reading::new(RELAY_LAG, &[], 1.0)]),
                false => Err("away".into()),
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_shown_no_more_and_says_since_when() {
        let works = Arc::new(AtomicBool::new(true));
        let collected = Collected::default();
        let clock = SystemClock::shared();
        let collector = Collector {
            broker: Arc::new(MemoryBroker::new(Arc::clone(&clock))),
            clock,
            sources: vec![Box::new(Switched(Arc::clone(&works)))],
            collected: collected.clone(),
        };
        collector.read_all().await;
        assert_eq!(collected.readings(), [], "the office is nobody's");
        collected.ours_until(Instant::now() + TERM);
        collector.read_all().await;
        let lag = Reading::new(RELAY_LAG, &[], 1.0);
        let shown = collected.readings();
        assert!(shown.len() == 2 && shown.contains(&lag), "{shown:?}");
        works.store(false, Ordering::SeqCst);
        collector.read_all().await;
        let stale = collected.readings();
        assert_eq!(stale.len(), 1, "{stale:?}");
        assert!(shown.contains(&stale[0]), "the time of the last success stays: {stale:?}");
        // Nobody said that it is lost; its term is over.
        collected.ours_until(Instant::now());
        assert_eq!(collected.readings(), []);
        collected.ours_until(Instant::now() + TERM);
        assert_eq!(collected.readings(), [], "what was read in an earlier term is old");
    }
}

//! Keeps the engine's own histograms, exactly, for the demo's table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram as Hdr;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use postworks::telemetry::metrics::JOB_RUN;

use crate::cli::failure::{Exit, Failure};

/// Values are kept in microseconds with three digits, up to an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// How long handlers ran, by kind.
#[derive(Clone, Default)]
pub(super) struct Times(Arc<Mutex<HashMap<String, Arc<Values>>>>);

struct Values(Mutex<Hdr<u64>>);

/// Percentiles of one kind, in milliseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Percentiles {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// Makes the process record into the answered value.
pub(super) fn install() -> Result<Times, Failure> {
    let times = Times::default();
    metrics::set_global_recorder(times.clone())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(times)
}

impl Times {
    /// A kind's percentiles; `None` if nothing of it ran.
    pub(super) fn of(&self, kind: &str) -> Option<Percentiles> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values = kinds.get(kind)?.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "an hour of microseconds fits")]
        let at = |quantile| values.value_at_quantile(quantile) as f64 / 1_000.0;
        (!values.is_empty()).then(|| Percentiles {
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
        })
    }
}

impl HistogramFn for Values {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run is positive and shorter than an hour; saturates otherwise"
    )]
    fn record(&self, seconds: f64) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.saturating_record((seconds * 1e6) as u64);
    }
}

impl Recorder for Times {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let kind = key.labels().find(|label| label.key() == "kind").map(|label| label.value());
        let (true, Some(kind)) = (key.name() == JOB_RUN.name, kind) else {
            return Histogram::noop();
        };
        let Ok(empty) = Hdr::new_with_bounds(1, MICROS_MAX, 3) else { return Histogram::noop() };
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values =
            kinds.entry(kind.to_owned()).or_insert_with(|| Arc::new(Values(Mutex::new(empty))));
        Histogram::from_arc(Arc::clone(values))
    }
}

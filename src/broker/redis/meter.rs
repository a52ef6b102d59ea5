//! How long calls take, and how many fail: one observation a call, whatever its batch.

use std::time::Instant;

use ::metrics::{Counter, Histogram};

use crate::broker::Operation;
use crate::telemetry::metrics::{BROKER_ERRORS, BROKER_OPERATION};

/// The metrics of every kind of call, looked up once.
pub(super) struct Meter([(Histogram, Counter); Operation::ALL.len()]);

impl Meter {
    pub(super) fn new() -> Self {
        Self(Operation::ALL.map(|operation| {
            let labels = [operation.as_str()];
            (BROKER_OPERATION.spread(&labels), BROKER_ERRORS.count(&labels))
        }))
    }

    /// Makes a call, and takes its time.
    pub(super) async fn measure<T, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let asked = Instant::now();
        let answer = call.await;
        if let Some((took, failed)) = self.0.get(operation as usize) {
            took.record(asked.elapsed());
            failed.increment(u64::from(answer.is_err()));
        }
        answer
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}

//! How late schedules are.

use async_trait::async_trait;

use super::collector::{Source, SourceError};
use crate::clock::SharedClock;
use crate::ledger::Schedules;
use crate::telemetry::metrics::{Reading, SCHEDULE_LAG};

/// Reads how late schedules are, of every kind: also those that no worker knows.
pub struct LateSchedules {
    /// Knows them.
    pub schedules: Schedules,
    /// Tells the time.
    pub clock: SharedClock,
}

#[async_trait]
impl Source for LateSchedules {
    fn name(&self) -> &'static str {
        "schedules"
    }

    async fn read(&self) -> Result<Vec<Reading>, SourceError> {
        let first = self.schedules.first_due().await?;
        let late = first.map(|due| self.clock.now().since(due)).unwrap_or_default();
        Ok(vec![Reading::new(SCHEDULE_LAG, &[], late.as_secs_f64())])
    }
}

//! Brings back the jobs that older workers parked because they did not know them.
//!
//! While a new version is being deployed, old workers park what only new ones can run. A worker
//! that starts releases what it knows, and looks again a few times, since old ones may go on for a
//! while. After that a parked job's own time is enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::job::Kind;
use crate::ledger::{self, Ledger, Unpark};

/// Waits before the looks: the first at once, the last some two minutes after the start.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(15), Duration::from_secs(30), Duration::from_secs(60)];
/// After an error.
const RETRY: Duration = Duration::from_millis(500);

/// Releases parked jobs.
pub(super) struct Welcome {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: SharedClock,
    /// The kinds this worker knows, with their versions.
    pub(super) known: Vec<(Kind, u16)>,
    /// Asks the relay for a walk.
    pub(super) walk: Arc<Notify>,
}

impl Welcome {
    /// Looks until there is no reason to look again, or `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            for wait in LOOKS {
                tokio::time::sleep(wait).await;
                self.look().await;
            }
        })
        .await;
    }

    /// Releases what is parked now, as soon as the ledger answers.
    async fn look(&self) {
        loop {
            let known = Unpark::Kinds(self.known.clone());
            match self.ledger.unpark(known, self.clock.now()).await {
                Ok(0) => return,
                Ok(released) => {
                    tracing::info!(released, "released jobs that older workers did not know");
                    self.walk.notify_one();
                    return;
                }
                Err(ledger::Error::Unavailable(_) | ledger::Error::Unsure(_)) => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot release jobs that older workers did not know");
                    return;
                }
            }
        }
    }
}

//! A chore: carries on the redrives that are in the ledger, whoever began them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::App;

/// Between two steps.
const EVERY: Duration = Duration::from_millis(250);
/// Between two looks while no redrive runs.
const IDLE: Duration = Duration::from_secs(1);
/// One node in so long takes the steps.
const TERM: Duration = Duration::from_millis(200);
const CHORE: &str = "redrive";

impl App {
    /// Carries on redrives until `stop`. Any number of nodes may.
    pub async fn carry_on_redrives_until(self, stop: CancellationToken) {
        let (mut pause, mut failing) = (IDLE, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            // Without a broker the row's version alone keeps the nodes apart.
            if !self.node.broker.elect(CHORE, TERM).await.unwrap_or(true) {
                continue;
            }
            match self.carry_on_redrives().await {
                Ok(any) => {
                    failing = false;
                    pause = if any { EVERY } else { IDLE };
                }
                Err(error) => {
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot carry on a redrive now; trying again");
                    }
                    failing = true;
                    pause = IDLE;
                }
            }
        }
    }
}

//! Tells the ledger of jobs that were taken from a worker that lives: if that counted as its
//! crash, the count is taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::job::{JobId, Token};
use crate::ledger::{self, Ledger};

/// After an error of the ledger.
const RETRY: Duration = Duration::from_secs(1);

/// Takes back what was counted for these claims, until `stop`.
pub(super) async fn absolve(
    ledger: Arc<dyn Ledger>,
    mut lost: mpsc::UnboundedReceiver<(JobId, Token)>,
    stop: CancellationToken,
) {
    let taking_back = async {
        let mut claims = Vec::new();
        while lost.recv_many(&mut claims, ledger::BATCH_MAX).await > 0 {
            while let Err(error) = ledger.absolve(&claims).await {
                tracing::debug!(%error, "cannot take crashes back now; trying again");
                tokio::time::sleep(RETRY).await;
            }
            claims.clear();
        }
    };
    tokio::select! {
        () = taking_back => {}
        () = stop.cancelled() => {}
    }
}

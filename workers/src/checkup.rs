//! Looks at the stores when a role starts: what cannot work ends it with words, what will bite
//! later is logged, and a store that is away is waited for.

use std::sync::Arc;
use std::time::Duration;

use postworks::broker::{self, Broker};
use postworks::finding::Finding;

use crate::node::{Error, Node};

/// Longest that a look may hold up the start.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at a broker that is away.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks at both stores.
///
/// # Errors
/// [`Error::BrokerRefuses`] and [`Error::Unfit`]; [`Error::Ledger`] if the tables are
/// missing or of another version. A store that cannot be reached now is no fault: the role waits.
pub async fn at_start(node: &Node) -> Result<(), Error> {
    node.check_tables().await?;
    // Whatever else is the matter with the ledger, whoever needs it says so.
    if let Ok(Ok(findings)) = tokio::time::timeout(PATIENCE, node.ledger.examine()).await {
        judge(&findings)?;
    }
    match tokio::time::timeout(PATIENCE, node.broker.examine()).await {
        Ok(Ok(findings)) => return judge(&findings),
        Ok(Err(error @ broker::Error::Refused(_))) => return Err(Error::BrokerRefuses(error)),
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the broker cannot be reached yet");
        }
        Err(_late) => tracing::warn!("the broker does not answer yet"),
    }
    tokio::spawn(when_reached(Arc::clone(&node.broker)));
    Ok(())
}

/// Looks at a broker once it answers. The role runs already: what is wrong is only told.
async fn when_reached(broker: Arc<dyn Broker>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if let Ok(findings) = broker.examine().await {
            findings.iter().for_each(Finding::log);
            return;
        }
    }
}

fn judge(findings: &[Finding]) -> Result<(), Error> {
    findings.iter().for_each(Finding::log);
    match findings.iter().find(|found| found.unfit) {
        None => Ok(()),
        Some(found) => {
            let advice = found.advice.clone().unwrap_or_default();
            Err(Error::Unfit(format!("{}; {advice}", found.detail)))
        }
    }
}

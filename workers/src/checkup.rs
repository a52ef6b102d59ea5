//! Looks at the stores when a role starts: what cannot work ends it with words, what will bite
//! later is logged, and a store that is away is waited for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postworks::broker::{self, Broker};
use postworks::finding::Finding;
use postworks::worker::Stop;

use crate::keys::{self, KeyFault, Keyholder};
use crate::node::{Error, Node};

/// Longest that a look may hold up the start.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at a store that is away.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks at both stores, and proves the keys.
///
/// A store that cannot be reached now is no fault: the role waits. Until the ledger has been asked, the
/// keys open and seal nothing; should they turn out wrong then, the role is told to `stop`, and
/// [`Node::found_keys_right`] says why.
///
/// # Errors
/// [`Error::BrokerRefuses`] and [`Error::Unfit`]; [`Error::Ledger`] if the tables are missing or of
/// another version; [`Error::Unproved`].
pub async fn at_start(node: &Node, stop: &Stop) -> Result<(), Error> {
    node.check_tables().await?;
    keys_at_start(node, stop).await?;
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

/// Proves the keys, now or once the ledger can be asked.
///
/// # Errors
/// [`Error::Unproved`].
pub async fn keys_at_start(node: &Node, stop: &Stop) -> Result<(), Error> {
    let keyholder = node.keyholder();
    match tokio::time::timeout(PATIENCE, keyholder.prove()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(keys::Error::Fault(fault))) => return Err(fault.into()),
        Ok(Err(keys::Error::Store(error))) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the keys wait for the ledger's word");
        }
        Err(_late) => tracing::warn!("the keys wait for the ledger's word"),
    }
    node.store.keys().hold_back();
    let (keyholder, fault) = (keyholder.clone(), Arc::clone(node.key_fault()));
    tokio::spawn(when_proved(keyholder, fault, stop.clone()));
    Ok(())
}

/// Proves the keys once the ledger answers; ends the role if they are wrong.
async fn when_proved(keyholder: Keyholder, found: Arc<OnceLock<KeyFault>>, stop: Stop) {
    loop {
        tokio::time::sleep(AGAIN).await;
        match keyholder.prove().await {
            Ok(()) => return tracing::info!("the keys are the right ones"),
            Err(keys::Error::Store(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the keys still wait for the ledger's word");
            }
            Err(keys::Error::Fault(fault)) => {
                tracing::error!("{fault}");
                let _ = found.set(fault);
                return stop.drain.cancel();
            }
        }
    }
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

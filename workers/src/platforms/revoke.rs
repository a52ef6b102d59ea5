//! Gives an account's tokens back to its platform, for somebody who does not wait for long.

use std::time::Duration;

use secrecy::SecretString;

use super::{Account, Platform};

/// A platform that takes longer keeps the tokens until they end by themselves.
pub const REVOKE_WITHIN: Duration = Duration::from_secs(5);

/// Asks the platform, once, to end what the token is good for; answers whether it said that it did.
/// Whatever else becomes of it is only logged: the tokens are gone on our side.
pub async fn revoke(platform: &dyn Platform, account: &Account, token: &SecretString) -> bool {
    let (name, connector_id) = (platform.descriptor().name, account.connector_id);
    match tokio::time::timeout(REVOKE_WITHIN, platform.revoke(account, token)).await {
        Ok(Ok(true)) => true,
        Ok(Ok(false)) => {
            tracing::info!(%connector_id, platform = name, "the platform takes no tokens back");
            false
        }
        Ok(Err(error)) => {
            let error = error.chain();
            tracing::warn!(
                %connector_id, platform = name, error,
                "the platform did not take the account's tokens back; they end by themselves"
            );
            false
        }
        Err(_) => {
            tracing::warn!(
                %connector_id, platform = name, within = ?REVOKE_WITHIN,
                "the platform did not take the account's tokens back in time; they end by themselves"
            );
            false
        }
    }
}

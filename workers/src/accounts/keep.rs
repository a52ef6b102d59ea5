//! New tokens on their way into the database: before anything else and with patience, since the
//! old ones may be used up already.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError};
use postworks::ledger;
use secrecy::ExposeSecret as _;

use super::refresh::Holder;
use crate::platforms;
use crate::store::{ConnectorState, Error, Renewed};

/// How long an answer that the database does not take is held on to.
const FOR: Duration = Duration::from_secs(600);
/// A try that takes longer counts as failed: its connection may be dead without a word.
const TRY_MAX: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// The longest time from the start of a try to the start of the next one.
pub(super) const LONGEST_GAP: Duration = TRY_MAX.saturating_add(WAIT_MAX);

/// Whether the database was away, or its answer was.
pub(super) fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Database(ledger::Error::Unavailable(_) | ledger::Error::Unsure(_)))
}

impl Holder {
    /// Persists the answer. Answers whether it was kept.
    pub(super) async fn keep(&self, renewed: &Renewed) -> Result<bool, JobError> {
        let give_up = self.now().after(FOR);
        let mut wait = WAIT;
        loop {
            match tokio::time::timeout(TRY_MAX, self.try_keep(renewed)).await {
                Ok(Ok(true)) => return Ok(true),
                Ok(Ok(false)) => {
                    tracing::warn!(
                        account = %self.account.connector_id,
                        "new tokens were not kept: the account was connected again or \
                         disconnected, or another worker was first"
                    );
                    self.give_back(renewed).await;
                    return Ok(false);
                }
                Ok(Err(error)) if !is_outage(&error) => return Err(self.fault(error)),
                Ok(Err(_)) | Err(_) if self.now() >= give_up => {
                    let words = "the database took no new tokens for ten minutes";
                    return Err(JobError::new(ErrorClass::Unavailable { until: give_up }, words));
                }
                Ok(Err(_)) | Err(_) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        }
    }

    /// Tokens of an account that was disconnected meanwhile are good for nobody: whoever disconnected
    /// it could only give back those of before.
    async fn give_back(&self, renewed: &Renewed) {
        let Some(token) = &renewed.refresh else { return };
        let found = self.inner.store.connector(self.account.connector_id).await;
        let gone = match found {
            Ok(found) => found.is_none_or(|row| row.state == ConnectorState::Disconnecting),
            Err(_) => false,
        };
        if let (true, Ok(platform)) =
            (gone, self.inner.platforms.get(&self.seen.connector.platform))
        {
            platforms::revoke(platform.as_ref(), &self.account, token).await;
        }
    }

    async fn try_keep(&self, renewed: &Renewed) -> Result<bool, Error> {
        let (id, version) = (self.account.connector_id, self.seen.version);
        if self.inner.store.commit_refresh(id, version, renewed).await? {
            return Ok(true);
        }
        // An earlier try may have been taken, and its answer lost.
        let found = self.inner.store.access(id).await?.filter(|it| it.version == version + 1);
        let token = found.and_then(|access| access.token);
        Ok(token.is_some_and(|token| token.expose_secret() == renewed.access.expose_secret()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postworks::clock::SystemClock;
    use postworks::ledger::Db;
    use secrecy::SecretString;

    use super::*;
    use crate::accounts::Accounts;
    use crate::platforms::Platforms;
    use crate::secrets::KeyRing;
    use crate::store::{NewConnector, Store};

    fn tokens(access: &str) -> Renewed {
        let access = SecretString::from(access);
        Renewed {
            access,
            refresh: None,
            secret: None,
            expires_at: None,
            remote_id: None,
            signed_in: false,
        }
    }

    #[tokio::test]
    async fn a_commit_whose_answer_was_lost_is_no_loss() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
        db.migrate().await.unwrap();
        let keys = KeyRing::parse("test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let store = Store::new(db, keys, SystemClock::shared());
        let new = NewConnector {
            platform: "any".to_owned(),
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            identifier: "ada".to_owned(),
            target: None,
            secret: SecretString::from("secret"),
        };
        let id = store.add_connector(new).await.unwrap().id;
        let seen = store.access(id).await.unwrap().unwrap();
        let accounts = Accounts::new(store, Platforms::new([]), SystemClock::shared());
        let holder = Holder::new(Arc::clone(&accounts.0), seen);
        assert!(holder.keep(&tokens("one")).await.unwrap());
        // Whoever did not hear of it tries again.
        assert!(holder.keep(&tokens("one")).await.unwrap(), "it is there");
        assert!(!holder.keep(&tokens("two")).await.unwrap(), "another's are there");
    }
}

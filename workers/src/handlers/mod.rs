//! What each kind of job does, a file a kind.
//!
//! A handler makes one attempt. It never retries, sleeps, acknowledges or logs its failures: it
//! returns an error of the right class, and the engine does the rest.

mod connector_sync;
mod data_cleanup;
mod post_publication;
mod token_refresh;

pub use connector_sync::SyncConnector;
pub use data_cleanup::CleanUp;
pub use post_publication::PublishPost;
pub use token_refresh::RefreshTokens;

use std::sync::Arc;

use postworks::clock::SharedClock;
use postworks::config::{Retention, Syncing};
use postworks::job::{ErrorClass, JobError, Timestamp};
use postworks::ledger::Ledger;
use url::Url;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::platforms::{Platform, Platforms};
use crate::store::{Connector, Error, Store};

/// What the handlers work with.
#[derive(Clone)]
pub struct Services {
    /// The product's rows.
    pub store: Store,
    /// The accounts' access tokens.
    pub accounts: Accounts,
    /// The record of jobs, for its cleanup.
    pub ledger: Arc<dyn Ledger>,
    /// The platforms.
    pub platforms: Platforms,
    /// The time.
    pub clock: SharedClock,
    /// What is kept for how long.
    pub retention: Retention,
    /// How accounts are synchronised.
    pub sync: Syncing,
    /// Where this instance is found, for platforms that fetch images themselves.
    pub public_url: Option<Url>,
}

impl Services {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A failure of our own rows as a job's.
    fn fault(&self, error: Error) -> JobError {
        error.into_job_error(self.now())
    }

    /// An account that a job names.
    async fn connector(&self, id: Uuid) -> Result<Connector, JobError> {
        let found = self.store.connector(id).await.map_err(|error| self.fault(error))?;
        found.ok_or_else(|| JobError::new(ErrorClass::Invalid, "no connector with this id"))
    }

    /// An account's platform.
    fn platform(&self, connector: &Connector) -> Result<Arc<dyn Platform>, JobError> {
        self.platforms.get(&connector.platform).cloned().map_err(|error| {
            JobError::new(ErrorClass::Invalid, "the account's platform").because(error)
        })
    }
}

//! The one list of what this program runs: each kind, its handler and its queues.

use postworks::job::{
    CatalogError, ConnectorSync, DataCleanup, Job, Kind, PostPublication, Queue, TokenRefresh,
};
use postworks::worker::Registry;

use crate::handlers::{CleanUp, PublishPost, RefreshTokens, Services, SyncConnector};
use crate::platforms::Platforms;

/// The handlers of every kind, for every platform there is.
///
/// # Errors
/// A kind or a platform has a name that fits no queue, which a test rules out.
pub fn registry(services: Services) -> Result<Registry, CatalogError> {
    let platforms = services.platforms.clone();
    let mut registry = Registry::default();
    registry.add::<ConnectorSync>(
        SyncConnector::new(services.clone()),
        queues::<ConnectorSync>(&platforms)?,
    )?;
    registry.add::<PostPublication>(
        PublishPost(services.clone()),
        queues::<PostPublication>(&platforms)?,
    )?;
    registry.add::<TokenRefresh>(
        RefreshTokens(services.clone()),
        queues::<TokenRefresh>(&platforms)?,
    )?;
    let cleanup = Queue::of_kind(&Kind::parse(DataCleanup::KIND)?);
    registry.add::<DataCleanup>(CleanUp(services), [cleanup])?;
    Ok(registry)
}

/// A kind's queue for each platform.
fn queues<J: Job>(platforms: &Platforms) -> Result<Vec<Queue>, CatalogError> {
    let kind = Kind::parse(J::KIND)?;
    let queue = |platform| Ok(Queue::of_platform(&kind, platform)?);
    platforms.names().map(queue).collect()
}

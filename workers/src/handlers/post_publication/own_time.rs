//! What a run takes of our own time while it is with its platform, which is not to be blamed for that.

use async_trait::async_trait;
use bytes::Bytes;
use postworks::job::JobError;
use postworks::worker::BreakerView;
use uuid::Uuid;

use crate::platforms::Originals;
use crate::store::Store;

/// Reads images for a run.
pub(super) struct OwnTime(pub(super) Store, pub(super) BreakerView);

#[async_trait]
impl Originals for OwnTime {
    async fn original(&self, image: Uuid) -> Result<Bytes, JobError> {
        self.1.not_calling(self.0.original(image)).await
    }
}

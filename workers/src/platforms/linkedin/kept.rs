//! What is kept with a publication before it is sent.

use postworks::job::{ErrorClass, JobError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::platforms::call::Call;
use crate::platforms::{Outgoing, Preparation, Prepared};

/// Who a post is by, and its images. The account may get another target, and the post stays whose it
/// was: a request of which nobody knows what became is looked for there, and repeated there.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// The URN of the member or organisation.
    pub(super) author: String,
    /// In the order of the post's images.
    pub(super) images: Vec<Uploaded>,
}

/// An image at LinkedIn.
#[derive(Serialize, Deserialize)]
pub(super) struct Uploaded {
    pub(super) urn: String,
    pub(super) made_at: Timestamp,
}

impl Kept {
    /// All that the post needs.
    pub(super) fn whole(
        prepared: &Prepared,
        post: &Outgoing,
        call: Call<'_>,
    ) -> Result<Self, JobError> {
        let Some(kept) = prepared.read::<Self>()? else {
            return Err(call.error(ErrorClass::Bug, "nobody has decided who posts"));
        };
        post.needs_all(kept.images.len())?;
        Ok(kept)
    }

    /// To be kept before it goes on.
    pub(super) fn so_far(&self, until: Timestamp) -> Result<Preparation, JobError> {
        Ok(Preparation::Waits { so_far: Prepared::of(self)?, until })
    }
}

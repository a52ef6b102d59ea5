//! Images that a platform holds ready for a post, in the order of the post's: each step with one of them
//! is kept before the next.

use postworks::job::{JobError, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Outgoing, Preparation, Prepared};

/// What is held ready, in a platform's own form.
#[derive(Serialize, Deserialize)]
pub(super) struct Uploads<U> {
    pub(super) media: Vec<U>,
}

impl<U: Serialize + DeserializeOwned> Uploads<U> {
    /// What earlier runs kept.
    pub(super) fn kept(prepared: &Prepared) -> Result<Self, JobError> {
        Ok(prepared.read()?.unwrap_or(Self { media: Vec::new() }))
    }

    /// What a post is sent with.
    pub(super) fn all_of(post: &Outgoing, prepared: &Prepared) -> Result<Self, JobError> {
        let uploads = Self::kept(prepared)?;
        post.needs_all(uploads.media.len())?;
        Ok(uploads)
    }

    /// One of them is as far as this now.
    pub(super) fn put(&mut self, at: usize, upload: U) {
        match self.media.get_mut(at) {
            Some(place) => *place = upload,
            None => self.media.push(upload),
        }
    }

    /// To be kept before it goes on.
    pub(super) fn so_far(&self, until: Timestamp) -> Result<Preparation, JobError> {
        Ok(Preparation::Waits { so_far: Prepared::of(self)?, until })
    }

    /// There is nothing left to do.
    pub(super) fn ready(&self) -> Result<Preparation, JobError> {
        Ok(Preparation::Ready(Prepared::of(self)?))
    }
}

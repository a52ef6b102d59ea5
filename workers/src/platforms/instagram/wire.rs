//! What comes over the wire from the Instagram API with Instagram Login, after its reference
//! (IG User, IG Media), version 25.0.

use serde::Deserialize;

use crate::platforms::meta::{Counted, Listed, time};
use crate::platforms::{Numbers, RemotePost};

/// A post in the list of the account's posts.
#[derive(Deserialize)]
pub(in crate::platforms) struct Media {
    id: String,
    caption: Option<String>,
    timestamp: Option<String>,
}

impl Listed for Media {
    const FIELDS: &'static str = "id,caption,timestamp";

    fn into_post(self) -> RemotePost {
        RemotePost {
            remote_id: self.id,
            created_at: self.timestamp.as_deref().and_then(time),
            text: self.caption.unwrap_or_default(),
        }
    }
}

/// A post with its numbers; `like_count` is left out where the owner hides it.
#[derive(Deserialize)]
pub(super) struct Figures {
    id: String,
    like_count: Option<u64>,
    comments_count: Option<u64>,
}

impl Counted for Figures {
    const FIELDS: &'static str = "id,like_count,comments_count";

    fn id(&self) -> &str {
        &self.id
    }

    fn numbers(&self) -> Numbers {
        Numbers { likes: self.like_count, replies: self.comments_count, ..Numbers::default() }
    }
}

/// What an account says of itself.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    pub(super) username: Option<String>,
    pub(super) biography: Option<String>,
    pub(super) followers_count: Option<u64>,
}

//! What goes over the wire to and from the Graph API for a Page, after its reference
//! (`/{page-id}/feed`, `/photos`, `/published_posts`; `/me/accounts`), version 25.0.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::platforms::meta::{Counted, Listed, time};
use crate::platforms::{Numbers, RemotePost};

/// A post in a list of the Page's posts.
#[derive(Deserialize)]
pub(super) struct Post {
    id: String,
    message: Option<String>,
    created_time: Option<String>,
}

impl Listed for Post {
    const FIELDS: &'static str = "id,message,created_time";

    fn into_post(self) -> RemotePost {
        RemotePost {
            remote_id: self.id,
            created_at: self.created_time.as_deref().and_then(time),
            text: self.message.unwrap_or_default(),
        }
    }
}

/// A post with how many reacted, commented and shared.
#[derive(Deserialize)]
pub(super) struct Figures {
    id: String,
    reactions: Option<Edge>,
    comments: Option<Edge>,
    shares: Option<Shares>,
}

#[derive(Deserialize)]
struct Edge {
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    total_count: Option<u64>,
}

/// Left out of a post that nobody shared.
#[derive(Deserialize)]
struct Shares {
    count: u64,
}

impl Counted for Figures {
    const FIELDS: &'static str = "id,reactions.limit(0).summary(total_count),\
                                  comments.limit(0).summary(total_count),shares";

    fn id(&self) -> &str {
        &self.id
    }

    fn numbers(&self) -> Numbers {
        let total = |edge: &Option<Edge>| edge.as_ref()?.summary.as_ref()?.total_count;
        Numbers {
            likes: total(&self.reactions),
            reposts: Some(self.shares.as_ref().map_or(0, |shares| shares.count)),
            replies: total(&self.comments),
            views: None,
        }
    }
}

/// Who a Page is. Asked for with its category, which no person has: then the token is a Page's.
#[derive(Deserialize)]
pub(super) struct PageItself {
    pub(super) id: String,
    pub(super) name: String,
}

impl PageItself {
    /// Whether a person means this one.
    pub(super) fn is(&self, target: &str) -> bool {
        self.id == target || self.name.eq_ignore_ascii_case(target)
    }
}

/// A Page that a person may post to, with the Page's own token.
#[derive(Deserialize)]
pub(super) struct PageAccess {
    #[serde(flatten)]
    pub(super) itself: PageItself,
    pub(super) access_token: Option<SecretString>,
}

/// What a Page says of itself.
#[derive(Deserialize)]
pub(super) struct About {
    pub(super) name: Option<String>,
    pub(super) about: Option<String>,
    pub(super) followers_count: Option<u64>,
}

/// A photo that belongs to a post.
#[derive(Serialize)]
pub(super) struct Attached<'a> {
    pub(super) media_fbid: &'a str,
}

//! The record that a post becomes, and what must be held ready for it.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facets::facets;
use super::wire::{Card, Embed, Picture, Post, Ratio, Reference, Reply};
use super::{DESCRIPTOR, POSTS};
use crate::platforms::{Link, Outgoing};

/// An upload that no record refers to is kept for "a time window (eg, minutes)"
/// (<https://docs.bsky.app/docs/api/com-atproto-repo-upload-blob>). An older one is uploaded again, which
/// is the same blob.
const UPLOAD_KEPT: Duration = Duration::from_secs(5 * 60);

/// What the server holds ready for a post.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Uploads, in the order of the post's images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) uploads: Vec<Upload>,
    /// What the post answers, as it was when it was looked at first: a repeat must be the same record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply>,
}

/// An image that the server has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) blob: Value,
    pub(super) at: Timestamp,
}

impl Held {
    /// Which of the post's images is to be uploaded next: the first that is not there, or may not be
    /// for long.
    pub(super) fn lacks(&self, post: &Outgoing, now: Timestamp) -> Option<usize> {
        let is_there = |upload: &Upload| now.since(upload.at) < UPLOAD_KEPT;
        (0..post.images.len()).find(|&n| !self.uploads.get(n).is_some_and(is_there))
    }

    pub(super) fn add(&mut self, at: usize, upload: Upload) {
        match self.uploads.get_mut(at) {
            Some(old) => *old = upload,
            None => self.uploads.push(upload),
        }
    }
}

impl Post {
    /// The record of a post for which all is held ready.
    pub(super) fn of(post: &Outgoing, held: Held) -> Result<Self, JobError> {
        let text = post.text_as(DESCRIPTOR.limits.link);
        post.needs_all(held.uploads.len())?;
        if post.reply_to.is_some() != held.reply.is_some() {
            return Err(JobError::new(ErrorClass::Bug, "what the post answers is not prepared"));
        }
        let pictures = post.images.iter().zip(held.uploads).map(|(image, upload)| Picture {
            image: upload.blob,
            alt: image.alt.clone(),
            aspect_ratio: (image.width > 0 && image.height > 0)
                .then_some(Ratio { width: image.width, height: image.height }),
        });
        let embed = match &post.link {
            _ if !post.images.is_empty() => Some(Embed::Images { images: pictures.collect() }),
            Some(link) => Some(Embed::External { external: Card::of(link) }),
            None => None,
        };
        let facets = facets(&text);
        Ok(Self {
            kind: POSTS,
            text,
            facets,
            reply: held.reply,
            embed,
            created_at: post.created_at,
        })
    }

    /// Whether a record is this post. How its text is marked up does not count: a newer release may
    /// see a link where an older one saw none.
    pub(super) fn is_like(&self, record: &Value) -> bool {
        let ours = serde_json::to_value(self).unwrap_or_default();
        ["text", "embed", "reply"].into_iter().all(|name| ours.get(name) == record.get(name))
    }
}

impl Card {
    /// The lexicon wants a title and a description.
    fn of(link: &Link) -> Self {
        let uri = link.url.to_string();
        let host = || link.url.host_str().unwrap_or(&uri).to_owned();
        let title = link.title.clone().filter(|title| !title.is_empty()).unwrap_or_else(host);
        Self { title, description: link.description.clone().unwrap_or_default(), uri }
    }
}

/// What an answer to this record refers to.
pub(super) fn reply_to(parent: Reference, record: &Value) -> Reply {
    let root = record.get("reply").and_then(|reply| reply.get("root"));
    let root = root.and_then(|root| Reference::deserialize(root).ok());
    Reply { root: root.unwrap_or_else(|| parent.clone()), parent }
}

/// Account and key of a post's id, such as `at://did:plc:…/app.bsky.feed.post/3mfy…`.
pub(super) fn parts(uri: &str) -> Option<(&str, &str)> {
    let mut parts = uri.strip_prefix("at://")?.split('/');
    let (account, collection, key) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = collection == POSTS && !account.is_empty() && !key.is_empty();
    (whole && parts.next().is_none()).then_some((account, key))
}

//! What a post holds, as platforms get it: the same at every attempt.

use std::fmt;

use bytes::Bytes;
use postworks::job::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

/// A post as it is sent: the same at every attempt.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The publication's id: the idempotency key on platforms that take one.
    pub publication_id: Uuid,
    /// The text.
    pub text: String,
    /// What stands over it, on platforms that have titles.
    pub title: Option<String>,
    /// A page that it points to.
    pub link: Option<Link>,
    /// Images, in their order.
    pub images: Vec<Image>,
    /// The platform's id of the post that this one answers.
    pub reply_to: Option<String>,
    /// The time shown on the post; also the source of deterministic record keys.
    pub created_at: Timestamp,
}

impl Outgoing {
    /// A post of nothing but text.
    pub const fn of_text(publication_id: Uuid, text: String, created_at: Timestamp) -> Self {
        Self {
            publication_id,
            text,
            title: None,
            link: None,
            images: Vec::new(),
            reply_to: None,
            created_at,
        }
    }

    /// The text with the link's address after it, unless it is there already: for platforms that have
    /// no place of its own for a link.
    pub fn text_with_link(&self) -> String {
        with_link(&self.text, self.link.as_ref().map(|link| link.url.as_str()))
    }
}

/// A text with an address after it, unless it is there already.
pub(crate) fn with_link(text: &str, url: Option<&str>) -> String {
    match url {
        Some(url) if text.trim().is_empty() => url.to_owned(),
        Some(url) if !text.contains(url) => format!("{}\n\n{url}", text.trim_end()),
        _ => text.to_owned(),
    }
}

/// A page that a post points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its address.
    pub url: Url,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An image of a post.
#[derive(Clone)]
pub struct Image {
    /// Our id of it.
    pub id: Uuid,
    /// What it is.
    pub kind: ImageKind,
    /// Itself.
    pub bytes: Bytes,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// Where a platform can fetch it, if this instance has a public address.
    pub url: Option<Url>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

impl ImageKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Gif, Self::Webp];

    /// Its name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its media type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// What a file's name ends with.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    /// The kind of this media type.
    pub fn of_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mime() == mime)
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mime())
    }
}

//! What a post holds, as platforms get it: the same at every attempt.

use std::fmt;

use postworks::job::{ErrorClass, JobError, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::addresses::addresses;
use super::{LinkAs, Original};

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

    /// Whether so many uploads are one for each image: without one it would be another post, which
    /// cannot be taken back.
    pub(super) fn needs_all(&self, uploads: usize) -> Result<(), JobError> {
        let images = self.images.len();
        if uploads == images {
            return Ok(());
        }
        let words = format!("{uploads} uploads are kept for a post of {images} images");
        Err(JobError::new(ErrorClass::Bug, words))
    }

    /// The text with the link's address after it, unless it is there already: for platforms that have
    /// no place of its own for a link.
    pub fn text_with_link(&self) -> String {
        self.text_as(LinkAs::Appended)
    }

    /// The text as it stands on a platform where that becomes of a link.
    pub fn text_as(&self, link: LinkAs) -> String {
        let url = self.link.as_ref().map(|link| link.url.as_str());
        with_link(&self.text, link.appended(url, !self.images.is_empty()))
    }
}

/// A text with an address after it, unless it is there already.
pub(crate) fn with_link(text: &str, url: Option<&str>) -> String {
    match url {
        Some(url) if text.trim().is_empty() => url.to_owned(),
        Some(url) if !holds(text, url) => format!("{}\n\n{url}", text.trim_end()),
        _ => text.to_owned(),
    }
}

/// Whether an address stands in a text, and not only as the beginning of a longer one: as one that
/// platforms would find, or as a word, since they know no `localhost`.
fn holds(text: &str, url: &str) -> bool {
    // An address may leave out its last slash, or have letters that a `Url` writes in ASCII.
    let is = |part: &str| Url::parse(part).is_ok_and(|part| part.as_str() == url);
    let found = addresses(text, false).into_iter().map(|at| &text[at]);
    let bare = |word| str::trim_matches(word, |c: char| !c.is_alphanumeric() && c != '/');
    let words = text.split_whitespace().flat_map(|word| [word, bare(word)]);
    found.chain(words).any(is)
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
    pub bytes: Original,
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
            .field("bytes", &self.bytes)
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
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mime())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_text_holds_is_not_put_after_it_again() {
        let url = "https://example.org/page";
        let holds = [
            "https://example.org/page",
            "at https://example.org/page now",
            "See (https://example.org/page).",
            "“https://example.org/page”!",
            "くわしくはhttps://example.org/page。",
            "HTTPS://Example.org/page",
        ];
        for text in holds {
            assert_eq!(with_link(text, Some(url)), text);
        }
        let only_alike = [
            "see https://example.org/page2",
            "see https://example.org/page/2",
            "see https://example.org/page?of=2",
            "see https://example.org/page#two",
            "see http://example.org/page",
            "see example.org/page",
            "mirrors.example/https://example.org/pages",
        ];
        for text in only_alike {
            assert_eq!(with_link(text, Some(url)), format!("{text}\n\n{url}"));
        }
        assert_eq!(with_link("see it \n", Some(url)), format!("see it\n\n{url}"));
        assert_eq!(with_link(" ", Some(url)), url);
        assert_eq!(with_link("nothing ", None), "nothing ");
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for (text, url) in [
            ("see https://example.org, or not", "https://example.org/"),
            ("see https://example.org/wiki/Köln.", "https://example.org/wiki/K%C3%B6ln"),
            ("https://example.org/wiki/東京", "https://example.org/wiki/%E6%9D%B1%E4%BA%AC"),
            ("see https://example.org/a_(b)", "https://example.org/a_(b)"),
            ("what https://example.org/why. says", "https://example.org/why."),
            ("<http://localhost:8080/page>", "http://localhost:8080/page"),
            ("on http://192.0.2.1/page.", "http://192.0.2.1/page"),
        ] {
            assert_eq!(with_link(text, Some(url)), text);
        }
    }

    #[test]
    fn what_becomes_of_a_link_is_decided_in_one_place() {
        let link =
            Link { url: "https://example.org/".parse().unwrap(), title: None, description: None };
        let image = Image {
            id: Uuid::nil(),
            kind: ImageKind::Png,
            bytes: "".into(),
            width: 1,
            height: 1,
            alt: String::new(),
            url: None,
        };
        let plain = Outgoing::of_text(Uuid::nil(), "x".into(), Timestamp::from_millis(0));
        let linked = Outgoing { link: Some(link), ..plain.clone() };
        let shown = Outgoing { images: vec![image], ..linked.clone() };
        let after = "x\n\nhttps://example.org/";
        for (link, of_linked, of_shown) in [
            (LinkAs::Card, "x", "x"),
            (LinkAs::CardUnlessImages, "x", after),
            (LinkAs::Appended, after, after),
        ] {
            assert_eq!(plain.text_as(link), "x");
            assert_eq!(
                (linked.text_as(link).as_str(), shown.text_as(link).as_str()),
                (of_linked, of_shown)
            );
        }
    }
}

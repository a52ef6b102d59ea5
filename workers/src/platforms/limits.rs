//! What platforms take, checked before they see it: first when a publication is made, and again before
//! anything leaves.

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;

use unicode_segmentation::UnicodeSegmentation as _;

use super::content::{ImageKind, Outgoing, with_link};

/// What a platform's posts may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest text.
    pub text: Length,
    /// The longest text as it is counted beside that.
    pub text_also: Option<Length>,
    /// Whether there is no post without a text.
    pub text_required: bool,
    /// Images, where there are any.
    pub images: Option<ImageLimits>,
    /// What becomes of a link.
    pub link: LinkAs,
    /// Whether a post can answer another one.
    pub replies: bool,
}

/// A length that is counted as the platform counts it.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// At most so much.
    pub max: usize,
    /// Of what, in the plural.
    pub unit: &'static str,
    /// How it is counted.
    pub count: fn(&str) -> usize,
}

/// What images a post may have.
#[derive(Debug, Clone, Copy)]
pub struct ImageLimits {
    /// At most so many.
    pub max: usize,
    /// Whether there is no post without one.
    pub required: bool,
    /// Of these kinds.
    pub kinds: &'static [ImageKind],
    /// Each at most so many bytes.
    pub bytes_max: usize,
    /// The longest description.
    pub alt: Length,
    /// What else holds there.
    pub rules: &'static [ImageRule],
}

/// What holds of images on some platforms.
#[derive(Debug, Clone, Copy)]
pub enum ImageRule {
    /// A GIF is the one image of its post.
    GifAlone,
    /// None is taller or wider than this; each as width and height.
    Shape {
        /// The tallest.
        tallest: (u32, u32),
        /// The widest.
        widest: (u32, u32),
        /// Both, in the platform's words.
        words: &'static str,
    },
    /// The platform fetches them from this instance.
    Fetched,
}

/// What becomes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkAs {
    /// It has a place of its own.
    Card,
    /// It has a place of its own, which images take if there are any: then it is appended.
    CardUnlessImages,
    /// Its address is put after the text, and counts as a part of it.
    Appended,
}

impl LinkAs {
    /// The address, if it is put after the text of a post that `shows` images or none.
    pub(super) fn appended(self, url: Option<&str>, shows: bool) -> Option<&str> {
        url.filter(|_| match self {
            Self::Card => false,
            Self::CardUnlessImages => shows,
            Self::Appended => true,
        })
    }
}

/// What is checked of a post.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    /// The text.
    pub text: &'a str,
    /// The link's address.
    pub link: Option<&'a str>,
    /// The images, in their order.
    pub images: Vec<DraftImage<'a>>,
    /// Whether platforms can fetch the images from this instance.
    pub is_public: bool,
    /// Whether it answers another post.
    pub is_reply: bool,
}

/// What is checked of an image.
#[derive(Debug, Clone, Copy)]
pub struct DraftImage<'a> {
    /// What it is.
    pub kind: ImageKind,
    /// Its size, in bytes.
    pub bytes: usize,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Its description.
    pub alt: &'a str,
}

/// What a platform would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What of the post, as a JSON pointer: `/text`, `/images/2/alt`.
    pub field: String,
    /// The limit, and what there is.
    pub words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Length {
    /// At most so many characters (Unicode scalar values).
    pub const fn chars(max: usize) -> Self {
        Self { max, unit: "characters", count: |text| text.chars().count() }
    }

    /// At most so many bytes (UTF-8).
    pub const fn bytes(max: usize) -> Self {
        Self { max, unit: "bytes", count: str::len }
    }

    /// At most so many graphemes: what people take for one character, such as a flag.
    pub const fn graphemes(max: usize) -> Self {
        Self { max, unit: "graphemes", count: |text| text.graphemes(true).count() }
    }
}

impl<'a> From<&'a Outgoing> for Draft<'a> {
    fn from(post: &'a Outgoing) -> Self {
        let image = |image: &'a super::Image| DraftImage {
            kind: image.kind,
            bytes: image.bytes.length(),
            width: image.width,
            height: image.height,
            alt: &image.alt,
        };
        Self {
            text: &post.text,
            link: post.link.as_ref().map(|link| link.url.as_str()),
            images: post.images.iter().map(image).collect(),
            is_public: post.images.iter().all(|image| image.url.is_some()),
            is_reply: post.reply_to.is_some(),
        }
    }
}

impl Limits {
    /// Text of so many characters at most, and nothing else; a link is put after it.
    pub const fn text_only(max: usize) -> Self {
        Self {
            text: Length::chars(max),
            text_also: None,
            text_required: true,
            images: None,
            link: LinkAs::Appended,
            replies: false,
        }
    }

    /// Whether the platform of this name would take it.
    ///
    /// # Errors
    /// The first thing that it would not take.
    pub fn check(&self, name: &str, draft: &Draft<'_>) -> Result<(), Refusal> {
        self.check_text(name, draft)?;
        self.check_images(name, draft)?;
        if draft.is_reply && !self.replies {
            return Err(refusal("/reply_to", format!("{name} has no replies")));
        }
        Ok(())
    }

    fn check_text(&self, name: &str, draft: &Draft<'_>) -> Result<(), Refusal> {
        let appended = self.link.appended(draft.link, !draft.images.is_empty());
        let text = with_link(draft.text, appended);
        for Length { max, unit, count } in [Some(self.text), self.text_also].into_iter().flatten() {
            let length = count(&text);
            if length > max {
                let with = if appended.is_some() { " with the link's address" } else { "" };
                let words =
                    format!("the text{with} has {length} {unit}; {name} takes at most {max}");
                return Err(refusal("/text", words));
            }
        }
        let says_nothing = draft.text.trim().is_empty();
        if says_nothing && self.text_required {
            return Err(refusal("/text", format!("{name} takes no post without a text")));
        }
        if says_nothing && draft.images.is_empty() {
            return Err(refusal("/text", "a post needs a text or an image".to_owned()));
        }
        Ok(())
    }

    fn check_images(&self, name: &str, draft: &Draft<'_>) -> Result<(), Refusal> {
        let count = draft.images.len();
        let Some(limits) = self.images else {
            return match count {
                0 => Ok(()),
                _ => Err(refusal("/images", format!("{name} takes no images"))),
            };
        };
        if count > limits.max {
            let max = limits.max;
            let words = format!("the post has {count} images; {name} takes at most {max}");
            return Err(refusal("/images", words));
        }
        if count == 0 && limits.required {
            return Err(refusal("/images", format!("{name} takes no post without an image")));
        }
        draft.images.iter().enumerate().try_for_each(|(at, image)| {
            limits.check(name, at, image)?;
            let fault = limits.rules.iter().find_map(|rule| rule.fault(name, draft, image));
            let words = |fault| format!("image {} {fault}", at + 1);
            fault.map_or(Ok(()), |fault| Err(refusal(format!("/images/{at}"), words(fault))))
        })
    }
}

impl ImageLimits {
    fn check(&self, name: &str, at: usize, image: &DraftImage<'_>) -> Result<(), Refusal> {
        let number = at + 1;
        if !self.kinds.contains(&image.kind) {
            let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.mime()).collect();
            let (kind, kinds) = (image.kind, kinds.join(", "));
            let words = format!("image {number} is {kind}; {name} takes {kinds}");
            return Err(refusal(format!("/images/{at}"), words));
        }
        if image.bytes > self.bytes_max {
            let (bytes, max) = (image.bytes, self.bytes_max);
            let words = format!("image {number} has {bytes} bytes; {name} takes at most {max}");
            return Err(refusal(format!("/images/{at}"), words));
        }
        let Length { max, unit, count } = self.alt;
        let length = count(image.alt);
        if length > max {
            let words = format!(
                "the alt text of image {number} has {length} {unit}; {name} takes at most {max}"
            );
            return Err(refusal(format!("/images/{at}/alt"), words));
        }
        Ok(())
    }
}

impl ImageRule {
    /// What is wrong with an image of that post, if anything: words that follow what is called it.
    fn fault(self, name: &str, draft: &Draft<'_>, image: &DraftImage<'_>) -> Option<String> {
        match self {
            Self::GifAlone => (image.kind == ImageKind::Gif && draft.images.len() > 1)
                .then(|| format!("is a GIF; {name} takes one only as the one image of a post")),
            Self::Shape { tallest, widest, words } => {
                let (width, height) = (image.width, image.height);
                (image.is_narrower(tallest) || image.is_wider(widest))
                    .then(|| format!("has {width} by {height} pixels; {name} takes images {words}"))
            }
            Self::Fetched => (!draft.is_public).then(|| {
                format!(
                    "is to be fetched by {name} itself, and where that finds this instance is not \
                     known: set api.public_url"
                )
            }),
        }
    }
}

impl DraftImage<'_> {
    fn is_narrower(&self, (width, height): (u32, u32)) -> bool {
        u64::from(self.width) * u64::from(height) < u64::from(self.height) * u64::from(width)
    }

    fn is_wider(&self, (width, height): (u32, u32)) -> bool {
        u64::from(self.width) * u64::from(height) > u64::from(self.height) * u64::from(width)
    }
}

fn refusal(field: impl Into<String>, words: String) -> Refusal {
    Refusal { field: field.into(), words }
}

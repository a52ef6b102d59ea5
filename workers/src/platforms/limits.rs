//! What platforms take, checked before they see it: first when a publication is made, and again before
//! anything leaves.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation as _;

use super::content::{ImageKind, Outgoing, with_link};

/// What a platform's posts may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest text.
    pub text: Length,
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

/// What is checked of a post.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    /// The text.
    pub text: &'a str,
    /// The link's address.
    pub link: Option<&'a str>,
    /// The images, in their order.
    pub images: Vec<DraftImage<'a>>,
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

    /// At most so many graphemes: what people take for one character, such as a flag.
    pub const fn graphemes(max: usize) -> Self {
        Self { max, unit: "graphemes", count: |text| text.graphemes(true).count() }
    }
}

impl<'a> From<&'a Outgoing> for Draft<'a> {
    fn from(post: &'a Outgoing) -> Self {
        let image = |image: &'a super::Image| DraftImage {
            kind: image.kind,
            bytes: image.bytes.len(),
            alt: &image.alt,
        };
        Self {
            text: &post.text,
            link: post.link.as_ref().map(|link| link.url.as_str()),
            images: post.images.iter().map(image).collect(),
            is_reply: post.reply_to.is_some(),
        }
    }
}

impl Limits {
    /// Text of so many characters at most, and nothing else; a link is put after it.
    pub const fn text_only(max: usize) -> Self {
        Self {
            text: Length::chars(max),
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
        let appended = draft.link.filter(|_| match self.link {
            LinkAs::Card => false,
            LinkAs::CardUnlessImages => !draft.images.is_empty(),
            LinkAs::Appended => true,
        });
        let text = with_link(draft.text, appended);
        let Length { max, unit, count } = self.text;
        let length = count(&text);
        if length > max {
            let with = if appended.is_some() { " with the link's address" } else { "" };
            let words = format!("the text{with} has {length} {unit}; {name} takes at most {max}");
            return Err(refusal("/text", words));
        }
        let says_nothing = text.trim().is_empty();
        if says_nothing && self.text_required {
            return Err(refusal("/text", format!("{name} takes no post without a text")));
        }
        if says_nothing && draft.images.is_empty() && draft.link.is_none() {
            return Err(refusal("/text", "a post needs a text, a link or an image".to_owned()));
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
        draft.images.iter().enumerate().try_for_each(|(at, image)| limits.check(name, at, image))
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

fn refusal(field: impl Into<String>, words: String) -> Refusal {
    Refusal { field: field.into(), words }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        images: Some(ImageLimits {
            max: 2,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png],
            bytes_max: 1_000,
            alt: Length::chars(10),
        }),
        text_required: false,
        ..Limits::text_only(20)
    };

    fn image(kind: ImageKind, bytes: usize, alt: &str) -> DraftImage<'_> {
        DraftImage { kind, bytes, alt }
    }

    #[test]
    fn what_a_platform_would_not_take_is_named_with_its_limit() {
        let good = image(ImageKind::Png, 1_000, "0123456789");
        let text = |text| Draft { text, ..Draft::default() };
        let images = |images| Draft { text: "x", images, ..Draft::default() };
        let rows: [(Draft<'_>, &str, &str); 8] = [
            (text("it has five characters more"), "/text", "has 27 characters; p takes at most 20"),
            (text("  "), "/text", "a post needs a text, a link or an image"),
            (
                Draft { link: Some("https://example.org/"), ..text("x") },
                "/text",
                "the text with the link's address has 23 characters; p takes at most 20",
            ),
            (images(vec![good; 3]), "/images", "the post has 3 images; p takes at most 2"),
            (
                images(vec![good, image(ImageKind::Gif, 1, "")]),
                "/images/1",
                "image 2 is image/gif; p takes image/jpeg, image/png",
            ),
            (
                images(vec![image(ImageKind::Png, 1_001, "")]),
                "/images/0",
                "image 1 has 1001 bytes; p takes at most 1000",
            ),
            (
                images(vec![image(ImageKind::Png, 1, "01234567890")]),
                "/images/0/alt",
                "the alt text of image 1 has 11 characters; p takes at most 10",
            ),
            (Draft { is_reply: true, ..text("x") }, "/reply_to", "p has no replies"),
        ];
        for (draft, field, words) in rows {
            let refusal = LIMITS.check("p", &draft).unwrap_err();
            assert_eq!(refusal.field, field, "{words}");
            assert!(refusal.words.contains(words), "{refusal}");
        }
        assert_eq!(LIMITS.check("p", &images(vec![good; 2])), Ok(()));
        assert_eq!(LIMITS.check("p", &Draft { text: "", ..images(vec![good]) }), Ok(()));
    }

    #[test]
    fn an_address_counts_where_images_have_its_place() {
        let limits = Limits { link: LinkAs::CardUnlessImages, ..LIMITS };
        let card = Draft { text: "x", link: Some("https://example.org/"), ..Draft::default() };
        assert_eq!(limits.check("p", &card), Ok(()));
        let draft = Draft { images: vec![image(ImageKind::Png, 1, "")], ..card };
        let words = "the text with the link's address has 23 characters; p takes at most 20";
        assert_eq!(limits.check("p", &draft), Err(refusal("/text", words.to_owned())));
    }

    #[test]
    fn graphemes_are_what_people_count() {
        let Length { count, unit, .. } = Length::graphemes(9);
        assert_eq!((count("e\u{301}"), count("👨‍👩‍👧‍👦🇩🇪!"), unit), (1, 3, "graphemes"));
    }

    #[test]
    fn what_a_platform_needs_is_asked_for() {
        let needs = Limits {
            text_required: true,
            images: Some(ImageLimits { required: true, ..LIMITS.images.unwrap() }),
            ..LIMITS
        };
        let draft = Draft { images: vec![image(ImageKind::Png, 1, "")], ..Draft::default() };
        assert_eq!(needs.check("p", &draft).unwrap_err().words, "p takes no post without a text");
        let draft = Draft { text: "x", ..Draft::default() };
        assert_eq!(needs.check("p", &draft).unwrap_err().words, "p takes no post without an image");
        assert_eq!(
            Limits::text_only(9)
                .check("p", &Draft { images: vec![image(ImageKind::Png, 1, "")], ..draft }),
            Err(refusal("/images", "p takes no images".to_owned()))
        );
    }

    #[test]
    fn an_address_that_the_text_holds_is_not_put_after_it_again() {
        let url = "https://example.org/";
        assert_eq!(with_link("see it ", Some(url)), "see it\n\nhttps://example.org/");
        assert_eq!(with_link("", Some(url)), url);
        assert_eq!(
            with_link("at https://example.org/ now", Some(url)),
            "at https://example.org/ now"
        );
        assert_eq!(with_link("nothing", None), "nothing");
    }

    /// What platforms differ in, and a post, both at random.
    fn any_draft() -> impl Strategy<Value = (Limits, String, Vec<(usize, usize, String)>, bool)> {
        let limits =
            (0usize..12, any::<bool>(), any::<bool>(), 0usize..3, any::<bool>(), 1usize..5);
        let image = (0usize..4, 0usize..40, "[a-zä]{0,12}");
        let post = ("[a-zä ]{0,20}", prop::collection::vec(image, 0..4), any::<bool>());
        (limits, post).prop_map(|((max, text_required, shows, images, replies, kinds), post)| {
            let images = ImageLimits {
                max: images,
                required: text_required && replies,
                kinds: &ImageKind::ALL[..kinds.min(4)],
                bytes_max: 20,
                alt: Length::chars(6),
            };
            let images = shows.then_some(images);
            let limits = Limits { text_required, images, replies, ..Limits::text_only(max) };
            (limits, post.0, post.1, post.2)
        })
    }

    proptest! {
        /// A refusal names what is wrong by its place in the post, the platform, and of what is
        /// counted both the limit and the count; and what is not refused is within every limit.
        #[test]
        fn a_refusal_says_what_is_wrong_and_nothing_else_is_refused(
            (limits, text, images, is_reply) in any_draft(),
        ) {
            let images: Vec<DraftImage<'_>> = images
                .iter()
                .map(|(kind, bytes, alt)| image(ImageKind::ALL[*kind], *bytes, alt))
                .collect();
            let draft = Draft { text: &text, link: None, images: images.clone(), is_reply };
            let (length, count) = (text.chars().count(), images.len());
            let of = |at: usize| limits.images.zip(images.get(at));
            let Err(Refusal { field, words }) = limits.check("p", &draft) else {
                prop_assert!(length <= limits.text.max && (limits.replies || !is_reply));
                prop_assert!(!text.trim().is_empty() || !limits.text_required && count > 0);
                prop_assert!(limits.images.map_or(count == 0, |of| count <= of.max));
                prop_assert!(limits.images.is_none_or(|of| !of.required || count > 0));
                for (limits, image) in (0..count).filter_map(of) {
                    prop_assert!(limits.kinds.contains(&image.kind));
                    prop_assert!(image.bytes <= limits.bytes_max);
                    prop_assert!(image.alt.chars().count() <= limits.alt.max);
                }
                return Ok(());
            };
            let says = |max: usize, count: usize| {
                words.contains(&max.to_string()) && words.contains(&count.to_string())
            };
            let at = field.split('/').nth(2).and_then(|at| at.parse::<usize>().ok());
            match (field.as_str(), at.and_then(of)) {
                ("/text", _) if length > limits.text.max => {
                    prop_assert!(says(limits.text.max, length), "{words}");
                }
                ("/text", _) => prop_assert!(text.trim().is_empty(), "{words}"),
                ("/reply_to", _) => prop_assert!(is_reply && !limits.replies, "{words}"),
                ("/images", _) => match limits.images {
                    None => prop_assert!(count > 0, "{words}"),
                    Some(of) if count > of.max => prop_assert!(says(of.max, count), "{words}"),
                    Some(of) => prop_assert!(of.required && count == 0, "{words}"),
                },
                (field, Some((limits, image))) if field.ends_with("/alt") => {
                    let length = image.alt.chars().count();
                    prop_assert!(length > 6 && says(limits.alt.max, length), "{words}");
                }
                (_, Some((limits, image))) if image.bytes > limits.bytes_max
                    && limits.kinds.contains(&image.kind) =>
                {
                    prop_assert!(says(limits.bytes_max, image.bytes), "{words}");
                }
                (_, Some((limits, image))) => {
                    prop_assert!(!limits.kinds.contains(&image.kind), "{words}");
                    prop_assert!(words.contains(image.kind.mime()), "{words}");
                }
                (field, None) => prop_assert!(false, "{field} is nowhere in the post"),
            }
            prop_assert!(words.contains('p'));
        }
    }
}

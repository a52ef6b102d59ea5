//! What is refused, and with which words, whatever the platform.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    images: Some(ImageLimits {
        max: 2,
        required: false,
        kinds: &[ImageKind::Jpeg, ImageKind::Png],
        bytes_max: 1_000,
        alt: Length::chars(10),
        rules: &[],
    }),
    text_required: false,
    ..Limits::text_only(20)
};

fn image(kind: ImageKind, bytes: usize, alt: &str) -> DraftImage<'_> {
    DraftImage { bytes, alt, ..testing::image(kind) }
}

#[test]
fn what_a_platform_would_not_take_is_named_with_its_limit() {
    let good = image(ImageKind::Png, 1_000, "0123456789");
    let text = |text| Draft { text, ..Draft::default() };
    let images = |images| Draft { text: "x", images, ..Draft::default() };
    let rows: [(Draft<'_>, &str, &str); 9] = [
        (text("it has five characters more"), "/text", "has 27 characters; p takes at most 20"),
        (text("  "), "/text", "a post needs a text or an image"),
        (
            Draft { link: Some("https://example.org/"), ..text(" ") },
            "/text",
            "a post needs a text or an image",
        ),
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
fn a_text_may_be_counted_in_two_ways() {
    let limits = Limits { text_also: Some(Length::bytes(30)), ..LIMITS };
    let check = |text: &str| limits.check("p", &Draft { text, ..Draft::default() });
    assert_eq!(check(&"ü".repeat(15)), Ok(()));
    for (text, words) in [
        ("ü".repeat(16), "the text has 32 bytes; p takes at most 30"),
        ("u".repeat(21), "the text has 21 characters; p takes at most 20"),
    ] {
        assert_eq!(check(&text), Err(refusal("/text", words.to_owned())));
    }
}

/// Limits with nothing but this rule.
fn ruled(rules: &'static [ImageRule]) -> Limits {
    let images = ImageLimits { kinds: &ImageKind::ALL, rules, ..LIMITS.images.unwrap() };
    Limits { images: Some(images), ..LIMITS }
}

#[test]
fn a_gif_is_taken_alone_where_that_is_the_rule() {
    let (gif, png) = (image(ImageKind::Gif, 1, ""), image(ImageKind::Png, 1, ""));
    let check = |images| ruled(&[ImageRule::GifAlone]).check("p", &testing::shows(images));
    assert_eq!(check(vec![gif]), Ok(()));
    assert_eq!(check(vec![png; 2]), Ok(()));
    for (images, field, number) in [
        (vec![png, gif], "/images/1", 2),
        (vec![gif, png], "/images/0", 1),
        (vec![gif; 2], "/images/0", 1),
    ] {
        let words = format!("image {number} is a GIF; p takes one only as the one image of a post");
        assert_eq!(check(images), Err(refusal(field, words)));
    }
}

#[test]
fn a_shape_is_measured_to_the_pixel() {
    let limits = ruled(&[ImageRule::Shape {
        tallest: (4, 5),
        widest: (191, 100),
        words: "from 4:5 to 1.91:1",
    }]);
    let check = |(width, height)| {
        let good = image(ImageKind::Png, 1, "");
        limits.check("p", &testing::shows(vec![good, DraftImage { width, height, ..good }]))
    };
    for fits in [(1, 1), (4, 5), (1_080, 1_350), (191, 100), (1_910, 1_000), (65_535, 65_535)] {
        assert_eq!(check(fits), Ok(()), "{fits:?}");
    }
    for beyond in [(1_080, 1_351), (1_911, 1_000), (1_919, 1_000), (1, 65_535), (65_535, 1)] {
        let (width, height) = beyond;
        let words =
            format!("image 2 has {width} by {height} pixels; p takes images from 4:5 to 1.91:1");
        assert_eq!(check(beyond), Err(refusal("/images/1", words)));
    }
}

#[test]
fn images_that_are_to_be_fetched_need_an_address() {
    let limits = ruled(&[ImageRule::Fetched]);
    let draft = testing::shows(vec![image(ImageKind::Png, 1, "")]);
    assert_eq!(limits.check("p", &draft), Ok(()));
    let hidden = Draft { is_public: false, ..draft };
    let refused = limits.check("p", &hidden).unwrap_err();
    assert_eq!(refused.field, "/images/0");
    assert!(refused.words.contains("fetched by p itself"), "{refused}");
    assert!(refused.words.ends_with("set api.public_url"), "{refused}");
    let of_text = Draft { images: Vec::new(), ..hidden };
    assert_eq!(limits.check("p", &of_text), Ok(()), "there is nothing to fetch");
}

/// What platforms differ in, and a post, both at random.
fn any_draft() -> impl Strategy<Value = (Limits, String, Vec<(usize, usize, String)>, bool)> {
    let limits = (0usize..12, any::<bool>(), any::<bool>(), 0usize..3, any::<bool>(), 1usize..5);
    let image = (0usize..4, 0usize..40, "[a-zä]{0,12}");
    let post = ("[a-zä ]{0,20}", prop::collection::vec(image, 0..4), any::<bool>());
    (limits, post).prop_map(|((max, text_required, shows, images, replies, kinds), post)| {
        let images = ImageLimits {
            max: images,
            required: text_required && replies,
            kinds: &ImageKind::ALL[..kinds.min(4)],
            bytes_max: 20,
            alt: Length::chars(6),
            rules: &[],
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
        let draft = Draft { text: &text, images: images.clone(), is_reply, ..Draft::default() };
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

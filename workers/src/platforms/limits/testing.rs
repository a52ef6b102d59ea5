//! Holds a platform's limits against the numbers of its page: at each a post is fine, and one more is
//! refused, with what is wrong and how much there may be.

use super::{Draft, DraftImage, Refusal};
use crate::platforms::{Descriptor, ImageKind};

/// The most that a platform takes; of what is counted also the unit.
pub(in crate::platforms) struct Most {
    pub(in crate::platforms) text: (usize, &'static str),
    pub(in crate::platforms) images: usize,
    pub(in crate::platforms) kinds: &'static [ImageKind],
    pub(in crate::platforms) bytes: usize,
    pub(in crate::platforms) alt: (usize, &'static str),
    pub(in crate::platforms) replies: bool,
}

/// An image that every platform takes if it takes its kind.
pub(in crate::platforms) const fn image(kind: ImageKind) -> DraftImage<'static> {
    DraftImage { kind, bytes: 1, width: 1_080, height: 1_080, alt: "" }
}

/// A post that shows these, which can be fetched.
pub(in crate::platforms) fn shows(images: Vec<DraftImage<'_>>) -> Draft<'_> {
    Draft { text: "x", images, is_public: true, ..Draft::default() }
}

/// What of a draft is refused, and why.
#[track_caller]
pub(in crate::platforms) fn refused(by: &Descriptor, draft: &Draft<'_>) -> (String, String) {
    let refusal = by.limits.check(by.name, draft).expect_err("it was not refused");
    (refusal.field, refusal.words)
}

impl Most {
    /// Asserts that the platform takes exactly this.
    #[track_caller]
    pub(in crate::platforms) fn is_what_is_taken_by(&self, platform: &Descriptor) {
        let Descriptor { name, limits, .. } = platform;
        let taken = |draft: Draft<'_>| assert_eq!(limits.check(name, &draft), Ok(()));
        let refused = |draft: Draft<'_>, field: &str, words: String| {
            let refusal = Refusal { field: field.to_owned(), words };
            assert_eq!(limits.check(name, &draft), Err(refusal));
        };
        let good = image(self.kinds[0]);

        let (max, unit) = self.text;
        let (most, more) = ("x".repeat(max), "x".repeat(max + 1));
        taken(Draft { text: &most, ..shows(vec![good]) });
        let words = format!("the text has {} {unit}; {name} takes at most {max}", max + 1);
        refused(Draft { text: &more, ..shows(vec![good]) }, "/text", words);

        let max = self.images;
        taken(shows(vec![good; max]));
        let words = format!("the post has {} images; {name} takes at most {max}", max + 1);
        refused(shows(vec![good; max + 1]), "/images", words);

        let max = self.bytes;
        taken(shows(vec![DraftImage { bytes: max, ..good }]));
        let words = format!("image 1 has {} bytes; {name} takes at most {max}", max + 1);
        refused(shows(vec![DraftImage { bytes: max + 1, ..good }]), "/images/0", words);

        let (max, unit) = self.alt;
        let (most, more) = ("x".repeat(max), "x".repeat(max + 1));
        taken(shows(vec![DraftImage { alt: &most, ..good }]));
        let words =
            format!("the alt text of image 1 has {} {unit}; {name} takes at most {max}", max + 1);
        refused(shows(vec![DraftImage { alt: &more, ..good }]), "/images/0/alt", words);

        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.mime()).collect();
        for kind in ImageKind::ALL {
            let words = format!("image 1 is {kind}; {name} takes {}", kinds.join(", "));
            match self.kinds.contains(&kind) {
                true => taken(shows(vec![image(kind)])),
                false => refused(shows(vec![image(kind)]), "/images/0", words),
            }
        }

        let answer = Draft { is_reply: true, ..shows(vec![good]) };
        match self.replies {
            true => taken(answer),
            false => refused(answer, "/reply_to", format!("{name} has no replies")),
        }
    }
}

//! How long a text is for X: most letters count 1, those of many scripts 2, an emoji 2 whatever it is
//! made of, and an address 23 (docs.x.com/fundamentals/counting-characters; the numbers are those of
//! twitter-text's `config/v3.json`).

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::platforms::addresses::{COUNTS_AS, addresses};

/// What an emoji counts.
const EMOJI: usize = 2;

/// The length of a text, as X counts it.
pub(super) fn weighted(text: &str) -> usize {
    let text: String = text.nfc().collect();
    let (mut length, mut at) = (0, 0);
    for address in addresses(&text, true) {
        length += letters(&text[at..address.start]) + COUNTS_AS;
        at = address.end;
    }
    length + letters(&text[at..])
}

fn letters(text: &str) -> usize {
    let seen = text.graphemes(true);
    seen.map(|seen| if is_emoji(seen) { EMOJI } else { seen.chars().map(weight).sum() }).sum()
}

fn weight(char: char) -> usize {
    match u32::from(char) {
        0..=4_351 | 8_192..=8_205 | 8_208..=8_223 | 8_242..=8_247 => 1,
        _ => 2,
    }
}

/// Whether what is seen as one letter is an emoji. Where Unicode has its emoji, what is none of them
/// counts as much by itself.
fn is_emoji(seen: &str) -> bool {
    let starts = |char| {
        matches!(char,
            '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{23ff}'
            | '\u{24c2}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{2bff}' | '\u{3030}'
            | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
    };
    // The last two make an emoji of what would be none: the look of one, and a key around it.
    seen.starts_with(starts) || seen.contains(['\u{fe0f}', '\u{20e3}'])
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        what: String,
        text: String,
        length: usize,
    }

    /// twitter-text's conformance tests of its third configuration, and those of normalization.
    #[test]
    fn texts_are_as_long_as_the_published_vectors_say() {
        let vectors = include_str!("fixtures/lengths.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
        assert_eq!(vectors.len(), 23);
        for Vector { what, text, length } in vectors {
            assert_eq!(weighted(&text), length, "{what}: {text:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_one_counts_in_full() {
        let long =
            format!("https://{}.com/foo https://validurl.com", "somesuperlongurl".repeat(700));
        assert_eq!(weighted(&long), 8 + 16 * 700 + 9 + 23);
        assert_eq!(weighted("© 2026"), 6);
        assert_eq!(weighted("©\u{fe0f}"), 2);
    }
}

//! Whether a text that a platform shows is one that was sent: platforms change spaces, addresses and
//! the way of writing letters, and nothing else.

use unicode_normalization::UnicodeNormalization as _;

/// Whether two texts are of one post.
pub(super) fn alike(one: &str, other: &str) -> bool {
    essence(one) == essence(other)
}

/// What is the same of two texts of one post: the letters in their usual form, one space for any,
/// addresses without what goes without saying.
pub(super) fn essence(text: &str) -> String {
    let text: String = text.nfc().collect();
    let words = text.split_whitespace().map(|word| {
        let place = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"));
        place.map_or(word, |place| place.trim_end_matches('/'))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_platforms_change_is_no_difference() {
        let sent = "  Cafe\u{301}:\n\nhttps://example.org/ ";
        for shown in ["Caf\u{e9}: http://example.org", "Caf\u{e9}:\u{a0}https://example.org/"] {
            assert!(alike(sent, shown), "{shown}");
        }
        assert!(alike("one \ntwo", "one\r\ntwo\n"));
        assert!(!alike("Hello", "hello"));
        assert!(!alike("https://example.org/a", "https://example.org/b"));
        assert_eq!(essence(" \n"), "");
    }
}

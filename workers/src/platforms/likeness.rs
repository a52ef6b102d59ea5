//! Whether a text that a platform shows is one that was sent: platforms change spaces, addresses and
//! the way of writing letters, and nothing else.

use unicode_normalization::UnicodeNormalization as _;

/// What may stand behind an address and is no part of it.
const CLOSING: [char; 10] = ['.', ',', ';', ':', '!', '?', ')', ']', '"', '\''];

/// Whether two texts are of one post.
pub(super) fn alike(one: &str, other: &str) -> bool {
    essence(one) == essence(other)
}

/// What is the same of two texts of one post: the letters in their usual form, one space for any,
/// addresses without what goes without saying.
pub(super) fn essence(text: &str) -> String {
    let text: String = text.nfc().collect();
    let text = text.replace("https://", "").replace("http://", "");
    let words = text.split_whitespace().map(|word| {
        let (address, after) = word.split_at(word.trim_end_matches(CLOSING).len());
        format!("{}{after}", address.trim_end_matches('/'))
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
        assert!(alike("see (https://example.org/).", "see (example.org)."));
        assert!(alike("one \ntwo", "one\r\ntwo\n"));
        assert!(!alike("Hello", "hello"));
        assert!(!alike("https://example.org/a", "https://example.org/b"));
        assert_eq!(essence(" \n"), "");
    }
}

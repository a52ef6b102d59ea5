//! How long a text is for Mastodon, and what a status' text is, which it shows as HTML.

use unicode_segmentation::UnicodeSegmentation as _;

use super::wire::Status;
use crate::platforms::addresses::{COUNTS_AS, addresses};
use crate::platforms::html::text_of;

/// The length of a text: letters as people see them, an address as 23, and of `@somebody@example.org`
/// only the first part (`app/validators/status_length_validator.rb`).
pub(super) fn counted(text: &str) -> usize {
    let (mut length, mut at) = (0, 0);
    for address in addresses(text, false) {
        length += seen(&text[at..address.start]) + COUNTS_AS;
        at = address.end;
    }
    length + seen(&text[at..])
}

fn seen(text: &str) -> usize {
    without_servers(text).graphemes(true).count()
}

/// The text with `@somebody` in place of `@somebody@example.org`, as mentions are shown.
pub(super) fn without_servers(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let before = rest[..at].chars().next_back().or_else(|| short.chars().next_back());
        let name = length(&rest[at + 1..], |char| char == '_');
        let end = at + 1 + name;
        short.push_str(&rest[..end]);
        rest = &rest[end..];
        if name > 0 && before.is_none_or(|char| !char.is_alphanumeric()) {
            let server = rest.strip_prefix('@').map_or("", |after| {
                after[..length(after, |char| ".-".contains(char))].trim_end_matches(['.', '-'])
            });
            rest = if server.is_empty() { rest } else { &rest[1 + server.len()..] };
        }
    }
    short + rest
}

/// How far ASCII's letters, digits and these go.
fn length(text: &str, also: impl Fn(char) -> bool) -> usize {
    text.find(|char: char| !char.is_ascii_alphanumeric() && !also(char)).unwrap_or(text.len())
}

/// What people read in a status.
pub(super) fn read(status: &Status) -> String {
    text_of(&status.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::likeness::alike;

    #[test]
    fn a_text_is_as_long_as_mastodon_counts_it() {
        let rows = [
            ("", 0),
            ("Hello, world", 12),
            ("https://example.org/a/long/path?with=a&query", 23),
            ("see https://example.org.", 4 + 23 + 1),
            // Without its scheme it is none.
            ("example.org", 11),
            ("👨‍👩‍👧‍👦 cafe\u{301}", 6),
            ("hi @somebody@social.example.org !", 14),
            ("(@somebody@social.example.org!)", 12),
            ("@a@b.example and @c@d.example.", 10),
            ("mail me@example.org", 19),
            ("@ @@ a@", 7),
            ("a\n\nb", 4),
        ];
        for (text, length) in rows {
            assert_eq!(counted(text), length, "{text:?}");
        }
    }

    #[test]
    fn a_status_is_known_by_its_text_however_it_is_shown() {
        let shown = |content: &str| -> Status {
            serde_json::from_value(serde_json::json!({ "id": "1", "content": content })).unwrap()
        };
        let html = "<p>Hi <span class=\"h-card\"><a href=\"https://s.example/@bob\" class=\"u-url mention\">\
                    @<span>bob</span></a></span> &amp; all</p><p><a href=\"https://example.org/page\">\
                    <span class=\"invisible\">https://</span><span class=\"\">example.org/page</span>\
                    <span class=\"invisible\"></span></a></p>";
        let shown = without_servers(&read(&shown(html)));
        let is_of = |text: &str| alike(&shown, &without_servers(text));
        assert!(is_of("Hi @bob@s.example & all\n\nhttps://example.org/page"));
        assert!(!is_of("Hi @bob@s.example & all\n\nhttps://example.org/other"));
    }
}

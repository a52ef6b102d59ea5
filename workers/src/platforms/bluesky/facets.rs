//! Which parts of a text are links and hashtags. A server stores what it is told: without facets the
//! address of a page is plain text.
//!
//! Found as the official app finds them (`@atproto/api`, `rich-text/detection.ts`), where that is
//! simple. Mentions are left out: each would have to be looked up, and may be somebody else tomorrow.

use unicode_segmentation::UnicodeSegmentation as _;
use url::Url;

use super::wire::{Facet, Feature, Slice};

/// A hashtag's longest text (`maxGraphemes` and `maxLength` in app.bsky.richtext.facet).
const TAG_GRAPHEMES_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 640;
/// What may stand between a word's beginning and an address.
const OPENING: &[char] = &['(', '[', '{', '<', '"', '\'', '“', '„', '‘', '‚', '«', '»'];
/// What ends a sentence rather than an address.
const CLOSING: &[char] =
    &['.', ',', ';', ':', '!', '?', '"', '\'', '”', '“', '’', '«', '»', '>', '}'];
/// What cannot be seen, and ends a hashtag.
const INVISIBLE: &[char] =
    &['\u{ad}', '\u{2060}', '\u{200a}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{20e2}'];

/// The links and hashtags of a text, in order.
pub(super) fn facets(text: &str) -> Vec<Facet> {
    let words = text.split_whitespace();
    let found = words.filter_map(|word| link(word).or_else(|| tag(word)));
    let facet = |(part, feature): (&str, Feature)| {
        // Each is a part of the text, so this is where it begins.
        let byte_start = part.as_ptr().addr() - text.as_ptr().addr();
        let index = Slice { byte_start, byte_end: byte_start + part.len() };
        Facet { index, features: [feature] }
    };
    found.map(facet).collect()
}

/// The address in a word, and where it leads.
fn link(word: &str) -> Option<(&str, Feature)> {
    let word = word.trim_start_matches(OPENING);
    let is = |scheme: &str| {
        word.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if !is("https://") && !is("http://") {
        return None;
    }
    let part = without_closing(word);
    let url = Url::parse(part).ok().filter(Url::has_host)?;
    let uri = if part.is_ascii() { part.to_owned() } else { url.into() };
    Some((part, Feature::Link { uri }))
}

/// An address without what closes the sentence or the bracket that it stands in.
fn without_closing(mut part: &str) -> &str {
    loop {
        let shorter = part.trim_end_matches(CLOSING);
        let shorter = match shorter.chars().last() {
            Some(')') if !shorter.contains('(') => &shorter[..shorter.len() - 1],
            Some(']') if !shorter.contains('[') => &shorter[..shorter.len() - 1],
            _ => shorter,
        };
        if shorter.len() == part.len() {
            return part;
        }
        part = shorter;
    }
}

/// The hashtag that a word is, `#` and all, and its text.
fn tag(word: &str) -> Option<(&str, Feature)> {
    let rest = word.strip_prefix(['#', '＃'])?;
    // The keycap emoji.
    if rest.starts_with('\u{fe0f}') {
        return None;
    }
    let visible = rest.split(INVISIBLE).next().unwrap_or_default();
    let text = visible.trim_end_matches(is_punctuation);
    let says_something = text.chars().any(|char| !char.is_ascii_digit() && !is_punctuation(char));
    let fits = text.len() <= TAG_BYTES_MAX && text.graphemes(true).count() <= TAG_GRAPHEMES_MAX;
    let part = &word[..word.len() - rest.len() + text.len()];
    (says_something && fits).then(|| (part, Feature::Tag { tag: text.to_owned() }))
}

/// What Unicode calls punctuation, of the blocks that are common in posts.
fn is_punctuation(char: char) -> bool {
    match char {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' => true,
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' => true,
        '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' => true,
        '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' => true,
        other => other.is_ascii_punctuation(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each facet's part of the text, and what it leads to.
    fn found(text: &str) -> Vec<(&str, String)> {
        let facets = facets(text);
        let each = facets.into_iter().map(|Facet { index, features: [feature] }| {
            let leads_to = match feature {
                Feature::Link { uri } => uri,
                Feature::Tag { tag } => format!("tag {tag}"),
            };
            (&text[index.byte_start..index.byte_end], leads_to)
        });
        each.collect()
    }

    #[test]
    fn links_are_told_from_what_stands_around_them() {
        let rows: [(&str, &[(&str, &str)]); 11] = [
            ("see https://a.example/x.", &[("https://a.example/x", "https://a.example/x")]),
            ("(https://a.example)", &[("https://a.example", "https://a.example")]),
            ("http://a.example/w_(x)!", &[("http://a.example/w_(x)", "http://a.example/w_(x)")]),
            ("„https://a.example“,", &[("https://a.example", "https://a.example")]),
            ("HTTPS://a.example", &[("HTTPS://a.example", "HTTPS://a.example")]),
            ("https://ä.example/ü", &[("https://ä.example/ü", "https://xn--4ca.example/%C3%BC")]),
            ("https://a.example/#c", &[("https://a.example/#c", "https://a.example/#c")]),
            ("https:// http:/x a.example", &[]),
            ("xhttps://a.example ftp://a.example", &[]),
            ("https://?", &[]),
            (
                "👨‍👩‍👧‍👦 https://a.example\nü\u{3000}https://b.example",
                &[
                    ("https://a.example", "https://a.example"),
                    ("https://b.example", "https://b.example"),
                ],
            ),
        ];
        for (text, expected) in rows {
            let expected: Vec<_> =
                expected.iter().map(|(part, uri)| (*part, (*uri).to_owned())).collect();
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn hashtags_are_words_that_say_something() {
        let rows = [
            ("#rust, ＃さび #c++ #a_b_", vec!["#rust", "＃さび", "#c++", "#a_b"]),
            ("#1 #2026 #1st", vec!["#1st"]),
            ("a#b # ## #️⃣ #!", vec![]),
            ("#🎉 #a\u{200b}b", vec!["#🎉", "#a"]),
        ];
        for (text, expected) in rows {
            let parts: Vec<_> = found(text).into_iter().map(|(part, _)| part).collect();
            assert_eq!(parts, expected, "{text}");
        }
        let longest = format!("#{}", "é".repeat(TAG_GRAPHEMES_MAX));
        assert_eq!(found(&longest).len(), 1);
        assert_eq!(found(&format!("{longest}é")), []);
        let heavy = format!("#{}", "👨‍👩‍👧‍👦".replace('\u{200d}', "").repeat(TAG_GRAPHEMES_MAX));
        assert_eq!(found(&heavy), [], "too many bytes");
    }

    proptest! {
        #[test]
        fn facets_are_whole_parts_in_order_whatever_the_text(text in "(\\PC|[ #(]|https?://|#){0,60}") {
            let mut last = 0;
            for Facet { index, features: [feature] } in facets(&text) {
                prop_assert!(last <= index.byte_start && index.byte_start < index.byte_end);
                last = index.byte_end;
                // Would be `None` in the middle of a character, or outside.
                let part = text.get(index.byte_start..index.byte_end).unwrap();
                prop_assert!(!part.contains(char::is_whitespace));
                match feature {
                    Feature::Link { uri } => {
                        prop_assert!(part.to_ascii_lowercase().starts_with("http"));
                        prop_assert!(Url::parse(&uri).is_ok() && uri.is_ascii());
                    }
                    Feature::Tag { tag } => prop_assert!(part.ends_with(&tag) && part.len() > tag.len()),
                }
            }
        }

        #[test]
        fn what_was_put_in_is_found_where_it_stands(
            words in proptest::collection::vec(("[^\\s#＃h(\\[{<\"'“„‘‚«»]{1,5}", any::<bool>(), 0u16..), 1..12),
        ) {
            let (mut text, mut expected) = (String::new(), Vec::new());
            for (word, is_link, number) in words {
                text.push_str(&word);
                text.push(' ');
                let at = text.len();
                let part = if is_link {
                    format!("https://example.org/{number}")
                } else {
                    format!("#tag{number}")
                };
                text.push_str(&part);
                expected.push((at, text.len()));
                text.push('\n');
            }
            let slices = facets(&text).into_iter().map(|facet| facet.index);
            let slices: Vec<_> = slices.map(|index| (index.byte_start, index.byte_end)).collect();
            prop_assert_eq!(slices, expected);
        }
    }
}

//! Where web addresses stand in a text, found as X and Mastodon find them: each counts there as 23
//! characters, and X charges more for a post that has one.
//!
//! The rules are those of `twitter-text` 3.1 (github.com/twitter/twitter-text), which X names as its
//! own; its published vectors are the tests. `tlds.txt` holds the top-level domains that it knows.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use url::Host;

/// What an address counts as, however long it is.
pub(super) const COUNTS_AS: usize = 23;
/// Longer ones are no addresses.
const BYTES_MAX: usize = 4_096;
/// The longest label of a domain.
const LABEL_BYTES_MAX: usize = 63;
/// The longest short name after `t.co/`.
const SHORT_NAME_MAX: usize = 40;
/// X's own short addresses, which end with the short name.
const SHORTENER: &str = "t.co";

static TLDS: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("tlds.txt").lines().collect());
/// The longest of them, in characters.
static TLD_CHARS_MAX: LazyLock<usize> =
    LazyLock::new(|| TLDS.iter().map(|tld| tld.chars().count()).max().unwrap_or(0));

/// The addresses in a text, first to last, as ranges of bytes; with those that are `bare`, which
/// begin with the domain, or without them.
pub(super) fn addresses(text: &str, bare: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut before = None;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let here = may_stand_after(before).then(|| with_scheme(rest)).flatten();
        let here = here.or_else(|| {
            let may_be_bare = bare && may_stand_after(before) && may_stand_bare_after(before);
            may_be_bare.then(|| without_scheme(rest)).flatten()
        });
        let length = here.unwrap_or(next.len_utf8());
        if here.is_some() {
            found.push(at..at + length);
        }
        at += length;
        before = text[..at].chars().next_back();
    }
    found
}

fn may_stand_after(before: Option<char>) -> bool {
    before.is_none_or(|char| {
        !char.is_ascii_alphanumeric()
            && !matches!(char, '@' | '＠' | '$' | '#' | '＃')
            && !is_invalid(char)
    })
}

fn may_stand_bare_after(before: Option<char>) -> bool {
    before.is_none_or(|char| !matches!(char, '-' | '_' | '.' | '/') && !is_accented(char))
}

/// The length of the address that a text begins with, if it says `http://` or `https://`.
fn with_scheme(text: &str) -> Option<usize> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    })?;
    let rest = &text[scheme.len()..];
    let domain = domain(rest, |char| {
        !char.is_ascii_punctuation()
            && !char.is_whitespace()
            && !is_invalid(char)
            && !is_directional(char)
    })?;
    let place = &rest[domain..];
    let length = if rest[..domain].eq_ignore_ascii_case(SHORTENER) {
        scheme.len() + domain + short_place(place)?
    } else {
        scheme.len() + domain + port_and_place(place)
    };
    (length <= BYTES_MAX).then_some(length)
}

/// The same, if it begins with its domain, which is in Latin letters then.
fn without_scheme(text: &str) -> Option<usize> {
    let domain = domain(text, |char| char.is_ascii_alphanumeric() || is_accented(char))?;
    let length = domain + port_and_place(&text[domain..]);
    (length <= BYTES_MAX).then_some(length)
}

/// The length of the domain that a text begins with; `takes` says which letters it may have.
fn domain(text: &str, takes: impl Fn(char) -> bool) -> Option<usize> {
    let run =
        text.find(|char| !takes(char) && !matches!(char, '.' | '-' | '_')).unwrap_or(text.len());
    let labels: Vec<&str> = text[..run].split('.').collect();
    let ends = |label: &str, end: Option<char>| end.is_some_and(&takes) && !label.is_empty();
    let is_whole =
        |label: &str| ends(label, label.chars().next()) && ends(label, label.chars().next_back());
    // The longest one first: what looks like its end may be in the midst of it.
    (1..labels.len()).rev().find_map(|last| {
        let (parts, name) = (&labels[..last], labels[last - 1]);
        if name.contains('_') || !parts.iter().all(|label| is_whole(label)) {
            return None;
        }
        let start: usize = parts.iter().map(|label| label.len() + 1).sum();
        let length = start + tld(&text[start..])?;
        exists(&text[..length]).then_some(length)
    })
}

/// The length of the top-level domain that a text begins with.
fn tld(text: &str) -> Option<usize> {
    let ends_at = |length: usize| {
        let after = text[length..].chars().next();
        after.is_none_or(|char| !char.is_ascii_alphanumeric() && !matches!(char, '@' | '+' | '-'))
    };
    let encoded = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '-');
    let encoded = encoded.unwrap_or(text.len());
    if text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--")) && encoded > 4 {
        return Some(encoded);
    }
    let ends = text.char_indices().map(|(at, char)| at + char.len_utf8()).take(*TLD_CHARS_MAX);
    let known = |end: &usize| ends_at(*end) && TLDS.contains(text[..*end].to_lowercase().as_str());
    ends.filter(known).max()
}

/// Whether a domain could be one: none of its labels is too long in the form that the network sees.
fn exists(domain: &str) -> bool {
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) => ascii.split('.').all(|label| label.len() <= LABEL_BYTES_MAX),
        _ => false,
    }
}

/// The length of port, path and query.
fn port_and_place(text: &str) -> usize {
    let digits = text
        .strip_prefix(':')
        .map_or(0, |rest| rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len()));
    let port = if digits > 0 { digits + 1 } else { 0 };
    let path = port + path(&text[port..]);
    path + query(&text[path..])
}

/// The length of what follows `t.co`: a short name at most. `None` if it is too long for one.
fn short_place(text: &str) -> Option<usize> {
    let Some(rest) = text.strip_prefix('/') else { return Some(0) };
    let name = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
    match name {
        0 => Some(1),
        1..=SHORT_NAME_MAX => Some(1 + name + query(&rest[name..])),
        _ => None,
    }
}

/// The length of the path that a text begins with: without the punctuation of the sentence after it.
fn path(text: &str) -> usize {
    if !text.starts_with('/') {
        return 0;
    }
    let (mut at, mut end) = (1, 1);
    while let Some(char) = text[at..].chars().next() {
        if char == '(' {
            let Some(length) = balanced(&text[at..], 2) else { break };
            at += length;
            end = at;
        } else if is_of_path(char) {
            at += char.len_utf8();
            if char.is_alphanumeric() || is_mark(char) || "+-=_#/".contains(char) {
                end = at;
            }
        } else {
            break;
        }
    }
    end
}

/// The length of a pair of brackets with something in it, which may be pairs itself, so deep.
fn balanced(text: &str, depth: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        match text[at..].chars().next()? {
            ')' if at > 1 => return Some(at + 1),
            '(' if depth > 1 => at += balanced(&text[at..], depth - 1)?,
            char if is_of_path(char) => at += char.len_utf8(),
            _ => return None,
        }
    }
}

fn query(text: &str) -> usize {
    let Some(rest) = text.strip_prefix('?') else { return 0 };
    let takes =
        |char: char| char.is_ascii_alphanumeric() || "!?*'@();:&=+$/%#[]-_.,~|".contains(char);
    let run = rest.find(|char| !takes(char)).unwrap_or(rest.len());
    let ends = |char: char| char.is_ascii_alphanumeric() || "-_&=#/".contains(char);
    rest[..run].rfind(ends).map_or(0, |last| last + 2)
}

fn is_of_path(char: char) -> bool {
    char.is_ascii_alphanumeric() || is_mark(char) || "!*';:=+,.$/%#[]-–_~@|&".contains(char)
}

/// Letters beside ASCII's that a path may have: Cyrillic, and Latin with accents.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{400}'..='\u{4ff}') || is_accented(char)
}

fn is_accented(char: char) -> bool {
    matches!(char,
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' | '\u{253}' | '\u{254}'
        | '\u{256}' | '\u{257}' | '\u{259}' | '\u{25b}' | '\u{263}' | '\u{268}' | '\u{26f}'
        | '\u{272}' | '\u{289}' | '\u{28b}' | '\u{2bb}' | '\u{300}'..='\u{36f}'
        | '\u{1e00}'..='\u{1eff}')
}

/// Marks that turn the direction of writing.
fn is_directional(char: char) -> bool {
    matches!(char,
        '\u{202a}'..='\u{202e}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}')
}

fn is_invalid(char: char) -> bool {
    matches!(char, '\u{fffe}' | '\u{feff}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        text: String,
        found: Vec<String>,
    }

    /// `urls`, `urls_with_directional_markers` and `tco_urls_with_params` of the conformance tests.
    #[test]
    fn addresses_are_found_as_the_published_vectors_say() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("found.json")).unwrap();
        assert_eq!(vectors.len(), 98);
        let mut wrong = Vec::new();
        for Vector { text, found } in vectors {
            let ours: Vec<&str> = addresses(&text, true).into_iter().map(|at| &text[at]).collect();
            if ours != found {
                wrong.push(format!("{text:?}\n  expected {found:?}\n  found    {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn bare_ones_are_found_if_they_are_wanted() {
        let text = "see example.com and https://example.org/a";
        assert_eq!(addresses(text, true), [4..15, 20..41]);
        assert_eq!(addresses(text, false), vec![20..41; 1]);
    }
}

//! LinkedIn's `little` text format, which a post's commentary is in: some characters mean
//! something, and stand for themselves only after a backslash.
//!
//! Source: learn.microsoft.com, "little Text Format" (li-lms-2024-11).

/// "Characters reserved for little elements must be escaped to be treated as plaintext."
const RESERVED: &str = "|{}@[]()<>#\\*_~";

/// A text as the commentary that shows it. Hashtags stay hashtags, as `#` and a word are one of the
/// format's elements; nobody is mentioned.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let hashtag = char == '#'
            && !before.is_alphanumeric()
            && chars.peek().is_some_and(|next| next.is_alphanumeric());
        if RESERVED.contains(char) && !hashtag {
            escaped.push('\\');
        }
        escaped.push(char);
        before = char;
    }
    escaped
}

/// The text that a commentary shows, such as the API answers it: hashtags stand in it as
/// `{hashtag|\#|word}`, mentions as `@[name](urn)`.
pub(super) fn plain(commentary: &str) -> String {
    let mut text = String::with_capacity(commentary.len());
    let mut rest = commentary;
    while let Some(char) = rest.chars().next() {
        if let Some((shown, after)) = template(rest).or_else(|| mention(rest)) {
            text.push_str(&unescaped(&shown));
            rest = after;
            continue;
        }
        rest = &rest[char.len_utf8()..];
        match (char, rest.chars().next()) {
            ('\\', Some(next)) if RESERVED.contains(next) => {
                text.push(next);
                rest = &rest[next.len_utf8()..];
            }
            _ => text.push(char),
        }
    }
    text
}

/// `{hashtag|\#|word}` at the start.
fn template(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix("{hashtag|")?;
    let (inside, after) = inside.split_once('}')?;
    let (sign, word) = inside.split_once('|')?;
    Some((format!("{sign}{word}"), after))
}

/// `@[name](urn)` at the start.
fn mention(text: &str) -> Option<(String, &str)> {
    let (name, after) = text.strip_prefix("@[")?.split_once("](")?;
    let (_urn, after) = after.split_once(')')?;
    Some((name.to_owned(), after))
}

fn unescaped(text: &str) -> String {
    text.replace('\\', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_means_something_is_escaped_and_hashtags_stay() {
        // The second is the page's own example.
        let rows = [
            ("Plain words, 100%.", "Plain words, 100%."),
            ("* Point 1\n* Point 2", "\\* Point 1\n\\* Point 2"),
            ("a@b.example (see [1])", "a\\@b.example \\(see \\[1\\]\\)"),
            ("C# and #rust, #2 or # 3", "C\\# and #rust, #2 or \\# 3"),
            ("{x|y} <b> ~_\\", "\\{x\\|y\\} \\<b\\> \\~\\_\\\\"),
        ];
        for (text, commentary) in rows {
            assert_eq!(escape(text), commentary);
            assert_eq!(plain(commentary), text);
        }
    }

    #[test]
    fn what_the_api_answers_reads_as_it_is_shown() {
        let answered = "Hello @[Dev\\_test co](urn:li:organization:2414183), {hashtag|\\#|mytag}!";
        assert_eq!(plain(answered), "Hello Dev_test co, #mytag!");
        assert_eq!(plain("{hashtag|\\#|half"), "{hashtag|#|half", "what is cut off stays");
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text in "[ -~äß\\n#@]{0,60}") {
            prop_assert_eq!(plain(&escape(&text)), text);
        }
    }
}

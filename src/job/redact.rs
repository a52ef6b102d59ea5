//! Takes secrets out of words that are kept and shown.
//!
//! A platform client knows the secret it sent and leaves it out of its errors. This catches what
//! it cannot know: a platform that tells a new token, a library that quotes a header. It looks at
//! the form alone, so it may take away too much of a message, and never finds everything.

/// What stands for a secret.
const REDACTED: &str = "[redacted]";
/// A word so long, of small and capital letters and digits, was made by a machine to be secret;
/// UUIDs, content hashes and post ids have letters of one case.
const TOKEN_CHARS_MIN: usize = 32;
/// What is called so is secret.
const SECRET_NAMES: [&str; 7] =
    ["token", "secret", "password", "passwd", "authorization", "api_key", "apikey"];

/// The text without what looks like a secret.
pub(super) fn redacted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut secret) = (text, Expected::Anything);
    while let Some(first) = rest.chars().next() {
        if !is_word(first) {
            plain.push(first);
            rest = &rest[first.len_utf8()..];
            secret = secret.after_sign(first);
            continue;
        }
        let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        rest = after;
        let hidden = match secret {
            // "token expired" names a thing; "token=…", "Bearer …" give it.
            Expected::Value => !is_scheme(word),
            // "ExpiredToken: it has expired" gives none.
            Expected::Perhaps => word.contains(|c: char| c.is_ascii_digit()) && !is_scheme(word),
            Expected::Credentials => word.len() >= 8,
            Expected::Anything | Expected::Sign => false,
        };
        plain.push_str(if hidden || looks_secret(word) { REDACTED } else { word });
        secret = Expected::after_word(word);
    }
    plain
}

/// What comes next, by what came before.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Anything,
    /// A name of a secret was there: an equals sign or a colon makes the next word its value.
    Sign,
    Value,
    /// A colon without quotes: prose, or a header.
    Perhaps,
    /// The name of a scheme was there.
    Credentials,
}

impl Expected {
    fn after_word(word: &str) -> Self {
        let lower = word.to_ascii_lowercase().replace('-', "_");
        if is_scheme(word) {
            Self::Credentials
        } else if SECRET_NAMES.iter().any(|name| lower.ends_with(name)) {
            Self::Sign
        } else {
            Self::Anything
        }
    }

    fn after_sign(self, sign: char) -> Self {
        match (self, sign) {
            (Self::Sign, '=') => Self::Value,
            (Self::Sign, ':') => Self::Perhaps,
            (Self::Perhaps, '"' | '\'') => Self::Value,
            // Quotes and spaces stand between a name, its sign and its value.
            (kept, '"' | '\'' | ' ' | '\\') => kept,
            _ => Self::Anything,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '~')
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

fn looks_secret(word: &str) -> bool {
    let jwt = word.starts_with("eyJ") && word.matches('.').count() >= 1 && word.len() >= 20;
    let has = |is: fn(&char) -> bool| word.chars().any(|c| is(&c));
    jwt || (word.len() >= TOKEN_CHARS_MIN
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for (text, plain) in [
            ("401 for Bearer abcdef123456", "401 for Bearer [redacted]"),
            ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"),
            ("refresh_token=abc123, sorry", "refresh_token=[redacted], sorry"),
            (r#"{"accessToken": "abc123"}"#, r#"{"accessToken": "[redacted]"}"#),
            ("password: hunter2 is wrong", "password: [redacted] is wrong"),
            ("bad eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "bad [redacted]"),
            ("your key Zx9Kq2Lm7Pw4Rt8Yv1Nb6Hc3Jd5Fg0Sa is old", "your key [redacted] is old"),
        ] {
            assert_eq!(redacted(text), plain);
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "publishing on bluesky: 400 ExpiredToken: Token has expired",
            "the token of account 0198f3a0-0000-7000-8000-000000000001 is old",
            "409: at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3jwdwj2ctlk26",
            "no answer from https://pds.example.com/xrpc/com.atproto.server.createSession",
            "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "basic facts",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_redacted(text in ".{0,200}") {
            redacted(&text);
        }
    }
}

//! Names of kinds and queues, checked once when they enter.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Longest kind or platform name, in bytes: it becomes part of keys and metric labels.
const PART_BYTES_MAX: usize = 60;

/// A kind's stable name on the wire, in `snake_case`; never the Rust type's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Kind(Arc<str>);

/// A queue: the kind, and the platform where the kind has one, as in `post_publication.bluesky`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Queue(Arc<str>);

/// A name with characters that would not fit into keys, or none, or too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} must be {rule}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

/// What a part of a name is.
const PART: &str = "1 to 60 of a-z, 0-9 and _, and start with a letter";
/// What a pattern is.
const PATTERN: &str = "1 to 120 of a-z, 0-9, _ and ., where the last may be a *";

fn check_part(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let fits = (1..=PART_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        return Ok(());
    }
    Err(InvalidName::new(what, text, PART))
}

impl Kind {
    /// Reads a kind's name; `PascalCase` is accepted and turned into `snake_case`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut name = String::with_capacity(text.len() + 4);
        let pascal = text.starts_with(|c: char| c.is_ascii_uppercase());
        for (i, c) in text.chars().take(2 * PART_BYTES_MAX).enumerate() {
            if pascal && c.is_ascii_uppercase() && i > 0 {
                name.push('_');
            }
            name.push(if pascal { c.to_ascii_lowercase() } else { c });
        }
        check_part("kind", &name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Queue {
    /// The queue of a kind that speaks to no platform.
    pub fn of_kind(kind: &Kind) -> Self {
        Self(Arc::clone(&kind.0))
    }

    /// The queue of a kind's jobs for one platform.
    pub fn of_platform(kind: &Kind, platform: &str) -> Result<Self, InvalidName> {
        check_part("platform", platform)?;
        Ok(Self(format!("{kind}.{platform}").into()))
    }

    /// Reads a queue's name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (kind, platform) =
            text.split_once('.').map_or((text, None), |(kind, platform)| (kind, Some(platform)));
        check_part("queue", kind)?;
        if let Some(platform) = platform {
            check_part("queue", platform)?;
        }
        Ok(Self(text.into()))
    }

    /// The kind part.
    pub fn kind(&self) -> Kind {
        Kind(self.0.split('.').next().unwrap_or_default().into())
    }

    /// The platform part, if there is one.
    pub fn platform(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, platform)| platform)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_like {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    )*};
}
text_like!(Kind, Queue);

/// Chooses queues: a name, or a name that ends in `*`, as in `post_publication.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePattern(String);

impl QueuePattern {
    /// Reads a pattern; a `*` is allowed at the end only.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let fits = stem
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
        if text.is_empty() || text.len() > 2 * PART_BYTES_MAX || !fits {
            return Err(InvalidName::new("queue pattern", text, PATTERN));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this pattern chooses `queue`.
    pub fn matches(&self, queue: &Queue) -> bool {
        match self.0.strip_suffix('*') {
            Some(stem) => queue.as_str().starts_with(stem),
            None => queue.as_str() == self.0,
        }
    }
}

impl fmt::Display for QueuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_be_written_in_pascal_case() {
        assert_eq!(Kind::parse("PostPublication").unwrap().as_str(), "post_publication");
        assert_eq!(Kind::parse("post_publication").unwrap().as_str(), "post_publication");
    }

    #[test]
    fn a_name_that_could_break_out_of_a_key_is_refused() {
        for bad in ["", "a:b", "a{b}", "a\nb", "Post Publication", "1a", "a.b", &"a".repeat(61)] {
            assert!(Kind::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["a.", ".b", "a.b.c", "a.B"] {
            assert!(Queue::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_chooses_by_name_or_prefix() {
        let queue = Queue::parse("post_publication.bluesky").unwrap();
        for (pattern, chosen) in
            [("*", true), ("post_publication.*", true), ("post_publication", false)]
        {
            assert_eq!(QueuePattern::parse(pattern).unwrap().matches(&queue), chosen, "{pattern}");
        }
        assert!(QueuePattern::parse("a*b").is_err());
    }
}

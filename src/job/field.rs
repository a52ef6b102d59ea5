//! Wrong values in what a person or program gave us, named by their place, in plain words.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_path_to_error::{Path, Segment};

/// Longest message, in characters: a decoder may quote a value of any length.
const MESSAGE_CHARS_MAX: usize = 300;

/// A wrong value in something a person or program gave us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as a JSON pointer such as `/args/publication_id`; empty for the whole document.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl FieldError {
    /// A fault at `field` (a JSON pointer).
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// What a decoder found: its path as a pointer, its words as a person would say them.
    pub fn of_json(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let pointer = pointer(error.path());
        let text = error.inner().to_string();
        // The caller's document has fields, not columns.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        // These are found while the object around the field is read.
        for (start, words) in
            [("missing field `", "is missing"), ("duplicate field `", "is there twice")]
        {
            if let Some(name) = text.strip_prefix(start).and_then(|rest| rest.strip_suffix('`')) {
                return Self::new(format!("{pointer}/{name}"), words);
            }
        }
        Self::new(pointer, clipped(&plain(text)))
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            }
            Segment::Enum { variant } => pointer.push_str(&format!("/{variant}")),
            Segment::Unknown => {}
        }
    }
    pointer
}

/// A decoder's words in ours.
fn plain(text: &str) -> String {
    if let Some((got, wanted)) = expectation(text, "invalid type: ") {
        return format!("must be {}, not {}", wanted_words(wanted), type_words(got));
    }
    if let Some((got, wanted)) = expectation(text, "invalid value: ") {
        return format!("must be {}, not {}", wanted_words(wanted), value_words(got));
    }
    if let Some(rest) = text.strip_prefix("unknown field `")
        && let Some((name, known)) = rest.split_once("`, ")
    {
        return format!("unknown field{}", known_fields(name, known));
    }
    match text.strip_prefix("UUID parsing failed: ") {
        Some(why) => format!("must be a UUID: {why}"),
        None => text.to_owned(),
    }
}

fn expectation<'a>(text: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(start)?.rsplit_once(", expected ")
}

fn wanted_words(wanted: &str) -> &str {
    match wanted {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of 0 or more",
        "i64" => "a whole number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a formatted UUID string" => "a UUID",
        _ if wanted.starts_with("struct ") => "an object",
        _ => wanted,
    }
}

/// The type of what came, without its value: it may be a secret, and of any length.
fn type_words(got: &str) -> &str {
    let known = [
        ("string", "a string"),
        ("integer", "a whole number"),
        ("floating point", "a number with a fraction"),
        ("boolean", "true or false"),
        ("sequence", "a list"),
        ("map", "an object"),
    ];
    known.iter().find(|(start, _)| got.starts_with(start)).map_or(got, |(_, words)| words)
}

fn value_words(got: &str) -> &str {
    got.strip_prefix("integer `").and_then(|rest| rest.strip_suffix('`')).unwrap_or(got)
}

/// "; did you mean …?" for the nearest of "expected one of `a`, `b`", or all of them.
fn known_fields(wrong: &str, expected: &str) -> String {
    did_you_mean(wrong, expected.split('`').skip(1).step_by(2))
}

/// "; did you mean …?" for the nearest of `names`, or all of them.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = names.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (strsim::jaro_winkler(name, wrong), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => format!("; did you mean {name}?"),
        None if known.is_empty() => "; there are none here".to_owned(),
        None => format!("; there are {}", known.join(", ")),
    }
}

fn clipped(text: &str) -> String {
    let mut clipped: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Order {
        item: String,
        count: Option<u32>,
        id: Option<Uuid>,
        parts: Option<Vec<Order>>,
    }

    fn fault(text: &str) -> String {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let error = serde_path_to_error::deserialize::<_, Order>(&mut deserializer).unwrap_err();
        FieldError::of_json(&error).to_string()
    }

    #[test]
    fn a_decoders_fault_is_said_in_plain_words_at_its_place() {
        for (text, words) in [
            ("{}", "/item: is missing"),
            ("null", "must be an object, not null"),
            (r#"{"item":"a","item":"b"}"#, "/item: is there twice"),
            (r#"{"item":["hush"]}"#, "/item: must be a string, not a list"),
            (r#"{"item":"a","cuont":1}"#, "/cuont: unknown field; did you mean count?"),
            (r#"{"item":"a","x/y":1}"#, "/x~1y: unknown field; there are item, count, id, parts"),
            (r#"{"item":"a","id":7}"#, "/id: must be a UUID, not a whole number"),
            (
                r#"{"item":"a","count":-1}"#,
                "/count: must be a whole number from 0 to 4294967295, not -1",
            ),
            (
                r#"{"item":"a","count":1.5}"#,
                "/count: must be a whole number from 0 to 4294967295, not a number with a fraction",
            ),
            (r#"{"item":"a","parts":[{"item":"b"},{}]}"#, "/parts/1/item: is missing"),
        ] {
            assert_eq!(fault(text), words, "{text}");
        }
        assert!(fault(r#"{"item":"a","id":"x"}"#).starts_with("/id: must be a UUID: invalid"));
    }

    #[test]
    fn no_message_is_longer_than_a_person_reads() {
        let long = format!(r#"{{"item":"a","{}":1}}"#, "é".repeat(10_000));
        let mut deserializer = serde_json::Deserializer::from_str(&long);
        let error = serde_path_to_error::deserialize::<_, Order>(&mut deserializer).unwrap_err();
        assert!(FieldError::of_json(&error).message.chars().count() <= MESSAGE_CHARS_MAX + 1);
    }
}

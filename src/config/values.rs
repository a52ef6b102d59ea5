//! How durations, sizes, addresses and patterns are written in configuration.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use url::Url;

use crate::job::QueuePattern;

/// A number of bytes, written as `64KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

const UNITS: [(&str, usize); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

impl ByteSize {
    /// Reads a size such as `64KiB`, `1MiB` or `512B`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))?;
        let number: usize = number.trim().parse().ok()?;
        number.checked_mul(unit).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..3]
            .iter()
            .rev()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match unit {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no size such as \"64KiB\"")))
    }
}

/// Reads an address to listen on; `localhost` stands for 127.0.0.1.
///
/// # Errors
/// The text is no address with a port; the message says what one looks like.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| format!("{text:?} is no address and port such as 127.0.0.1:7000"))
}

/// Reads a whole number within bounds.
///
/// # Errors
/// The text is none; the message says what the bounds are.
pub fn parse_number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// Reads a duration such as `30s`, `5m` or `30d`.
///
/// # Errors
/// The text is no duration; the message says what one looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is no duration such as \"30s\", \"5m\" or \"30d\""))
}

/// A text; `""` is none.
pub(super) fn text_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// A path; `""` is none.
pub(super) fn path_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<PathBuf>, D::Error> {
    Ok(text_or_none(from)?.map(PathBuf::from))
}

/// An address of HTTP; `""` is none.
pub(super) fn url_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    let Some(text) = text_or_none(from)? else { return Ok(None) };
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.filter(|url| url.fragment().is_none() && url.password().is_none());
    url.map(Some).ok_or_else(|| {
        D::Error::custom(format!("{text:?} is no address such as https://example.org/token"))
    })
}

pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parse_listen(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn listen_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_listen(&text).map(Some).map_err(D::Error::custom)
}

/// A switch, in any of the ways that people write one.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "yes" => Some(true),
        "off" | "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

pub(super) fn switch_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let switch = parse_switch(&text).map(Some);
    switch.ok_or_else(|| D::Error::custom(format!("{text:?} is neither \"on\" nor \"off\"")))
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn duration_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

/// A whole number, or `""`. From the environment it comes as text.
pub(super) fn number_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let value = toml::Value::deserialize(from)?;
    let number = match &value {
        toml::Value::Integer(number) => u32::try_from(*number).ok(),
        toml::Value::String(text) if text.is_empty() => return Ok(None),
        toml::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{value} is no whole number, nor \"\"")))
}

pub(super) fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<QueuePattern>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| QueuePattern::parse(text).map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_reads_back_as_it_is_written() {
        for (text, bytes) in [("64KiB", 65_536), ("1MiB", 1 << 20), ("1500B", 1_500)] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        for bad in ["", "64", "64kb", "-1KiB", "1e3B", "99999999999999999999KiB"] {
            assert_eq!(ByteSize::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn localhost_is_an_address_to_listen_on() {
        assert_eq!(parse_listen("localhost:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(parse_listen("7000").is_err());
    }
}

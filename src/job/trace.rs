//! The trace of its caller that a job belongs to, as W3C Trace Context writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The length of version 00, and of what later versions begin with.
const LENGTH: usize = 55;

/// A `traceparent`: whose work a job is. It is passed on as it came, in the form of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

/// A text that is no `traceparent`. Whoever was given one goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no traceparent: write it as 00-<32 hexadecimal digits>-<16>-<2>, in small letters, neither \
     id all zeros"
)]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The trace's id as traces show it: 32 hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The ids of the trace and of the caller's span, and the trace's flags, for tracing systems.
    pub fn parts(self) -> (u128, u64, u8) {
        (self.trace_id, self.parent_id, self.flags)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let known = text.get(..LENGTH).ok_or(InvalidTraceParent)?;
        let more = text.get(LENGTH..).ok_or(InvalidTraceParent)?;
        let mut parts = known.split('-');
        let mut part = |digits| hexadecimal(parts.next().unwrap_or_default(), digits);
        let (version, trace_id, parent_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // A later version may say more, behind a dash.
        let fits = match version {
            0x00 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        if !fits || trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceParent);
        }
        Ok(Self {
            trace_id,
            parent_id: u64::try_from(parent_id).map_err(|_| InvalidTraceParent)?,
            flags: u8::try_from(flags).map_err(|_| InvalidTraceParent)?,
        })
    }
}

fn hexadecimal(text: &str, digits: usize) -> Result<u128, InvalidTraceParent> {
    let small = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(small) {
        return Err(InvalidTraceParent);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidTraceParent)
}

impl TryFrom<String> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(text: String) -> Result<Self, InvalidTraceParent> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_passed_on_as_it_came() {
        let trace: TraceParent = GOOD.parse().unwrap();
        assert_eq!(trace.to_string(), GOOD);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for later in [GOOD.replacen("00", "cc", 1), GOOD.replacen("00", "01", 1) + "-what-next"] {
            assert_eq!(later.parse(), Ok(trace), "a later version says this much");
        }
    }

    #[test]
    fn what_the_standard_calls_invalid_is_refused() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &format!(" {GOOD}"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &(GOOD.replacen("00", "01", 1) + "0"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("-0", "_0"),
            &GOOD.replace("4bf9", "+bf9"),
            &GOOD.replace("01", "é"),
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f-]{50,60}|.{0,60}") {
            if let Ok(trace) = text.parse::<TraceParent>() {
                prop_assert_eq!(trace.to_string().parse(), Ok(trace));
            }
        }
    }
}

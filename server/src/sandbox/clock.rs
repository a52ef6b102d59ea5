//! The sandbox's one source of time, so that tests can move it past a token's expiry.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time as milliseconds since the Unix epoch.
pub type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Returns the system's time; the only place where the sandbox reads it.
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's clock")]
pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Writes a time as RFC 3339 in UTC, always with milliseconds so that times sort as text.
pub(super) fn rfc3339(ms: i64) -> String {
    // Only a test's clock can leave the range that has a calendar date; it then gets the epoch.
    let timestamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
    }
}

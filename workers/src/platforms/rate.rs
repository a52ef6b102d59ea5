//! How long a platform that said "too many requests" wants to be left alone.
//!
//! Pure and table-driven: the headers that platforms really send, and how each writes a time.

use std::time::Duration;

use http::HeaderMap;
use jiff::fmt::rfc2822::DateTimeParser;
use postworks::job::Timestamp;

/// The wait when the answer names none. Some platforms send a bare 429.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// The shortest wait: a reset that has just passed must not become a tight loop.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait: the longest windows of platforms are a day, and clocks differ.
const WAIT_MAX: Duration = Duration::from_secs(25 * 60 * 60);

/// A number up to this is a span of seconds; a larger one is a point in time (1973 and later).
/// The IETF draft's `RateLimit-Reset` is a span, the one of Bluesky's server is a time.
const SPAN_SECONDS_MAX: i64 = 100_000_000;
/// A number from this on counts milliseconds: as seconds it would be after the year 5000.
const MILLIS_MIN: i64 = 100_000_000_000;

/// The ways of writing a time.
#[derive(Debug, Clone, Copy)]
enum Format {
    /// Seconds from now, seconds since 1970 or milliseconds since 1970, told apart by size.
    Number,
    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    HttpDate,
    /// `2026-03-01T09:30:00.123456Z`, as Mastodon writes it.
    Iso8601,
}

const HEADERS: [(&str, &[Format]); 3] = [
    ("retry-after", &[Format::Number, Format::HttpDate]),
    ("ratelimit-reset", &[Format::Number]),
    ("x-ratelimit-reset", &[Format::Number, Format::Iso8601]),
];

/// The time before which no further request should be sent: the longest wait that any header
/// asks for, between 1 second and 25 hours; 30 seconds if none says anything readable.
pub(super) fn blocked_until(headers: &HeaderMap, now: Timestamp) -> Timestamp {
    let asked = HEADERS
        .iter()
        .flat_map(|&(name, formats)| {
            headers.get_all(name).iter().map(move |value| (value, formats))
        })
        .filter_map(|(value, formats)| {
            let text = value.to_str().ok()?.trim();
            formats.iter().find_map(|format| format.read(text, now))
        })
        .max()
        .unwrap_or_else(|| now.after(WAIT_DEFAULT));
    asked.clamp(now.after(WAIT_MIN), now.after(WAIT_MAX))
}

impl Format {
    fn read(self, text: &str, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Number => {
                // Some write fractions of seconds; a part of a second more does no harm.
                let number: f64 = text.parse().ok()?;
                if !number.is_finite() || number < 0.0 {
                    return None;
                }
                #[expect(clippy::cast_possible_truncation, reason = "`as` stops at i64::MAX")]
                Some(point_in_time(number.ceil() as i64, now))
            }
            Self::HttpDate => {
                let date = DateTimeParser::new().parse_timestamp(text).ok()?;
                Some(Timestamp::from_millis(date.as_millisecond()))
            }
            Self::Iso8601 => text.parse().ok(),
        }
    }
}

fn point_in_time(number: i64, now: Timestamp) -> Timestamp {
    if number <= SPAN_SECONDS_MAX {
        now.after(Duration::from_secs(number.unsigned_abs()))
    } else if number < MILLIS_MIN {
        Timestamp::from_millis(number * 1000)
    } else {
        Timestamp::from_millis(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    /// 2026-03-01T09:30:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_772_357_400_000);

    fn wait(headers: &[(&str, &str)]) -> Duration {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        blocked_until(&headers, NOW).since(NOW)
    }

    #[test]
    fn each_header_is_read_in_each_of_its_formats() {
        let rows: &[(&[(&str, &str)], u64)] = &[
            (&[], 30),
            (&[("retry-after", "17")], 17),
            (&[("retry-after", "17.2")], 18),
            (&[("Retry-After", "Sun, 01 Mar 2026 09:31:00 GMT")], 60),
            (&[("retry-after", "soon")], 30),
            (&[("retry-after", "-5")], 30),
            (&[("retry-after", "NaN")], 30),
            (&[("ratelimit-reset", "1772357520")], 120),
            (&[("ratelimit-reset", "40")], 40),
            (&[("x-ratelimit-reset", "1772357520")], 120),
            (&[("x-ratelimit-reset", "1772357520000")], 120),
            (&[("x-ratelimit-reset", "2026-03-01T09:35:00.000000Z")], 300),
            // The longest wait wins, and unreadable ones do not count.
            (&[("retry-after", "5"), ("ratelimit-reset", "1772357520")], 120),
            (&[("retry-after", "5"), ("x-ratelimit-reset", "?")], 5),
            (&[("retry-after", "5"), ("retry-after", "9")], 9),
            // Clamped.
            (&[("retry-after", "0")], 1),
            (&[("ratelimit-reset", "1772357000")], 1),
            (&[("retry-after", "99999999")], 25 * 60 * 60),
            (&[("retry-after", "99999999999999999999999999")], 25 * 60 * 60),
        ];
        for (headers, seconds) in rows {
            assert_eq!(wait(headers), Duration::from_secs(*seconds), "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_wait_stays_within_its_bounds(
            value in "[ -~]{0,40}",
            which in 0..HEADERS.len(),
        ) {
            let wait = wait(&[(HEADERS[which].0, &value)]);
            prop_assert!((WAIT_MIN..=WAIT_MAX).contains(&wait));
        }
    }
}

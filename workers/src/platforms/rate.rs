//! How long a platform that said "too many requests", or is about to, wants to be left alone, and
//! by whom.
//!
//! Pure and table-driven: the headers that platforms really send, and how each writes a time.

use std::time::Duration;

use http::HeaderMap;
use jiff::fmt::rfc2822::DateTimeParser;
use postworks::job::{RateScope, Timestamp};
use serde_json::Value;

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

/// A window as a platform tells it: when it opens again, and how much of it is left.
struct Window {
    resets: &'static str,
    formats: &'static [Format],
    /// `None` if the header alone says that it is used up.
    remaining: Option<&'static str>,
    scope: RateScope,
}

const fn window(
    resets: &'static str,
    formats: &'static [Format],
    remaining: &'static str,
    scope: RateScope,
) -> Window {
    Window { resets, formats, remaining: Some(remaining), scope }
}

const NUMBER: &[Format] = &[Format::Number];
const NUMBER_OR_DATE: &[Format] = &[Format::Number, Format::HttpDate, Format::Iso8601];
const NUMBER_OR_ISO: &[Format] = &[Format::Number, Format::Iso8601];

const WINDOWS: [Window; 6] = [
    Window {
        resets: "retry-after",
        formats: NUMBER_OR_DATE,
        remaining: None,
        scope: RateScope::Account,
    },
    // The IETF draft and Bluesky; Mastodon; X: a quarter of an hour, and two windows of a day.
    window("ratelimit-reset", NUMBER, "ratelimit-remaining", RateScope::Account),
    window("x-ratelimit-reset", NUMBER_OR_ISO, "x-ratelimit-remaining", RateScope::Account),
    window("x-rate-limit-reset", NUMBER, "x-rate-limit-remaining", RateScope::Account),
    window(
        "x-user-limit-24hour-reset",
        NUMBER,
        "x-user-limit-24hour-remaining",
        RateScope::Account,
    ),
    window("x-app-limit-24hour-reset", NUMBER, "x-app-limit-24hour-remaining", RateScope::App),
];

/// Meta's parts of a limit used up, in percent: of our app, and of single accounts.
const USAGES: [(&str, RateScope); 2] =
    [("x-app-usage", RateScope::App), ("x-business-use-case-usage", RateScope::Account)];
/// A usage of so many percent is all of it.
const USED_UP: f64 = 100.0;
/// The wait for a share of Meta's rolling hour to come back, if it does not say how long.
const USAGE_WAIT: Duration = Duration::from_secs(5 * 60);

/// Who has to wait until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) until: Timestamp,
    pub(super) scope: RateScope,
}

/// What a refusal asks for: the longest wait of those windows that are not known to have something
/// left, between 1 second and 25 hours; `None` if none says anything readable.
pub(super) fn told(headers: &HeaderMap, now: Timestamp) -> Option<Closed> {
    let asked = windows(headers, now, false).chain(usages(headers, now));
    let Closed { until, scope } = asked.reduce(longer)?;
    let until = until.clamp(now.after(WAIT_MIN), now.after(WAIT_MAX));
    Some(Closed { until, scope })
}

/// What is kept to if a bare 429 says nothing: 30 seconds for the account.
pub(super) fn untold(now: Timestamp) -> Closed {
    Closed { until: now.after(WAIT_DEFAULT), scope: RateScope::Account }
}

/// The window of the account that an answer of success says is used up: the next request would be
/// refused.
pub(super) fn used_up(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    windows(headers, now, true)
        .chain(usages(headers, now))
        .filter(|closed| closed.scope == RateScope::Account && closed.until > now)
        .reduce(longer)
        .map(|closed| closed.until.min(now.after(WAIT_MAX)))
}

fn longer(one: Closed, other: Closed) -> Closed {
    if other.until > one.until { other } else { one }
}

/// The windows that are used up; only those that say so if it must be `said`.
fn windows(headers: &HeaderMap, now: Timestamp, said: bool) -> impl Iterator<Item = Closed> {
    let closed = WINDOWS.iter().filter(move |window| match left(headers, window) {
        Some(left) => left <= 0.0,
        None => !said,
    });
    closed.flat_map(move |window| {
        let resets = headers.get_all(window.resets).iter().filter_map(move |value| {
            let text = value.to_str().ok()?.trim();
            window.formats.iter().find_map(|format| format.read(text, now))
        });
        resets.map(|until| Closed { until, scope: window.scope })
    })
}

/// How much of a window is left, if the answer says so.
fn left(headers: &HeaderMap, window: &Window) -> Option<f64> {
    let text = headers.get(window.remaining?)?.to_str().ok()?;
    text.trim().parse().ok().filter(|left: &f64| left.is_finite())
}

/// The limits of Meta that are used up.
fn usages(headers: &HeaderMap, now: Timestamp) -> impl Iterator<Item = Closed> {
    USAGES.iter().filter_map(move |&(name, scope)| {
        let usage: Value = serde_json::from_slice(headers.get(name)?.as_bytes()).ok()?;
        let wait = regained_after(&usage, 0)?;
        Some(Closed { until: now.after(wait.min(WAIT_MAX)), scope })
    })
}

/// The longest wait that a usage asks for, which may lie in lists in an object; `None` if nothing
/// is used up.
fn regained_after(usage: &Value, depth: u8) -> Option<Duration> {
    let inner = |value: &Value| (depth < 3).then(|| regained_after(value, depth + 1)).flatten();
    match usage {
        Value::Array(each) => each.iter().filter_map(inner).max(),
        Value::Object(fields) => {
            let number = |name: &str| fields.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            let minutes = number("estimated_time_to_regain_access");
            let parts = ["call_count", "total_time", "total_cputime"];
            let own = if minutes > 0.0 {
                Some(Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(WAIT_MAX))
            } else {
                parts.iter().any(|part| number(part) >= USED_UP).then_some(USAGE_WAIT)
            };
            own.into_iter().chain(fields.values().filter_map(inner)).max()
        }
        _ => None,
    }
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

    /// Headers as they are written down here.
    type Headers<'a> = &'a [(&'a str, &'a str)];

    /// 2026-03-01T09:30:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_772_357_400_000);

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let each = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        each.collect()
    }

    fn refused(headers: &HeaderMap) -> Closed {
        told(headers, NOW).unwrap_or_else(|| untold(NOW))
    }

    fn wait(headers: &[(&str, &str)]) -> Duration {
        refused(&map(headers)).until.since(NOW)
    }

    #[test]
    fn the_window_that_is_used_up_says_who_waits_and_for_how_long() {
        use RateScope::{Account, App};
        let quarter = ("x-rate-limit-reset", "1772358000");
        let day = ("x-app-limit-24hour-reset", "1772400000");
        let rows: &[(Headers<'_>, RateScope, u64)] = &[
            (&[], Account, 30),
            (&[quarter], Account, 600),
            // The day has something left: it is the quarter of an hour that is over.
            (&[quarter, day, ("x-app-limit-24hour-remaining", "12")], Account, 600),
            (
                &[
                    quarter,
                    ("x-rate-limit-remaining", "3"),
                    day,
                    ("x-app-limit-24hour-remaining", "0"),
                ],
                App,
                42_600,
            ),
            // Retry-After is never undercut.
            (&[quarter, ("retry-after", "900")], Account, 900),
            (&[("x-app-usage", r#"{"call_count":100,"total_time":25}"#)], App, 300),
            (&[("x-app-usage", r#"{"call_count":28,"total_time":25}"#)], Account, 30),
            (
                &[(
                    "x-business-use-case-usage",
                    r#"{"17":[{"type":"pages","call_count":100,"estimated_time_to_regain_access":17}]}"#,
                )],
                Account,
                17 * 60,
            ),
            (&[("x-app-usage", r#"{"estimated_time_to_regain_access":1e30}"#)], App, 25 * 60 * 60),
            (&[("x-app-usage", r#"{"estimated_time_to_regain_access":-4}"#)], Account, 30),
            (&[("x-app-usage", "no json")], Account, 30),
        ];
        for (headers, scope, seconds) in rows {
            let until = NOW.after(Duration::from_secs(*seconds));
            assert_eq!(refused(&map(headers)), Closed { until, scope: *scope }, "{headers:?}");
        }
    }

    #[test]
    fn a_success_that_leaves_nothing_closes_the_accounts_window() {
        let reset = ("ratelimit-reset", "1772357520");
        let rows: &[(Headers<'_>, Option<u64>)] = &[
            (&[], None),
            (&[reset], None),
            (&[reset, ("ratelimit-remaining", "1")], None),
            (&[reset, ("ratelimit-remaining", "0")], Some(120)),
            (&[reset, ("ratelimit-remaining", "-1")], Some(120)),
            (&[reset, ("ratelimit-remaining", "NaN")], None),
            (&[reset, ("ratelimit-remaining", "none")], None),
            (&[("ratelimit-reset", "1772357000"), ("ratelimit-remaining", "0")], None),
            (&[("ratelimit-reset", "1e30"), ("ratelimit-remaining", "0")], Some(25 * 60 * 60)),
            // It is no refusal, so that this is about something else.
            (&[("retry-after", "60")], None),
            // Our app's window is no reason to leave one account alone.
            (
                &[
                    ("x-app-limit-24hour-reset", "1772400000"),
                    ("x-app-limit-24hour-remaining", "0"),
                ],
                None,
            ),
            (
                &[(
                    "x-business-use-case-usage",
                    r#"{"17":[{"call_count":10,"estimated_time_to_regain_access":2}]}"#,
                )],
                Some(120),
            ),
        ];
        for (headers, seconds) in rows {
            let until = seconds.map(|seconds| NOW.after(Duration::from_secs(seconds)));
            assert_eq!(used_up(&map(headers), NOW), until, "{headers:?}");
        }
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
            (&[("retry-after", "1e30")], 25 * 60 * 60),
            (&[("retry-after", "inf")], 30),
            (&[("retry-after", "")], 30),
            (&[("retry-after", "1772357520")], 120),
            (&[("retry-after", "1772357520000")], 120),
            (&[("retry-after", "2026-03-01T09:31:00Z")], 60),
            // The past.
            (&[("retry-after", "Sun, 01 Mar 2026 09:29:00 GMT")], 1),
            (&[("retry-after", "1772357000")], 1),
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
            which in 0..WINDOWS.len() + USAGES.len(),
        ) {
            let usage = || USAGES[which - WINDOWS.len()].0;
            let name = WINDOWS.get(which).map_or_else(usage, |window| window.resets);
            let wait = wait(&[(name, &value)]);
            prop_assert!((WAIT_MIN..=WAIT_MAX).contains(&wait));
        }
    }
}

//! Cron expressions in a time zone, and what a change of the clock means for them.
//!
//! - A cron with one minute and one hour is a *time of day*. Where the clock skips it, it comes at the
//!   first moment after the gap; where the clock repeats it, it comes once, the first time.
//! - Every other cron is a *rhythm*, in real time. What the clock skips does not come, and what it
//!   repeats comes twice.

use std::fmt;

use croner::CronDateTime as _;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::job::{FieldError, Timestamp};

/// Longest expression, in bytes.
pub const CRON_BYTES_MAX: usize = 200;
/// Longest name of a zone, in bytes. The database's longest has 32.
const ZONE_BYTES_MAX: usize = 60;
/// The first and the last day of forty years, in which every date falls on every day of the week.
const ALL_DAYS: (Date, Date) = (date(2000, 1, 1), date(2040, 12, 31));

const FIELDS: &str = "minute, hour, day of month, month, day of week";
const NICKNAMES: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
    zone: TimeZone,
    zone_name: String,
}

impl Cron {
    /// Reads an expression of five fields, or one of the nicknames (`@daily`), and the name of an
    /// IANA time zone.
    ///
    /// # Errors
    /// What is wrong with `/cron` and `/zone`; also an expression that no day ever matches.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, Vec<FieldError>> {
        let (pattern, known) = (pattern(cron), known(zone));
        let (pattern, (zone, zone_name)) = match (pattern, known) {
            (Ok(pattern), Ok(known)) => (pattern, known),
            (pattern, known) => return Err(pattern.err().into_iter().chain(known.err()).collect()),
        };
        Ok(Self { text: cron.trim().to_owned(), pattern, zone, zone_name })
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone, as the database spells it.
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// A time as the zone's clocks show it.
    pub fn local(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_millisecond(at.as_millis()) {
            Ok(time) => {
                time.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            Err(_) => at.to_string(),
        }
    }

    /// The first time after `at`; `None` if there is none before the end of time.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let from = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
        let next = self.pattern.find_next_occurrence(&from.to_zoned(self.zone.clone()), false);
        let next = Timestamp::from_millis(next.ok()?.timestamp().as_millisecond());
        // Whoever goes on from the answer must get on.
        (next > at).then_some(next)
    }

    /// The newest `count` times after `after` and not after `until`, the oldest first.
    ///
    /// Looks back in steps that grow, so that the work is bounded by `count` however many there are.
    pub(super) fn newest(
        &self,
        count: usize,
        after: Timestamp,
        until: Timestamp,
    ) -> Vec<Timestamp> {
        let whole = until.as_millis().saturating_sub(after.as_millis()).max(0);
        let mut back = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(60_000).min(whole);
        loop {
            let from = Timestamp::from_millis(until.as_millis().saturating_sub(back));
            let next = |at: &Timestamp| self.next_after(*at);
            let mut found: Vec<Timestamp> =
                std::iter::successors(next(&from), next).take_while(|at| *at <= until).collect();
            if found.len() >= count || back >= whole {
                found.drain(..found.len().saturating_sub(count));
                return found;
            }
            back = back.saturating_mul(8).clamp(1, whole);
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone_name)
    }
}

fn pattern(text: &str) -> Result<croner::Cron, FieldError> {
    let wrong = |words: String| FieldError::new("/cron", words);
    let form = format!("five fields, {FIELDS}, as in \"30 4 * * mon-fri\"");
    if text.len() > CRON_BYTES_MAX {
        return Err(wrong(format!("must be at most {CRON_BYTES_MAX} bytes: {form}")));
    }
    let fields = text.split_whitespace().count();
    if text.trim_start().starts_with('@') {
        if !NICKNAMES.iter().any(|name| text.trim().eq_ignore_ascii_case(name)) {
            return Err(wrong(format!("must be {form}, or one of {}", NICKNAMES.join(", "))));
        }
    } else if fields != 5 {
        let words = format!("has {fields} fields and must have {form}; a minute is the least");
        return Err(wrong(words));
    }
    // The same under a name that the library does not know.
    let text = if text.trim().eq_ignore_ascii_case("@midnight") { "@daily" } else { text };
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let pattern = parser.parse(text).map_err(|error| wrong(format!("must be {form}: {error}")))?;
    if has_a_day(&pattern) {
        return Ok(pattern);
    }
    let words = "never comes: no date has its day of month and month, as with 31 February; look at \
         its third and fourth field";
    Err(wrong(words.to_owned()))
}

/// Whether any day matches. The library's own search would look through three thousand years.
fn has_a_day(pattern: &croner::Cron) -> bool {
    let (first, last) = ALL_DAYS;
    let next = |day: &Date| day.tomorrow().ok();
    std::iter::successors(Some(first), next).take_while(|day| *day <= last).any(|day| {
        let (month, of_month) = (day.month().unsigned_abs(), day.day().unsigned_abs());
        let weekday = day.to_datetime(jiff::civil::Time::midnight()).civil_weekday();
        let pattern = &pattern.pattern;
        pattern.month_match(month.into()).unwrap_or(false)
            && pattern
                .day_match(day.year().into(), month.into(), of_month.into(), weekday)
                .unwrap_or(false)
    })
}

/// The zone of that name, and how it is spelled.
fn known(name: &str) -> Result<(TimeZone, String), FieldError> {
    let zone = (name.len() <= ZONE_BYTES_MAX).then(|| jiff::tz::db().get(name).ok()).flatten();
    let spelled = zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned);
    zone.zip(spelled).ok_or_else(|| {
        let shown: String = name.chars().take(ZONE_BYTES_MAX).collect();
        let near = nearest(&shown).map(|near| format!("; did you mean {near}?"));
        let form = "; name one of the IANA database, such as Europe/Berlin or UTC".to_owned();
        let words = format!("there is no time zone {shown:?}{}", near.unwrap_or(form));
        FieldError::new("/zone", words)
    })
}

/// The zone whose name is most like this one, if any is.
fn nearest(name: &str) -> Option<String> {
    jiff::tz::db()
        .available()
        .map(|known| (strsim::jaro_winkler(&known.to_string(), name), known.to_string()))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(cron: &str, zone: &str) -> Vec<String> {
        Cron::parse(cron, zone).unwrap_err().iter().map(ToString::to_string).collect()
    }

    /// The times after one, in UTC, to the minute.
    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron, zone).unwrap();
        let first = cron.next_after(after.parse().unwrap());
        std::iter::successors(first, |at| cron.next_after(*at))
            .take(count)
            .map(|at| at.to_string()[..16].to_owned())
            .collect()
    }

    #[test]
    fn a_cron_that_never_comes_is_refused_with_a_reason() {
        for never in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 31 2 *"] {
            let said = faults(never, "UTC");
            assert!(said.len() == 1 && said[0].starts_with("/cron: never comes"), "{said:?}");
        }
        // As crons have it, a weekday is enough.
        assert_eq!(times("0 0 31 2 mon", "UTC", "2027-01-31T00:00:00Z", 1), ["2027-02-01T00:00"]);
        assert_eq!(times("0 0 29 2 *", "UTC", "2027-01-31T00:00:00Z", 1), ["2028-02-29T00:00"]);
    }

    #[test]
    fn seconds_and_other_forms_are_refused_with_the_right_one() {
        let other =
            ["* * * * * *", "* * * *", "", "@reboot", "@every 5m", "60 * * * *", "a b c d e"];
        for wrong in other {
            let said = faults(wrong, "UTC");
            assert!(said.len() == 1 && said[0].contains("30 4 * * mon-fri"), "{said:?}");
        }
        assert!(faults(&"*".repeat(300), "UTC")[0].contains("at most 200 bytes"));
        assert_eq!(times("@midnight", "UTC", "2027-01-31T12:00:00Z", 1), ["2027-02-01T00:00"]);
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_nearest_and_both_faults_are_named() {
        assert!(faults("@daily", "Europe/Berln")[0].contains("did you mean Europe/Berlin?"));
        for unknown in ["", "Mars/Olympus", "+02:00", "Etc/Unknown", "🙂", "../etc/passwd"] {
            assert!(faults("@daily", unknown)[0].starts_with("/zone: there is no time zone"));
        }
        assert_eq!(faults("x", "y").len(), 2);
        assert_eq!(Cron::parse(" @daily ", "europe/berlin").unwrap().zone(), "Europe/Berlin");
    }

    #[test]
    fn a_time_of_day_that_the_clock_skips_comes_at_the_first_moment_after() {
        // 2027-03-28: two o'clock is three o'clock.
        let after = "2027-03-27T12:00:00Z";
        let days = times("30 2 * * *", "Europe/Berlin", after, 2);
        assert_eq!(days, ["2027-03-28T01:00", "2027-03-29T00:30"]);
    }

    #[test]
    fn a_time_of_day_that_the_clock_repeats_comes_once_the_first_time() {
        // 2027-10-31: three o'clock is two o'clock again.
        let after = "2027-10-30T12:00:00Z";
        let days = times("30 2 * * *", "Europe/Berlin", after, 2);
        assert_eq!(days, ["2027-10-31T00:30", "2027-11-01T01:30"]);
    }

    #[test]
    fn a_rhythm_goes_on_in_real_time() {
        let spring = times("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:15:00Z", 4);
        let distances = ["00:30", "01:00", "01:30", "02:00"];
        assert!(spring.iter().zip(distances).all(|(at, time)| at.ends_with(time)), "{spring:?}");
        let autumn = times("*/30 * * * *", "Europe/Berlin", "2027-10-31T00:15:00Z", 4);
        assert!(autumn.iter().zip(distances).all(|(at, time)| at.ends_with(time)), "{autumn:?}");
        // Two hours make a rhythm as well.
        let both = times("30 2,14 * * *", "Europe/Berlin", "2027-10-30T23:00:00Z", 3);
        assert_eq!(both, ["2027-10-31T00:30", "2027-10-31T01:30", "2027-10-31T13:30"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(cron in ".{0,40}", zone in ".{0,20}") {
            prop_assert!(Cron::parse(&cron, &zone).is_err() || !cron.is_empty());
        }

        #[test]
        fn what_looks_like_a_cron_is_read_or_refused(
            fields in prop::collection::vec("[0-9*,/LW#-]{1,6}", 5),
            at in 0_i64..4_000_000_000_000,
        ) {
            if let Ok(cron) = Cron::parse(&fields.join(" "), "America/New_York") {
                let at = Timestamp::from_millis(at);
                prop_assert!(cron.next_after(at).is_some_and(|next| next > at), "{cron}");
            }
        }
    }
}

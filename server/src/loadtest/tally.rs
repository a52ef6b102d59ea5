//! Counts what was asked and done, and how long it took: in all, and in each second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;

use super::findings::{Plot, Series, Timing};
use super::moment::Moment;

/// Times are kept in microseconds, up to an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    begun: Moment,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    things: BTreeMap<(Group, &'static str), Thing>,
    seconds: BTreeMap<u64, Second>,
}

/// What the rows of one table have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// As [`Timing::group`].
    pub(crate) name: &'static str,
    /// The row in which everything of the group counts once more, if it has one.
    pub(crate) sum: Option<&'static str>,
}

impl Group {
    /// The rows in which a thing of this name counts.
    fn rows(self, name: &'static str) -> impl Iterator<Item = (Self, &'static str)> {
        std::iter::once(name).chain(self.sum).map(move |row| (self, row))
    }
}

#[derive(Debug, Default)]
struct Thing {
    times: Times,
    failed: u64,
}

#[derive(Debug, Default)]
struct Second {
    asked: u64,
    done: u64,
    failed: u64,
    times: TimesOf<DIGITS_OF_A_SECOND>,
}

/// A load test has some thousand seconds, and each digit costs eight times the memory: 26 KiB with
/// two, which is more than a plot shows.
const DIGITS_OF_A_SECOND: u8 = 2;

/// Times with so many digits, made when the first is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimesOf<const DIGITS: u8>(Option<Histogram<u64>>);

/// Times for a table.
pub(crate) type Times = TimesOf<3>;

impl<const DIGITS: u8> TimesOf<DIGITS> {
    /// One more.
    pub(crate) fn record(&mut self, micros: u64) {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).ok();
        }
        if let Some(times) = &mut self.0 {
            times.saturating_record(micros.max(1));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The value that this share of them does not exceed, in milliseconds; 0 of none.
    #[expect(clippy::cast_precision_loss, reason = "an hour of microseconds fits")]
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |times| times.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// Their mean, in milliseconds; 0 of none.
    pub(crate) fn mean_ms(&self) -> f64 {
        self.0
            .as_ref()
            .filter(|times| !times.is_empty())
            .map_or(0.0, |times| times.mean() / 1_000.0)
    }
}

/// The percentiles of some times.
pub(crate) fn timing(group: &str, name: &str, times: &Times, failed: u64) -> Timing {
    Timing {
        group: group.to_owned(),
        name: name.to_owned(),
        is_sum: false,
        count: times.len() + failed,
        failed,
        mean_ms: times.mean_ms(),
        p50_ms: times.ms(0.5),
        p95_ms: times.ms(0.95),
        p99_ms: times.ms(0.99),
        p999_ms: times.ms(0.999),
        max_ms: times.ms(1.0),
    }
}

impl Tally {
    /// Counts seconds from `begun` on.
    pub(crate) fn new(begun: Moment) -> Self {
        Self { begun, counts: Arc::default() }
    }

    /// Something was asked that was due then.
    pub(crate) fn asked(&self, due: Moment) {
        self.change(|counts, second| counts.seconds.entry(second(due)).or_default().asked += 1);
    }

    /// Something was done, or failed: it counts in the tables and in the plots. What failed has no
    /// time.
    pub(crate) fn done(
        &self,
        group: Group,
        name: &'static str,
        due: Moment,
        at: Moment,
        well: bool,
    ) {
        if well {
            self.noted(group, name, due, at);
            self.late(due, at);
        } else {
            self.failed(group, name, 1);
        }
        self.ended(at, well);
    }

    /// A time that belongs in a table and in no plot.
    pub(crate) fn noted(&self, group: Group, name: &'static str, due: Moment, at: Moment) {
        let took = took(due, at);
        self.change(|counts, _| {
            for row in group.rows(name) {
                counts.things.entry(row).or_default().times.record(took);
            }
        });
    }

    /// A time that belongs in a plot: in the second in which it was due.
    pub(crate) fn late(&self, due: Moment, at: Moment) {
        let took = took(due, at);
        self.change(|counts, second| {
            counts.seconds.entry(second(due)).or_default().times.record(took);
        });
    }

    /// Something ended, well or not, for the plots.
    pub(crate) fn ended(&self, at: Moment, well: bool) {
        self.change(|counts, second| {
            let ended = counts.seconds.entry(second(at)).or_default();
            if well { ended.done += 1 } else { ended.failed += 1 }
        });
    }

    /// Something of this name failed, as was found out later.
    pub(crate) fn failed(&self, group: Group, name: &'static str, count: u64) {
        self.change(|counts, _| {
            for row in group.rows(name) {
                counts.things.entry(row).or_default().failed += count;
            }
        });
    }

    /// The percentiles of everything.
    pub(crate) fn timings(&self) -> Vec<Timing> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let things = counts.things.iter();
        things
            .map(|((group, name), thing)| Timing {
                is_sum: group.sum == Some(name),
                ..timing(group.name, name, &thing.times, thing.failed)
            })
            .collect()
    }

    /// How many were asked, done and failed so far.
    pub(crate) fn sums(&self) -> (u64, u64, u64) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.seconds.values().fold((0, 0, 0), |(asked, done, failed), second| {
            (asked + second.asked, done + second.done, failed + second.failed)
        })
    }

    /// What each whole second was like, at its middle, also one in which nothing happened. The last one is left
    /// out: counting ended within it, so it would look like a drop. `late` names what the
    /// percentiles are of, as in `start`.
    pub(crate) fn series(&self, late: &str) -> Vec<Series> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |plot, name: String, unit: &str, value: &dyn Fn(&Second) -> Option<f64>| {
            let (last, nothing) = (counts.seconds.keys().last(), Second::default());
            let second = |at| counts.seconds.get(&at).unwrap_or(&nothing);
            #[expect(clippy::cast_precision_loss, reason = "seconds of a load test are few")]
            let points =
                (0..last.copied().unwrap_or(0)).map(|at| (at as f64 + 0.5, value(second(at))));
            Series { plot, name, unit: unit.to_owned(), points: points.collect() }
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of a second are small")]
        let count = |count: u64| Some(count as f64);
        let quantile = |quantile: f64| {
            move |second: &Second| (second.times.len() > 0).then(|| second.times.ms(quantile))
        };
        vec![
            line(Plot::Throughput, "asked".to_owned(), "1/s", &|second| count(second.asked)),
            line(Plot::Throughput, "done".to_owned(), "1/s", &|second| count(second.done)),
            line(Plot::Errors, "failed".to_owned(), "1/s", &|second| count(second.failed)),
            line(Plot::Latency, format!("{late} p50"), "ms", &quantile(0.5)),
            line(Plot::Latency, format!("{late} p99"), "ms", &quantile(0.99)),
        ]
    }

    fn change(&self, change: impl FnOnce(&mut Counts, &dyn Fn(Moment) -> u64)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut counts, &|at: Moment| at.since(self.begun).as_secs());
    }
}

fn took(due: Moment, at: Moment) -> u64 {
    u64::try_from(at.since(due).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_due_early_and_done_late_counts_where_it_was_due() {
        let begun = Moment(0);
        let tally = Tally::new(begun);
        let due = begun.after(Duration::from_millis(100));
        tally.asked(due);
        let group = Group { name: "query", sum: Some("all") };
        tally.done(group, "SELECT", due, due.after(Duration::from_millis(2_500)), true);
        tally.asked(due);
        tally.done(group, "SELECT", due, due, false);
        let timings = tally.timings();
        let names: Vec<_> = timings.iter().map(|row| (row.name.as_str(), row.is_sum)).collect();
        assert_eq!(names, [("SELECT", false), ("all", true)]);
        assert_eq!((timings[1].count, timings[1].failed), (2, 1));
        assert_eq!((timings[0].count, timings[0].failed), (2, 1));
        assert!((timings[0].p50_ms - 2_500.0).abs() < 3.0, "{timings:?}");
        assert_eq!(tally.sums(), (2, 1, 1));
        let series = tally.series("start");
        let points = |name: &str| &series.iter().find(|line| line.name == name).unwrap().points;
        assert_eq!(points("asked"), &[(0.5, Some(2.0)), (1.5, Some(0.0))]);
        assert_eq!(points("done"), &[(0.5, Some(0.0)), (1.5, Some(0.0))]);
        let p99 = points("start p99");
        assert!(matches!(p99[..], [(0.5, Some(_)), (1.5, None)]), "{p99:?}");
    }

    #[test]
    fn an_outage_is_in_the_plots_and_the_second_in_which_it_all_ended_is_not() {
        let tally = Tally::new(Moment(0));
        let group = Group { name: "command", sum: None };
        for second in [0, 1, 4, 5] {
            for n in 0..10 {
                let due = Moment(second * 1_000_000 + n * 1_000);
                tally.done(group, "PING", due, due.after(Duration::from_millis(1)), true);
            }
        }
        let series = tally.series("command");
        let known = |name: &str| -> Vec<Option<f64>> {
            let line = series.iter().find(|line| line.name == name).unwrap();
            line.points.iter().map(|(_, value)| *value).collect()
        };
        assert_eq!(known("done"), [10.0, 10.0, 0.0, 0.0, 10.0].map(Some));
        let known: Vec<bool> = known("command p50").iter().map(Option::is_some).collect();
        assert_eq!(known, [true, true, false, false, true]);
    }

    #[test]
    fn percentiles_have_three_digits_and_those_of_a_second_two() {
        let (mut whole, mut second) = (Times::default(), TimesOf::<DIGITS_OF_A_SECOND>::default());
        whole.record(123_456);
        second.record(123_456);
        assert!((whole.ms(0.5) - 123.456).abs() < 0.13, "{whole:?}");
        assert!((second.ms(0.5) - 123.456).abs() < 1.3, "{second:?}");
        let bytes = |histogram: &Option<Histogram<u64>>| {
            histogram
                .as_ref()
                .map_or(usize::MAX, |known| known.distinct_values() * size_of::<u64>())
        };
        assert!(bytes(&second.0) <= 26 * 1024, "{}", bytes(&second.0));
    }

    #[test]
    fn nothing_has_no_points() {
        assert!(Tally::new(Moment(0)).series("start").iter().all(|line| line.points.is_empty()));
    }
}

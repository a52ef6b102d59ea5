//! From figures to places along an axis, and the ticks that say so.

use super::super::numbers::{byte_unit, number};

/// Figures nearer to 0 than this are 0: no figure of a load test is.
const NOTHING: f64 = 1e-5;

/// Highest divided by lowest from which an axis is logarithmic, if it may be.
const WIDE: f64 = 50.0;

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Where, in the figures' own unit.
    pub(super) at: f64,
    /// What stands there.
    pub(super) label: String,
}

/// An axis.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Its ticks, from low to high.
    pub(super) ticks: Vec<Tick>,
    /// What its labels are counted in; empty if each says it.
    pub(super) unit: String,
}

impl Scale {
    /// An axis that holds all `values` and has about `ticks` ticks, the outermost at its ends.
    ///
    /// It begins at 0, so that heights compare. If it `may_be_logarithmic` and the values are far
    /// apart, it is, and what is not above 0 sits at its lower end.
    pub(super) fn of_values(
        values: impl Iterator<Item = f64> + Clone,
        unit: &str,
        may_be_logarithmic: bool,
        ticks: u32,
    ) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        let low = values.clone().fold(0.0, f64::min);
        let least = values.filter(|value| *value > NOTHING).fold(f64::INFINITY, f64::min);
        if may_be_logarithmic && high > least * WIDE {
            return Self::logarithmic(least, high, unit, ticks);
        }
        Self::linear(low, high, unit, ticks)
    }

    fn linear(low: f64, high: f64, unit: &str, ticks: u32) -> Self {
        let high = if high - low < NOTHING { low + 1.0 } else { high };
        let (by, unit) = readable(low.abs().max(high), unit);
        let step = nice(((high - low) / by) / f64::from(ticks), &[1.0, 2.0, 5.0]);
        let first = (low / by / step).floor();
        let last = (high / by / step - 1e-9).ceil();
        let steps = (last - first).clamp(1.0, f64::from(4 * ticks));
        let marks = (0..=steps as u32).map(|n| (first + f64::from(n)) * step);
        let ticks: Vec<Tick> = marks
            .map(|mark| Tick { at: mark * by, label: number(round_off(mark, step)) })
            .collect();
        Self {
            low: first * step * by,
            high: (first + steps) * step * by,
            logarithmic: false,
            ticks,
            unit,
        }
    }

    fn logarithmic(least: f64, high: f64, unit: &str, ticks: u32) -> Self {
        let marks = marks_of_decades(least, high, ticks + 3);
        let tick = |at: &f64| {
            let label = match unit {
                "ms" if *at >= 999.0 => format!("{} s", number(at / 1000.0)),
                "ms" if *at < 0.09 => format!("{} µs", number(at * 1000.0)),
                _ => format!("{} {unit}", number(*at)),
            };
            Tick { at: *at, label }
        };
        let (low, high) = (marks[0], marks[marks.len() - 1]);
        let ticks = marks.iter().map(tick).collect();
        Self { low, high, logarithmic: true, ticks, unit: String::new() }
    }

    /// An axis of time from 0 to `end` seconds, in seconds, minutes or hours.
    pub(super) fn of_time(end: f64, ticks: u32) -> Self {
        let end = if end > NOTHING { end } else { 1.0 };
        let (by, unit) = match end {
            _ if end <= 180.0 => (1.0, "s"),
            _ if end <= 3.0 * 3600.0 => (60.0, "min"),
            _ => (3600.0, "h"),
        };
        let sixty = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];
        let wanted = end / by / f64::from(ticks);
        let step = match wanted {
            _ if wanted > 1.0 && by < 3600.0 => {
                let longer = sixty.into_iter().find(|step| *step >= wanted);
                longer.unwrap_or_else(|| nice(wanted, &[1.0, 2.0, 5.0]))
            }
            _ => nice(wanted, &[1.0, 2.0, 5.0]),
        };
        let steps = (end / by / step + 1e-9).floor() as u32;
        let marks = (0..=steps).map(|n| f64::from(n) * step);
        let ticks = marks
            .map(|mark| Tick { at: mark * by, label: number(round_off(mark, step)) })
            .collect();
        Self { low: 0.0, high: end, logarithmic: false, ticks, unit: unit.to_owned() }
    }

    /// Where `value` lies between both ends: 0 is the lower, 1 the upper.
    pub(super) fn part(&self, value: f64) -> f64 {
        let part = match self.logarithmic {
            true => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            false => (value - self.low) / (self.high - self.low),
        };
        part.clamp(0.0, 1.0)
    }

    /// Whether equal distances are equal ratios.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }
}

/// Marks from no more than `least` to no less than `high`: 1, 2, 5, 10, or powers of ten alone, or
/// every second or third of them, so that there are no more than `most`.
fn marks_of_decades(least: f64, high: f64, most: u32) -> Vec<f64> {
    let (first, last) =
        ((least.log10() + 1e-9).floor() as i32, (high.log10() - 1e-9).ceil() as i32);
    let fine: Vec<f64> = (first..=last)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
        .collect();
    let from = fine.iter().rposition(|mark| *mark <= least * (1.0 + 1e-9)).unwrap_or(0);
    let to = fine.iter().position(|mark| *mark >= high * (1.0 - 1e-9));
    let to = to.unwrap_or(fine.len() - 1);
    if to - from < most as usize {
        return fine[from..=to].to_vec();
    }
    let decades = (last - first).max(1).unsigned_abs();
    let by = decades.div_ceil(most - 1);
    (0..=decades.div_ceil(by)).map(|n| 10_f64.powi(first + (n * by) as i32)).collect()
}

/// What labels up to `size` are divided by, and the unit that they are in then.
fn readable(size: f64, unit: &str) -> (f64, String) {
    match unit {
        "bytes" => {
            let (by, name) = byte_unit(size);
            (by, name.to_owned())
        }
        "ms" if size >= 10_000.0 => (1e3, "s".to_owned()),
        _ if size >= 1e7 => (1e6, format!("million {unit}").trim_end().to_owned()),
        _ => (1.0, unit.to_owned()),
    }
}

/// The smallest of `steps`, times a power of ten, that is no less than `wanted`.
fn nice(wanted: f64, steps: &[f64]) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    let fits = steps.iter().map(|step| step * power).find(|step| *step >= wanted * (1.0 - 1e-9));
    fits.unwrap_or(10.0 * power)
}

/// `mark` without what adding up steps has left behind the last digit.
fn round_off(mark: f64, step: f64) -> f64 {
    let digits = 10_f64.powf(2.0 - step.log10().floor());
    if digits.is_finite() && digits > 0.0 { (mark * digits).round() / digits } else { mark }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale) -> String {
        let labels: Vec<&str> = scale.ticks.iter().map(|tick| tick.label.as_str()).collect();
        format!("{} [{}]", labels.join(" "), scale.unit)
    }

    fn of(values: &[f64], unit: &str, logarithmic: bool) -> Scale {
        Scale::of_values(values.iter().copied(), unit, logarithmic, 5)
    }

    #[test]
    fn ticks_are_round_figures_in_a_unit_that_reads_well() {
        let read = |values: &[f64], unit| labels(&of(values, unit, false));
        assert_eq!(read(&[3.0, 1042.0], "1/s"), "0 500 1,000 1,500 [1/s]");
        assert_eq!(read(&[0.1, 0.42], "ms"), "0 0.1 0.2 0.3 0.4 0.5 [ms]");
        assert_eq!(read(&[52_000.0], "ms"), "0 20 40 60 [s]");
        assert_eq!(read(&[190.0 * 1024.0 * 1024.0], "bytes"), "0 50 100 150 200 [MiB]");
        assert_eq!(read(&[-30.0, 20.0], "jobs"), "-30 -20 -10 0 10 20 [jobs]");
        assert_eq!(read(&[12_000_000.0], "jobs"), "0 5 10 15 [million jobs]");
    }

    #[test]
    fn nothing_and_zeros_have_an_axis_too() {
        for values in [&[][..], &[0.0], &[0.0, 1e-300]] {
            let scale = of(values, "jobs", true);
            assert_eq!(labels(&scale), "0 0.2 0.4 0.6 0.8 1 [jobs]", "{values:?}");
            assert!(!scale.is_logarithmic());
        }
    }

    #[test]
    fn figures_far_apart_have_an_axis_by_powers_of_ten() {
        let scale = of(&[0.0, 0.4, 5_000.0], "ms", true);
        assert_eq!(labels(&scale), "0.1 ms 1 ms 10 ms 100 ms 1 s 10 s []");
        assert_eq!(scale.part(0.0), 0.0, "what is not above 0 sits at the lower end");
        assert!((scale.part(1.0) - 0.2).abs() < 1e-9, "{}", scale.part(1.0));
        let scale = of(&[3.0, 300.0], "ms", true);
        assert_eq!(labels(&scale), "2 ms 5 ms 10 ms 20 ms 50 ms 100 ms 200 ms 500 ms []");
        assert_eq!(labels(&of(&[0.02, 20.0], "ms", true)), "10 µs 0.1 ms 1 ms 10 ms 100 ms []");
        assert!(!of(&[1.0, 49.0], "ms", true).is_logarithmic());
        assert!(!of(&[0.4, 5_000.0], "ms", false).is_logarithmic());
    }

    #[test]
    fn time_is_counted_in_seconds_minutes_or_hours() {
        let read = |end| labels(&Scale::of_time(end, 6));
        assert_eq!(read(60.0), "0 10 20 30 40 50 60 [s]");
        assert_eq!(read(1500.0), "0 5 10 15 20 25 [min]");
        assert_eq!(read(86_400.0), "0 5 10 15 20 [h]");
        assert_eq!(read(0.0), "0 0.2 0.4 0.6 0.8 1 [s]");
    }

    proptest! {
        #[test]
        fn the_ticks_cover_the_data_and_are_few(
            values in prop::collection::vec(-1e12..1e12_f64, 0..20),
            power in -9..3_i32,
            logarithmic: bool,
            unit in prop::sample::select(vec!["ms", "bytes", "1/s"]),
        ) {
            let values: Vec<f64> = values.iter().map(|value| value * 10_f64.powi(power)).collect();
            let scale = of(&values, unit, logarithmic);
            let (first, last) = (scale.ticks[0].at, scale.ticks[scale.ticks.len() - 1].at);
            for value in values {
                let covered = value <= last * (1.0 + 1e-6)
                    && (value >= first * (1.0 + 1e-6) || scale.is_logarithmic());
                prop_assert!(covered, "{value} in {first} to {last}");
                prop_assert!((0.0..=1.0).contains(&scale.part(value)));
            }
            prop_assert!((2..=14).contains(&scale.ticks.len()), "{:?}", scale.ticks);
            let labels: std::collections::HashSet<_> =
                scale.ticks.iter().map(|tick| &tick.label).collect();
            prop_assert_eq!(labels.len(), scale.ticks.len(), "{:?}", scale.ticks);
        }

        #[test]
        fn time_has_few_ticks_and_the_last_is_near_the_end(end in 0.001..1e7_f64) {
            let scale = Scale::of_time(end, 6);
            prop_assert!((2..=14).contains(&scale.ticks.len()), "{:?}", scale.ticks);
            let last = scale.ticks[scale.ticks.len() - 1].at;
            prop_assert!(last <= end * (1.0 + 1e-6) && last >= end / 2.0, "{last} of {end}");
        }
    }
}

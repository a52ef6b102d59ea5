//! What must hold: bounds from a file, against what was measured.

use std::collections::BTreeMap;

use postworks::job::did_you_mean;
use serde::Deserialize;

use super::digest::digest;
use super::findings::{Direction, Scenario, Timing, Verdict};
use super::profile::Invalid;
use super::scenarios::Name;

const TARGETS: &str = include_str!("../../../config/loadtest/targets.toml");
/// How many of something failed.
const FAILED: &str = "failed_percent";

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Targets {
    /// By scenario and what they are of, in the order of their names.
    bounds: BTreeMap<String, BTreeMap<String, Bound>>,
    file: Option<String>,
    digest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Targets {
    /// Those in a file, or those that every load test has.
    ///
    /// # Errors
    /// Every fault of the file.
    pub(crate) fn read(file: Option<&std::path::Path>) -> Result<Self, Invalid> {
        let Some(path) = file else { return Self::parse("targets.toml", TARGETS) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Invalid::of(&name, format!("cannot be read: {error}")))?;
        let targets = Self::parse(&name, &text)?;
        Ok(Self { file: Some(name), ..targets })
    }

    /// The file that they are from, as it was asked for; `None` if every load test has them.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Of all that they say.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    fn parse(name: &str, text: &str) -> Result<Self, Invalid> {
        let table: toml::Table =
            text.parse().map_err(|error| super::profile::of_toml(name, &error))?;
        let digest = digest(&table);
        let mut faults = Vec::new();
        let mut targets = BTreeMap::new();
        for (scenario, bounds) in table {
            if !Name::ALL.iter().any(|name| name.as_str() == scenario) {
                let near = did_you_mean(&scenario, Name::ALL.iter().map(|name| name.as_str()));
                faults.push(format!("[{scenario}] is no scenario{near}"));
                continue;
            }
            let Some(bounds) = bounds.as_table() else {
                faults.push(format!("{scenario} is a section, not a value"));
                continue;
            };
            let mut known = BTreeMap::new();
            for (figure, bound) in bounds {
                match bound.clone().try_into() {
                    Ok(bound) if figure.contains(": ") => {
                        known.insert(figure.clone(), bound);
                    }
                    Ok(_) => faults.push(format!(
                        "{scenario}.{figure:?} names no figure: it must read \"TABLE: FIGURE\" or \
                         \"GROUP NAME: p99_ms\""
                    )),
                    Err(_) => faults.push(format!(
                        "{scenario}.{figure:?} is no bound such as {{ at_most = 10 }} or \
                         {{ at_least = 10 }}"
                    )),
                }
            }
            targets.insert(scenario, known);
        }
        if faults.is_empty() {
            Ok(Self { bounds: targets, file: None, digest })
        } else {
            Err(Invalid { file: name.to_owned(), faults })
        }
    }

    /// The bounds of these scenarios, with what was measured.
    pub(crate) fn judge(&self, scenarios: &[Scenario]) -> Vec<Verdict> {
        let of = |scenario: &Scenario| {
            let bounds = self.bounds.get(&scenario.name).into_iter().flatten();
            let judged = bounds.map(|(figure, bound)| {
                let found = find(scenario, figure);
                let (direction, bound) = match bound {
                    Bound::AtMost(bound) => (Direction::AtMost, *bound),
                    Bound::AtLeast(bound) => (Direction::AtLeast, *bound),
                };
                Verdict {
                    scenario: scenario.name.clone(),
                    name: figure.clone(),
                    unit: found.as_ref().map(|(_, unit)| unit.clone()).unwrap_or_default(),
                    bound,
                    direction,
                    measured: found.map(|(value, _)| value),
                }
            });
            judged.collect::<Vec<_>>()
        };
        scenarios.iter().flat_map(of).collect()
    }
}

/// The figure of that name, and its unit.
fn find(scenario: &Scenario, figure: &str) -> Option<(f64, String)> {
    let (of, what) = figure.rsplit_once(": ")?;
    let timing = scenario.timings.iter().find(|row| format!("{} {}", row.group, row.name) == of);
    if let Some(found) = timing.and_then(|row| of_timing(row, what)) {
        return Some(found);
    }
    let table = scenario.tables.iter().find(|table| table.title == of)?;
    let row = table.rows.iter().find(|row| row.name == what)?;
    Some((row.value, row.unit.clone()))
}

fn of_timing(timing: &Timing, what: &str) -> Option<(f64, String)> {
    // Nothing was measured of it, or nothing but that it fails: what failed has no time.
    if timing.count == 0 || (timing.count == timing.failed && what != FAILED) {
        return None;
    }
    let value = match what {
        "mean_ms" => timing.mean_ms,
        "p50_ms" => timing.p50_ms,
        "p95_ms" => timing.p95_ms,
        "p99_ms" => timing.p99_ms,
        "p999_ms" => timing.p999_ms,
        "max_ms" => timing.max_ms,
        FAILED => {
            #[expect(clippy::cast_precision_loss, reason = "counts of a load test fit")]
            let percent = 100.0 * timing.failed as f64 / timing.count as f64;
            return Some((percent, "%".to_owned()));
        }
        _ => return None,
    };
    Some((value, "ms".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::findings::{Figure, Table};
    use super::super::tally::{Times, timing};
    use super::*;

    fn queue() -> Scenario {
        let mut times = Times::default();
        (0..99).for_each(|_| times.record(2_000));
        Scenario {
            name: "queue".to_owned(),
            about: String::new(),
            took_s: 1.0,
            broke_off: None,
            phases: Vec::new(),
            timings: vec![timing("job start", "all kinds", &times, 1)],
            unmeasurable: Vec::new(),
            tables: vec![Table {
                title: "Jobs".to_owned(),
                rows: vec![Figure {
                    name: "lost".to_owned(),
                    value: 0.0,
                    unit: "jobs".to_owned(),
                    good: None,
                }],
            }],
            series: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_targets_that_every_load_test_has_are_right() {
        assert_eq!(Targets::read(None).unwrap().bounds.len(), Name::ALL.len());
    }

    #[test]
    fn targets_know_the_file_that_they_are_from() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ours.toml");
        std::fs::write(&file, TARGETS).unwrap();
        let (ours, usual) = (Targets::read(Some(&file)).unwrap(), Targets::read(None).unwrap());
        assert_eq!((ours.file(), usual.file()), (file.to_str(), None));
        assert_eq!(ours.digest(), usual.digest());
        std::fs::write(&file, "[queue]\n'Jobs: lost' = { at_most = 9 }").unwrap();
        assert_ne!(Targets::read(Some(&file)).unwrap().digest(), usual.digest());
    }

    #[test]
    fn bounds_are_held_against_what_was_measured() {
        let text = "[queue]\n'job start all kinds: p99_ms' = { at_most = 1 }\n\
                    'job start all kinds: failed_percent' = { at_most = 1 }\n\
                    'Jobs: lost' = { at_most = 0 }\n'Jobs: done' = { at_least = 1 }\n\
                    [redis]\n'command GET: p50_ms' = { at_most = 1 }";
        let verdicts = Targets::parse("t.toml", text).unwrap().judge(&[queue()]);
        let held: Vec<_> = verdicts
            .iter()
            .map(|verdict| (verdict.name.as_str(), verdict.unit.as_str(), verdict.held()))
            .collect();
        assert_eq!(
            held,
            [
                ("Jobs: done", "", None),
                ("Jobs: lost", "jobs", Some(true)),
                ("job start all kinds: failed_percent", "%", Some(true)),
                ("job start all kinds: p99_ms", "ms", Some(false)),
            ]
        );
    }

    #[test]
    fn what_only_fails_misses_its_targets_and_is_not_taken_for_fast() {
        let timings = vec![timing("job start", "all kinds", &Times::default(), 7)];
        let failing = Scenario { timings, ..queue() };
        let text = "[queue]\n'job start all kinds: p99_ms' = { at_most = 1 }\n\
                    'job start all kinds: failed_percent' = { at_most = 1 }";
        let verdicts = Targets::parse("t.toml", text).unwrap().judge(&[failing]);
        let held: Vec<_> = verdicts.iter().map(Verdict::held).collect();
        assert_eq!(held, [Some(false), None]);
        let sums = [("database", "query all statements"), ("redis", "command all commands")];
        for (scenario, sum) in sums {
            let usual = &Targets::read(None).unwrap().bounds[scenario];
            assert_eq!(usual[&format!("{sum}: {FAILED}")], Bound::AtMost(0.1));
        }
    }

    #[test]
    fn a_target_that_was_not_measured_is_excused_only_where_it_cannot_be() {
        let text = "[queue]\n'Jobs: lost' = { at_most = 0 }\n'Jobs: found' = { at_most = 0 }\n\
                    'Redis wiped: lost' = { at_most = 0 }";
        let scenario = Scenario { unmeasurable: vec!["Redis wiped".to_owned()], ..queue() };
        let verdicts =
            Targets::parse("t.toml", text).unwrap().judge(std::slice::from_ref(&scenario));
        let open = verdicts.iter().filter(|verdict| verdict.is_open_in(&scenario));
        assert_eq!(open.map(|verdict| verdict.name.as_str()).collect::<Vec<_>>(), ["Jobs: found"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "[que]\n[queue]\n'Jobs: lost' = { most = 1 }\nlost = { at_most = 0 }";
        let faults = Targets::parse("t.toml", text).unwrap_err().faults;
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(faults[0], "[que] is no scenario; did you mean queue?");
        assert!(faults.iter().any(|fault| fault.contains("is no bound such as")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.contains("names no figure")), "{faults:?}");
    }
}

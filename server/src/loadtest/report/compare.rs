//! Two load tests side by side: what is better, what is worse, and what is noise.

mod noise;

use super::document::{Block, Cell, Document, Grid, Tone};
use super::markdown;
use super::numbers::{number, of_things, with_unit};
use crate::loadtest::findings::{Direction, Findings, Timing};
use noise::Change;

/// Both as Markdown, which is read in a terminal too.
///
/// First comes what makes them hard to compare: other machines or versions, other loads, tests that
/// were stopped. Then each timing and each figure of both, with how many times the first the second
/// is.
pub(crate) fn compare(a: &Findings, b: &Findings) -> String {
    let timings = timings(a, b);
    let figures = figures(a, b);
    let changes: Vec<&Row> = timings.iter().chain(&figures).collect();
    let mut blocks = warnings(a, b);
    blocks.push(Block::Heading(2, "In short".to_owned()));
    blocks.push(Block::Words(in_short(&changes)));
    let worse = changes.iter().filter(|row| row.change == Change::Worse);
    let worse: Vec<String> = worse.map(|row| format!("worse: {}", row.name())).collect();
    if !worse.is_empty() {
        blocks.push(Block::Bullets(worse));
    }
    blocks.push(Block::Words(noise::RULE.to_owned()));
    let columns =
        ["scenario", "what", ">p50 A", ">p50 B", ">B/A", ">p99 A", ">p99 B", ">B/A", "B is"];
    part(&mut blocks, "Timings, in ms", &columns, timings);
    part(&mut blocks, "Figures", &["scenario", "what", ">A", ">B", ">B/A", "B is"], figures);
    markdown::page(&Document {
        title: "Two load tests".to_owned(),
        under_title: format!("A: {}. B: {}.", name(a), name(b)),
        blocks,
    })
}

/// A row of a table, and what its last cell says.
struct Row {
    scenario: String,
    what: String,
    cells: Vec<String>,
    change: Change,
}

impl Row {
    fn name(&self) -> String {
        format!("{} ({})", self.what, self.scenario)
    }
}

fn name(findings: &Findings) -> String {
    let Findings { version, profile, seed, started_at, .. } = findings;
    format!("Postworks {version}, profile {profile}, seed {seed}, {started_at}")
}

fn part(blocks: &mut Vec<Block>, heading: &str, columns: &[&str], rows: Vec<Row>) {
    if rows.is_empty() {
        return;
    }
    let mut grid = Grid::new(columns);
    for Row { scenario, what, cells, change } in rows {
        let mut row: Vec<Cell> = vec![scenario.into(), what.into()];
        row.extend(cells.into_iter().map(Cell::from));
        row.push(Cell::of(
            if change == Change::Worse { Tone::Bad } else { Tone::Plain },
            change.as_str(),
        ));
        grid.rows.push(row);
    }
    blocks.push(Block::Heading(2, heading.to_owned()));
    blocks.push(Block::Grid(grid));
}

fn warnings(a: &Findings, b: &Findings) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut warn = |first: &str, text: String| {
        blocks.push(Block::Notice(Tone::Bad, first.to_owned(), text));
    };
    let facts = other_facts(a, b);
    if !facts.rows.is_empty() {
        let text = "Figures of different machines or servers do not compare: go by the ratios only \
                    where what differs does not matter.";
        warn("These facts differ.", text.to_owned());
        blocks.push(Block::Grid(facts));
    }
    let mut warn = |first: &str, text: String| {
        blocks.push(Block::Notice(Tone::Bad, first.to_owned(), text));
    };
    if a.profile_digest != b.profile_digest {
        let text = match a.profile == b.profile {
            true => format!(
                "What profile {} says was changed between them: they did not do the same.",
                a.profile
            ),
            false => {
                format!("A ran profile {}, B {}: they did not do the same.", a.profile, b.profile)
            }
        };
        warn("Different loads.", text);
    }
    if a.seed != b.seed {
        let text =
            format!("A drew its load from {}, B from {}: alike, but not the same.", a.seed, b.seed);
        warn("Different seeds.", text);
    }
    for (which, findings) in [("A", a), ("B", b)] {
        if findings.interrupted {
            warn(
                "Interrupted.",
                format!("{which} was stopped early: some of it was not measured."),
            );
        }
    }
    blocks
}

fn other_facts(a: &Findings, b: &Findings) -> Grid {
    let of = |findings: &Findings, name: &str| {
        let fact = findings.facts.iter().find(|(known, _)| known == name);
        fact.map_or_else(|| "not known".to_owned(), |(_, fact)| fact.clone())
    };
    let mut names: Vec<&str> = a.facts.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(
        b.facts
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !a.facts.iter().any(|(known, _)| known == name)),
    );
    let mut grid = Grid::new(&["what", "A", "B"]);
    for name in names {
        let (of_a, of_b) = (of(a, name), of(b, name));
        if of_a != of_b {
            grid.row([name.into(), of_a.into(), of_b.into()]);
        }
    }
    grid
}

fn in_short(rows: &[&Row]) -> String {
    let words = [
        (Change::Better, "better"),
        (Change::Worse, "worse"),
        (Change::Mixed, "mixed"),
        (Change::Noise, "within noise"),
        (Change::Differs, "different, neither better nor worse"),
        (Change::TooFew, "too few to say"),
        (Change::OnlyOne, "in one of them only"),
    ];
    let counts = words.iter().filter_map(|(change, words)| {
        let n = rows.iter().filter(|row| row.change == *change).count();
        (n > 0).then(|| format!("{n} {words}"))
    });
    let counts: Vec<String> = counts.collect();
    match rows.len() {
        0 => "Neither measured anything.".to_owned(),
        n => format!("Of {}, B against A: {}.", of_things(n, "figure"), counts.join(", ")),
    }
}

/// The same thing of both tests, as far as they have it.
type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

/// Things of `a` and of `b` by their keys, in `a`'s order, then what only `b` has.
fn pairs<'a, T, K: PartialEq>(a: &'a [T], b: &'a [T], key: impl Fn(&T) -> K) -> Vec<Pair<'a, T>> {
    let same = |among: &'a [T], thing: &T| among.iter().find(|other| key(other) == key(thing));
    let mut pairs: Vec<_> = a.iter().map(|thing| (Some(thing), same(b, thing))).collect();
    pairs
        .extend(b.iter().filter(|thing| same(a, thing).is_none()).map(|thing| (None, Some(thing))));
    pairs
}

fn timings(a: &Findings, b: &Findings) -> Vec<Row> {
    let all = |findings: &Findings| -> Vec<(String, Timing)> {
        let of_scenarios = findings.scenarios.iter().flat_map(|scenario| {
            scenario.timings.iter().map(|timing| (scenario.name.clone(), timing.clone()))
        });
        of_scenarios.collect()
    };
    let (a, b) = (all(a), all(b));
    let found = pairs(&a, &b, |(scenario, timing)| {
        (scenario.clone(), timing.group.clone(), timing.name.clone())
    });
    let row = |(a, b): &Pair<'_, (String, Timing)>| {
        let (scenario, known) = a.or(*b)?;
        let (a, b) = (a.map(|(_, timing)| timing), b.map(|(_, timing)| timing));
        let mut cells = Vec::new();
        for of in [|timing: &Timing| timing.p50_ms, |timing: &Timing| timing.p99_ms] {
            let [a, b] = [a, b].map(|timing| timing.filter(|timing| timing.count > 0).map(of));
            cells.extend([a, b].map(|ms| ms.map_or_else(|| "–".to_owned(), number)));
            cells.push(ratio(a, b));
        }
        let change = match (a, b) {
            (Some(a), Some(b)) => noise::of_timing(a, b),
            _ => Change::OnlyOne,
        };
        let what = format!("{} {}", known.group, known.name);
        Some(Row { scenario: scenario.clone(), what, cells, change })
    };
    found.iter().filter_map(row).collect()
}

/// A figure of either, wherever it is in the findings.
struct Measured {
    scenario: String,
    name: String,
    unit: String,
    value: f64,
    good: Option<Direction>,
}

fn figures(a: &Findings, b: &Findings) -> Vec<Row> {
    let (a, b) = (measured(a), measured(b));
    let found = pairs(&a, &b, |one| (one.scenario.clone(), one.name.clone(), one.unit.clone()));
    let row = |(a, b): &Pair<'_, Measured>| {
        let known = a.or(*b)?;
        let good = [a, b].into_iter().flatten().find_map(|one| one.good);
        let [of_a, of_b] = [a, b].map(|one| one.map(|one| one.value));
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| with_unit(value, &known.unit))
        };
        Some(Row {
            scenario: known.scenario.clone(),
            what: known.name.clone(),
            cells: vec![shown(of_a), shown(of_b), ratio(of_a, of_b)],
            change: match (of_a, of_b) {
                (Some(a), Some(b)) => noise::of_figure(a, b, &known.unit, good),
                _ => Change::OnlyOne,
            },
        })
    };
    found.iter().filter_map(row).collect()
}

fn measured(findings: &Findings) -> Vec<Measured> {
    let mut all = of_capacity(findings);
    for scenario in &findings.scenarios {
        for table in &scenario.tables {
            all.extend(table.rows.iter().map(|row| {
                let name = format!("{}: {}", table.title, row.name);
                Measured {
                    scenario: scenario.name.clone(),
                    unit: row.unit.clone(),
                    value: row.value,
                    good: bounded(findings, &scenario.name, &name).or(row.good),
                    name,
                }
            }));
        }
    }
    all
}

/// The good side of a figure that has a bound: a bound is no figure of its own, it is of one.
fn bounded(findings: &Findings, scenario: &str, figure: &str) -> Option<Direction> {
    let mut verdicts = findings.verdicts.iter();
    let of_it = verdicts.find(|verdict| verdict.scenario == scenario && verdict.name == figure);
    of_it.map(|verdict| verdict.direction)
}

fn of_capacity(findings: &Findings) -> Vec<Measured> {
    use Direction::{AtLeast, AtMost};
    let capacity = &findings.capacity;
    let [workers, redis, postgres] = match capacity.cpu_s_per_1000 {
        Some(each) => each.map(Some),
        None => [None; 3],
    };
    let all = [
        ("sustainable rate", "1/s", capacity.sustainable_rate, AtLeast),
        ("mean run", "ms", capacity.run_mean_ms, AtMost),
        ("Redis for a waiting job", "bytes", capacity.redis_bytes_queued, AtMost),
        ("Redis left of an ended job", "bytes", capacity.redis_bytes_left, AtMost),
        ("PostgreSQL for an ended job", "bytes", capacity.postgres_bytes, AtMost),
        ("WAL for a job", "bytes", capacity.postgres_wal_bytes, AtMost),
        ("workers' processors for 1,000 jobs", "s", workers, AtMost),
        ("Redis' processor for 1,000 jobs", "s", redis, AtMost),
        ("PostgreSQL's processors for 1,000 jobs", "s", postgres, AtMost),
    ];
    let figure = |(name, unit, value, good): (&str, &str, Option<f64>, Direction)| {
        let (scenario, name, unit) = ("capacity".to_owned(), name.to_owned(), unit.to_owned());
        Some(Measured { scenario, name, unit, value: value?, good: Some(good) })
    };
    all.into_iter().filter_map(figure).collect()
}

/// How many times `a` is `b`.
fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a > 0.0 && b >= 0.0 => format!("{:.2}", b / a),
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests;

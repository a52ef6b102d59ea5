//! A chapter for each scenario: what was done, and what was measured.

use super::document::{Block, Cell, Grid, Tone};
use super::numbers::{count, number, stretch, with_unit};
use super::plots;
use crate::loadtest::findings::{Findings, Phase, Scenario, Table, Timing};

/// All of them, in the order in which they ran.
pub(super) fn chapters(findings: &Findings) -> Vec<Block> {
    if findings.scenarios.is_empty() {
        let none = "No scenario ran, so nothing was measured.".to_owned();
        return vec![Block::Heading(2, "Scenarios".to_owned()), Block::Words(none)];
    }
    findings.scenarios.iter().flat_map(chapter).collect()
}

fn chapter(scenario: &Scenario) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, format!("Scenario: {}", scenario.name))];
    if let Some(why) = &scenario.broke_off {
        let text = format!("{why}. What was measured until then is here.");
        blocks.push(Block::Notice(Tone::Bad, "Broke off:".to_owned(), text));
    }
    blocks.push(Block::Words(format!("{} It took {}.", scenario.about, stretch(scenario.took_s))));
    if !scenario.phases.is_empty() {
        let phase = |phase: &Phase| {
            let (from, to) = (stretch(phase.from_s), stretch(phase.to_s));
            match from == to {
                true => format!("{} (at {from})", phase.name),
                false => format!("{} ({from} to {to})", phase.name),
            }
        };
        let phases: Vec<String> = scenario.phases.iter().map(phase).collect();
        blocks.push(Block::Words(format!("Phases: {}.", phases.join(", "))));
    }
    for group in groups(&scenario.timings) {
        blocks.push(Block::Heading(3, format!("{}, in ms", first_upper(group))));
        let timings = scenario.timings.iter().filter(|timing| timing.group == group);
        blocks.push(Block::Grid(timings_of(group, timings)));
    }
    for table in scenario.tables.iter().filter(|table| !table.rows.is_empty()) {
        blocks.push(Block::Heading(3, table.title.clone()));
        blocks.push(Block::Grid(figures(table)));
    }
    blocks.extend(plots::of(scenario).into_iter().map(Block::Chart));
    if !scenario.notes.is_empty() {
        blocks.push(Block::Heading(3, "What the figures do not say".to_owned()));
        blocks.push(Block::Bullets(scenario.notes.clone()));
    }
    blocks
}

/// The groups, each once, in the order in which they first come.
fn groups(timings: &[Timing]) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for timing in timings {
        if !groups.contains(&timing.group.as_str()) {
            groups.push(&timing.group);
        }
    }
    groups
}

fn timings_of<'a>(group: &str, timings: impl Iterator<Item = &'a Timing>) -> Grid {
    let columns = [group, ">count", ">failed", ">mean", ">p50", ">p95", ">p99", ">p99.9", ">max"];
    let mut grid = Grid::new(&columns);
    for timing in timings {
        let ms = |value: f64| -> Cell {
            match timing.count {
                0 => "–".into(),
                _ => number(value).into(),
            }
        };
        grid.row([
            timing.name.as_str().into(),
            count(timing.count).into(),
            failed(timing),
            ms(timing.mean_ms),
            ms(timing.p50_ms),
            ms(timing.p95_ms),
            ms(timing.p99_ms),
            ms(timing.p999_ms),
            ms(timing.max_ms),
        ]);
    }
    grid
}

fn failed(timing: &Timing) -> Cell {
    match (timing.failed, timing.count) {
        (0, _) => "0".into(),
        (failed, 0) => Cell::of(Tone::Bad, count(failed)),
        (failed, of) => {
            let share = number(failed as f64 / of as f64 * 100.0);
            Cell::of(Tone::Bad, format!("{} ({share} %)", count(failed)))
        }
    }
}

fn figures(table: &Table) -> Grid {
    let mut grid = Grid::new(&["what", ">figure"]);
    for row in &table.rows {
        grid.row([row.name.as_str().into(), with_unit(row.value, &row.unit).into()]);
    }
    grid
}

fn first_upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

//! Which plots a scenario has, and what they say to those who do not see them.

use super::document::Grid;
use super::numbers::{of_things, with_unit};
use super::svg::{Chart, Line};
use crate::loadtest::findings::{Plot, Scenario, Series};

const ORDER: [Plot; 5] = [Plot::Throughput, Plot::Latency, Plot::Depth, Plot::Memory, Plot::Errors];

/// Letters of a line that is drawn with text, at most: no more than it has points.
const SPARKS_MAX: usize = 30;

/// The plots of a scenario; series of one plot that have another unit have a plot of their own.
pub(super) fn of(scenario: &Scenario) -> Vec<Chart> {
    let mut charts: Vec<(Plot, Chart)> = Vec::new();
    for plot in ORDER {
        for series in scenario.series.iter().filter(|series| series.plot == plot) {
            let same = |(of, chart): &&mut (Plot, Chart)| *of == plot && chart.unit == series.unit;
            match charts.iter_mut().find(same) {
                Some((_, chart)) => chart.lines.push(line(series)),
                None => charts.push((plot, chart(scenario, series))),
            }
        }
    }
    charts.into_iter().map(|(_, chart)| chart).collect()
}

fn chart(scenario: &Scenario, first: &Series) -> Chart {
    Chart {
        title: title(first.plot).to_owned(),
        unit: first.unit.clone(),
        lines: vec![line(first)],
        phases: scenario.phases.clone(),
        may_be_logarithmic: first.plot == Plot::Latency,
    }
}

fn line(series: &Series) -> Line {
    Line { name: series.name.clone(), points: series.points.clone() }
}

fn title(plot: Plot) -> &'static str {
    match plot {
        Plot::Throughput => "Throughput: asked for and done, a second",
        Plot::Latency => "Latency: percentiles of each second",
        Plot::Depth => "Depth: what waits and runs",
        Plot::Memory => "Memory",
        Plot::Errors => "Errors: failures, a second",
    }
}

/// The extremes of each line, in a sentence each.
pub(super) fn about(chart: &Chart) -> String {
    let line = |line: &Line| match extremes(line) {
        Some([low, mean, high]) => {
            let [low, mean, high] = [low, mean, high].map(|value| with_unit(value, &chart.unit));
            format!("{}: from {low} to {high}, {mean} in the mean.", line.name)
        }
        None => format!("{}: no figures.", line.name),
    };
    let lines: Vec<String> = chart.lines.iter().map(line).collect();
    format!("{} over time. {}", of_things(chart.lines.len(), "line"), lines.join(" "))
}

/// A plot as a table: a line of text for each of its lines.
pub(super) fn overview(chart: &Chart) -> Grid {
    let mut grid = Grid::new(&["line", "over time", ">lowest", ">mean", ">highest"]);
    let points = chart.lines.iter().map(|line| line.points.len()).max();
    let letters = points.unwrap_or(0).clamp(1, SPARKS_MAX);
    for line in &chart.lines {
        let Some(figures) = extremes(line) else {
            grid.row([line.name.as_str().into(), "".into(), "–".into(), "–".into(), "–".into()]);
            continue;
        };
        let [low, mean, high] = figures.map(|value| with_unit(value, &chart.unit).into());
        let drawn = sparkline(&line.points, chart.end(), figures[2], letters);
        grid.row([line.name.as_str().into(), drawn.into(), low, mean, high]);
    }
    grid
}

/// Lowest, mean and highest.
fn extremes(line: &Line) -> Option<[f64; 3]> {
    let n = line.values().count();
    let low = line.values().reduce(f64::min)?;
    let high = line.values().reduce(f64::max)?;
    Some([low, line.values().sum::<f64>() / n as f64, high])
}

/// The line from 0 to `high` in letters: the highest of each stretch, and a space where there is
/// nothing.
fn sparkline(points: &[(f64, Option<f64>)], end: f64, high: f64, letters: usize) -> String {
    const LETTERS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut highest = vec![None::<f64>; letters];
    for (at, value) in points.iter().filter_map(|(at, value)| Some((at, (*value)?))) {
        let part = if end > 0.0 { at / end } else { 0.0 };
        // A cast of a float saturates.
        let column = ((part * letters as f64) as usize).min(letters - 1);
        highest[column] = Some(highest[column].map_or(value, |known| known.max(value)));
    }
    let letter = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if high > 0.0 => LETTERS[((value / high * 7.0).round() as usize).min(7)],
        Some(_) => LETTERS[0],
    };
    highest.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_scenario_has_a_plot_for_each_sort_and_unit_in_a_fixed_order() {
        let mut scenario = fixture::whole().scenarios.remove(1);
        let mut other_unit = scenario.series[0].clone();
        other_unit.unit = "%".to_owned();
        scenario.series.push(other_unit);
        scenario.series.reverse();
        let charts = of(&scenario);
        let first_words: Vec<&str> =
            charts.iter().map(|chart| chart.title.split(':').next().unwrap()).collect();
        assert_eq!(
            first_words,
            ["Throughput", "Throughput", "Latency", "Depth", "Memory", "Errors"]
        );
        assert_eq!(
            charts.iter().map(|chart| chart.lines.len()).sum::<usize>(),
            scenario.series.len()
        );
        let logarithmic: Vec<bool> = charts.iter().map(|chart| chart.may_be_logarithmic).collect();
        assert_eq!(logarithmic, [false, false, true, false, false, false]);
    }

    #[test]
    fn a_line_of_text_shows_rise_fall_and_gaps() {
        let value = |n: i32| (!(20..30).contains(&n)).then(|| f64::from(30 - (n - 30).abs()));
        let points: Vec<_> = (0..60).map(|n| (f64::from(n), value(n))).collect();
        assert_eq!(sparkline(&points, 60.0, 30.0, 30), "▁▂▂▃▃▄▄▅▅▅     ██▇▇▆▆▅▅▄▄▃▃▂▂▁");
        assert_eq!(sparkline(&[(0.0, Some(0.0))], 0.0, 0.0, 1), "▁");
        assert_eq!(sparkline(&[], 60.0, 0.0, 3), "   ");
    }
}

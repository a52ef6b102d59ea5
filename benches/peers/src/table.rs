//! Tables: the same rows for the terminal and for Markdown.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::aims::{best_peer, verdicts};
use crate::metrics::{self, Metric, TABLES};
use crate::ratios::{Spread, times_better};
use crate::results::Results;
use crate::systems::{Rank, SYSTEMS, System};

/// A table with a title.
#[derive(Debug, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}|\n", vec!["---"; self.header.len()].join("|"));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.header) + &rule + &rows
    }

    pub(crate) fn terminal(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(&self.header);
        for row in &self.rows {
            // What is written fat or slanted in Markdown.
            table.add_row(row.iter().map(|cell| cell.trim_matches(['*', '_'])));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n{table}\n", self.title)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Every table that has a figure.
pub(crate) fn sheets(results: &Results) -> Vec<Sheet> {
    let figures = TABLES.iter().map(|(title, metrics)| figures(results, title, metrics));
    let all = [ratios(results), aims(results)].into_iter().chain(figures).chain([limits(results)]);
    all.filter(|sheet| !sheet.is_empty()).collect()
}

/// A table of figures: a row for each system.
fn figures(results: &Results, title: &str, metrics: &[Metric]) -> Sheet {
    // What nobody has measured is no column.
    let shown: Vec<&Metric> = metrics.iter().filter(|metric| measured(results, metric)).collect();
    let header = std::iter::once(String::new());
    let header = header.chain(shown.iter().map(|metric| metric.title.to_owned())).collect();
    let took_part = SYSTEMS.iter().filter(|system| results.versions.contains_key(system.id));
    let rows = if shown.is_empty() {
        Vec::new()
    } else {
        took_part
            .filter(|system| shown.iter().any(|metric| is_there(results, system, metric)))
            .map(|system| row(results, system, &shown))
            .collect()
    };
    Sheet { title: title.to_owned(), header, rows }
}

fn measured(results: &Results, metric: &Metric) -> bool {
    SYSTEMS.iter().any(|system| is_there(results, system, metric))
}

fn is_there(results: &Results, system: &System, metric: &Metric) -> bool {
    results.median(system.id, metric.key).is_some()
}

fn row(results: &Results, system: &System, metrics: &[&Metric]) -> Vec<String> {
    let name = match system.rank {
        Rank::Ours => format!("**{}**", system.title),
        Rank::Peer => system.title.to_owned(),
        Rank::Limit => format!("_{}_", system.title),
    };
    let cells = metrics.iter().map(|metric| {
        let figure = results.spread(system.id, metric.key);
        figure.map_or_else(|| "–".to_owned(), |figure| cell(figure, metric.decimals))
    });
    std::iter::once(name).chain(cells).collect()
}

/// A figure: the median, and between brackets the least and the greatest if they differ.
fn cell(figure: Spread, decimals: usize) -> String {
    let [median, least, most] =
        [figure.median, figure.least, figure.most].map(|value| number(value, decimals));
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

/// How many times better ours are than the best peer.
fn ratios(results: &Results) -> Sheet {
    let ours: Vec<&System> = SYSTEMS
        .iter()
        .filter(|s| s.rank == Rank::Ours && results.figures.contains_key(s.id))
        .collect();
    let mut header = vec![String::new(), "best peer".to_owned()];
    header.extend(ours.iter().map(|system| system.title.to_owned()));
    header.push("broker, of the minimal loop".to_owned());
    let rows = metrics::all().filter_map(|metric| {
        let (peer, theirs) = best_peer(results, metric.key, metric.better)?;
        let times = ours.iter().map(|system| {
            let figure = results.median(system.id, metric.key)?;
            compare(metric, figure, theirs)
        });
        let times: Vec<Option<f64>> = times.collect();
        if times.iter().all(Option::is_none) {
            return None;
        }
        let first = metric.title.to_owned();
        let best = format!("{peer}: {}", number(theirs, metric.decimals));
        let times =
            times.into_iter().map(|times| times.map_or_else(dash, |t| format!("{}×", factor(t))));
        let minimal = results.median("minimal", metric.key);
        let broker = results.median("postworks-broker", metric.key);
        let share = broker.zip(minimal);
        let share = share.and_then(|(ours, minimal)| compare(metric, ours, minimal));
        let share = share.map_or_else(dash, |share| format!("{:.0} %", share * 100.0));
        Some([first, best].into_iter().chain(times).chain([share]).collect())
    });
    let title = "How many times better than the best peer".to_owned();
    Sheet { title, header, rows: rows.collect() }
}

/// How many times better one figure is than another, unless one of them is shown as zero.
fn compare(metric: &Metric, ours: f64, theirs: f64) -> Option<f64> {
    let shown = 0.5 / 10_f64.powi(metric.decimals as i32);
    let both = ours.abs() >= shown && theirs.abs() >= shown;
    both.then(|| times_better(ours, theirs, metric.better)).flatten()
}

fn aims(results: &Results) -> Sheet {
    let header = ["", "", "aim", "goal", "measured", ""].map(str::to_owned).to_vec();
    let rows = verdicts(results).into_iter().map(|verdict| {
        let (system, metric) = (verdict.system.to_owned(), verdict.metric.to_owned());
        vec![system, metric, verdict.aim, verdict.goal, verdict.measured, verdict.word.to_owned()]
    });
    Sheet { title: "What Postworks aims at".to_owned(), header, rows: rows.collect() }
}

fn limits(results: &Results) -> Sheet {
    let header = ["redis-benchmark, 200 bytes, 50 connections", "operations a second"];
    let rows = results
        .limits
        .iter()
        .filter_map(|(name, runs)| Some(vec![name.clone(), cell(crate::ratios::spread(runs)?, 0)]));
    let title = "What Redis can do on this machine".to_owned();
    Sheet { title, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

fn dash() -> String {
    "–".to_owned()
}

/// A factor: two digits that say something.
fn factor(times: f64) -> String {
    if times < 10.0 { format!("{times:.2}") } else { number(times, 0) }
}

/// A number with thousands parted.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let written = format!("{value:.decimals$}");
    // What rounds to nothing is nothing.
    let is_zero = written.chars().all(|digit| matches!(digit, '-' | '0' | '.'));
    let written = if is_zero { written.trim_start_matches('-') } else { &written };
    let (sign, written) = match written.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", written),
    };
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    let mut parted = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            parted.push(',');
        }
        parted.push(digit);
    }
    if fraction.is_empty() { parted } else { format!("{parted}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Found;

    fn results() -> Results {
        let mut results = Results::default();
        let mut add = |system: &str, figures: Vec<(&'static str, f64)>, gaps| {
            results.versions.insert(system.to_owned(), "1".to_owned());
            results.add(system, Found { figures, gaps });
        };
        add("postworks-broker", vec![(metrics::NOOP, 30_000.0), (metrics::RECOVERY, 0.5)], vec![]);
        add("postworks-broker", vec![(metrics::NOOP, 50_000.0)], vec![]);
        add("bullmq", vec![(metrics::NOOP, 20_000.0), (metrics::RECOVERY, 60.0)], vec![]);
        add(
            "sidekiq",
            vec![(metrics::NOOP, 10_000.0)],
            vec![(metrics::RECOVERY, "lost".to_owned())],
        );
        add("minimal", vec![(metrics::NOOP, 80_000.0)], vec![]);
        results
    }

    fn text(title: &str) -> String {
        let sheets = sheets(&results());
        sheets.iter().find(|sheet| sheet.title.starts_with(title)).unwrap().markdown()
    }

    #[test]
    fn a_row_has_the_median_and_what_it_varied_between() {
        let expected = "|  | no-op jobs |\n|---|---|\n\
            | **Postworks, broker** | 40,000 (30,000–50,000) |\n| BullMQ | 20,000 |\n\
            | Sidekiq | 10,000 |\n| _minimal script loop_ | 80,000 |\n";
        assert_eq!(text("Throughput"), expected);
    }

    #[test]
    fn a_system_without_any_figure_of_a_table_has_no_row_in_it() {
        let killed = text("A worker is killed");
        assert!(killed.contains("| BullMQ | 60.00 |"), "{killed}");
        assert!(!killed.contains("Sidekiq"), "{killed}");
    }

    #[test]
    fn ratios_are_to_the_best_peer_and_to_the_minimal_loop() {
        let ratios = text("How many times");
        assert!(ratios.contains("| no-op jobs | BullMQ: 20,000 | 2.00× | 50 % |"), "{ratios}");
        assert!(ratios.contains("after, s | BullMQ: 60.00 | 120× | – |"), "{ratios}");
    }

    #[test]
    fn what_is_shown_as_zero_is_compared_with_nothing() {
        let bytes = metrics::all().find(|metric| metric.key == metrics::BYTES_LEFT).unwrap();
        assert_eq!(compare(bytes, 0.4, 8.0), None);
        assert_eq!(compare(bytes, 2.0, 8.0), Some(4.0));
    }

    #[test]
    fn numbers_are_parted_and_what_rounds_to_nothing_has_no_sign() {
        let written = [(1_234_567.8, 0), (999.0, 0), (0.126, 2), (-0.2, 0), (-1_500.5, 1)];
        let written = written.map(|(value, decimals)| number(value, decimals));
        assert_eq!(written, ["1,234,568", "999", "0.13", "0", "-1,500.5"]);
    }
}

//! `docs/metrics.md` and the table of metrics say the same.

use std::collections::BTreeMap;

use postworks::telemetry::metrics::{Label, Metric, Values, Writer, all};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// The cells that follow from the code; what to do when it looks wrong is for people to write.
fn cells(metric: &Metric) -> [String; 5] {
    let labels: Vec<String> = metric.labels.iter().map(label).collect();
    let writer = match metric.writer {
        Writer::Process => "each process",
        Writer::Worker => "workers",
        Writer::Api => "APIs",
        Writer::Collector => "the collector",
    };
    let labels = if labels.is_empty() { "none".to_owned() } else { labels.join("; ") };
    [
        format!("`{}`", metric.name),
        metric.form.as_str().to_owned(),
        labels,
        writer.to_owned(),
        metric.help.to_owned(),
    ]
}

fn label(label: &Label) -> String {
    match label.values {
        Values::Words(words) => format!("`{}`: {}", label.name, words.join(", ")),
        _ => format!("`{}`", label.name),
    }
}

/// The rows of the page's tables of our metrics, by name.
fn rows() -> BTreeMap<String, Vec<String>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `postworks_"));
    let cells = rows.map(|row| -> Vec<String> {
        row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    });
    cells.map(|cells| (cells[0].clone(), cells)).collect()
}

#[test]
fn the_page_of_metrics_and_the_code_say_the_same() {
    let mut rows = rows();
    let mut faults = Vec::new();
    for metric in all() {
        let cells = cells(metric);
        let said = rows.remove(&cells[0]).unwrap_or_default();
        if said.get(..5) != Some(&cells) {
            faults.push(format!("| {} | …", cells.join(" | ")));
        } else if said.get(5).is_none_or(|advice| advice.len() < 10) {
            faults.push(format!("{}: what to do when it looks wrong?", metric.name));
        }
    }
    faults.extend(rows.keys().map(|name| format!("{name}: there is no such metric")));
    assert!(faults.is_empty(), "docs/metrics.md should say:\n{}", faults.join("\n"));
}

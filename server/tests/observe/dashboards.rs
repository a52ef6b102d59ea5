//! The dashboards as Grafana would read them: their panels, and what each asks of Prometheus.

use std::fs;

use serde_json::Value;

use crate::prometheus::{Prometheus, RATE, Series, root};

/// A dashboard's JSON.
pub(crate) struct Dashboard {
    /// Its file's name without the ending.
    pub(crate) name: String,
    /// The whole of it.
    pub(crate) json: Value,
}

/// What one panel asks, and what came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The dashboard's name.
    pub(crate) dashboard: String,
    /// The panel's id in its dashboard.
    pub(crate) panel: u64,
    /// The panel's title.
    pub(crate) title: String,
    /// The expression with its variables filled in.
    pub(crate) expression: String,
    /// The series, or what is wrong.
    pub(crate) series: Result<Vec<Series>, String>,
}

impl Answer {
    /// Whether there is a number to show.
    pub(crate) fn has_data(&self) -> bool {
        let numbers = |series: &Series| series.points.iter().any(|(_, value)| value.is_finite());
        self.series.as_ref().is_ok_and(|all| all.iter().any(numbers))
    }
}

/// All dashboards, by name.
pub(crate) fn all() -> Vec<Dashboard> {
    let files = fs::read_dir(root().join("dashboards")).expect("dashboards");
    let mut all: Vec<Dashboard> = files
        .map(|file| file.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| Dashboard {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            json: serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON"),
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

impl Dashboard {
    /// Its panels, without the rows' headings.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Value> {
        let panels = self.json["panels"].as_array().expect("panels").iter();
        panels.filter(|panel| panel["type"] != "row")
    }

    /// Asks everything that it shows, over a time in seconds since 1970.
    pub(crate) async fn ask(
        &self,
        prometheus: &Prometheus,
        span: (f64, f64),
        step: f64,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = filled(target["expr"].as_str().expect("an expression"));
                let series = if target["instant"] == true {
                    prometheus.now(&expression).await
                } else {
                    prometheus.over(&expression, span, step).await
                };
                answers.push(Answer {
                    dashboard: self.name.clone(),
                    panel: panel["id"].as_u64().expect("an id"),
                    title: panel["title"].as_str().expect("a title").to_owned(),
                    expression,
                    series,
                });
            }
        }
        answers
    }
}

/// An expression as Grafana sends it with everything chosen.
fn filled(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", RATE)
        .replace("\"$queue\"", "\".*\"")
        .replace("\"$kind\"", "\".*\"")
        .replace("\"$platform\"", "\".*\"");
    assert!(!filled.contains('$'), "a variable that nobody fills in: {filled}");
    filled
}

//! A picture of each dashboard, drawn from its own JSON and what Prometheus answered. It is a
//! preview by a few lines of ours and uPlot, not Grafana.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::dashboards::{self, Answer, Dashboard};
use crate::prometheus::root;

const WIDTH: u64 = 1_600;
/// A row of Grafana's grid, in pixels; `preview.js` has the same.
const ROW: u64 = 38;
const HEADING: u64 = 80;
/// A page is drawn within a second or two; a browser starts slowly on a busy machine.
const DRAW_MAX: Duration = Duration::from_secs(60);

/// Draws all dashboards into a folder, as pages and as pictures.
pub(crate) async fn draw_all(folder: &Path, span: (f64, f64), answers: &[Answer]) {
    for dashboard in dashboards::all() {
        let page = folder.join(format!("{}.html", dashboard.name));
        fs::write(&page, html(&dashboard, span, answers)).expect("a page");
        let picture = folder.join(format!("{}.png", dashboard.name));
        shoot(&page, &picture, HEADING + ROW * rows(&dashboard)).await;
        println!("{}", picture.display());
    }
}

fn rows(dashboard: &Dashboard) -> u64 {
    let end = |panel: &Value| {
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        side("y") + side("h")
    };
    dashboard.panels().map(end).max().unwrap_or(1)
}

fn html(dashboard: &Dashboard, (from, to): (f64, f64), answers: &[Answer]) -> String {
    let check = root().join("config/dashboards/check");
    let read = |path: &str| {
        fs::read_to_string(check.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let answered: Vec<Value> = answers
        .iter()
        .filter(|answer| answer.dashboard == dashboard.name)
        .map(|answer| {
            let series = answer.series.iter().flatten();
            let series: Vec<Value> = series
                .map(|series| json!({ "labels": series.labels, "points": points(&series.points) }))
                .collect();
            json!({ "panel": answer.panel, "series": series })
        })
        .collect();
    let data = json!({ "dashboard": dashboard.json, "answers": answered, "from": from, "to": to });
    read("preview.html")
        .replace("/* uplot.css */", &read("node_modules/uplot/dist/uPlot.min.css"))
        .replace("/* uplot.js */", &read("node_modules/uplot/dist/uPlot.iife.min.js"))
        .replace("/* preview.js */", &read("preview.js"))
        // Nothing that closes a script may be in it.
        .replace("/* data */", &data.to_string().replace("</", "<\\/"))
}

/// JSON has no word for what is no number.
fn points(points: &[(f64, f64)]) -> Value {
    let pair = |(time, value): &(f64, f64)| json!([time, value.is_finite().then_some(value)]);
    points.iter().map(pair).collect()
}

async fn shoot(page: &Path, picture: &Path, height: u64) {
    let profile = tempfile::tempdir().expect("a folder for a browser");
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg("--disable-background-networking")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={WIDTH},{height}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let drawn = tokio::time::timeout(DRAW_MAX, browser).await.expect("a browser that ends");
    let drawn = drawn.expect("chromium starts; `make setup-observe` installs it");
    assert!(drawn.success() && picture.exists(), "no picture of {}", page.display());
}

//! Dashboards as files: they are what their sources say, what Grafana reads, and explain themselves.

use std::fs;

use super::{run, try_run};
use crate::dashboards::{self, Dashboard};
use crate::prometheus::root;

/// Units of Grafana that we use; a misspelt one would be shown as a suffix.
const UNITS: [&str; 7] = ["short", "s", "ops", "reqps", "cpm", "percentunit", "bytes"];

#[test]
fn the_dashboards_are_what_their_sources_say() {
    run("node", &["config/dashboards/build.mjs", "--check"], ".");
}

#[test]
fn the_dashboards_fit_grafanas_types() {
    let said = run("node", &["config/dashboards/check/types.mjs"], ".");
    assert!(said.contains("6 dashboards"), "{said}");
}

#[test]
fn what_does_not_fit_grafanas_types_is_found() {
    let whole = fs::read_to_string(root().join("dashboards/queues.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong) in [
        ("\"multi\": true", "\"multi\": \"yes\""),
        ("\"placement\": \"bottom\"", "\"placement\": \"below\""),
        ("\"graphMode\": \"area\"", "\"graphModes\": \"area\""),
        ("\"schemaVersion\": 39", "\"schemaVersion\": \"39\""),
    ] {
        assert!(whole.contains(right), "{right}");
        let path = folder.path().join("broken.json");
        fs::write(&path, whole.replacen(right, wrong, 1)).unwrap();
        let script = "config/dashboards/check/types.mjs";
        let (good, said) = try_run("node", &[script, path.to_str().unwrap()], ".");
        assert!(!good && said.contains("error TS"), "{wrong} was not found: {said}");
    }
}

#[test]
fn every_panel_says_what_a_bad_picture_means_and_where_to_read_on() {
    let mut faults = Vec::new();
    let all = dashboards::all();
    for Dashboard { name, json } in &all {
        assert_eq!(json["uid"], format!("postworks-{name}"));
    }
    for dashboard in &all {
        for panel in dashboard.panels() {
            let at = format!("{} / {}", dashboard.name, panel["title"].as_str().unwrap());
            if panel["type"] == "text" {
                continue;
            }
            if panel["description"].as_str().is_none_or(|text| text.len() < 15) {
                faults.push(format!("{at}: does not say what it shows"));
            }
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            if !UNITS.contains(&unit) {
                faults.push(format!("{at}: unit {unit:?}"));
            }
            let link = panel["links"][0]["url"].as_str().unwrap_or_default();
            let Some(page) = link.strip_prefix("${runbooks}/") else {
                faults.push(format!("{at}: links to no runbook"));
                continue;
            };
            faults.extend(super::runbooks::missing(page).map(|fault| format!("{at}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn panels_lie_beside_each_other_and_not_upon() {
    for dashboard in dashboards::all() {
        let mut taken = std::collections::HashSet::new();
        for panel in dashboard.panels() {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{}: {}", dashboard.name, panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{}: {}", dashboard.name, panel["title"]);
                }
            }
        }
    }
}

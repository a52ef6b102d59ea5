//! Alerts as files: Prometheus reads them, and each is shown to fire and to stay quiet.

use std::fs;

use super::run;
use crate::prometheus::root;

/// The names of all alerts, as the rules spell them; an alert of several windows is there once.
pub(super) fn alerts() -> Vec<String> {
    let mut names = Vec::new();
    for file in fs::read_dir(root().join("config/prometheus/rules")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let found = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        names.extend(found.map(ToOwned::to_owned));
    }
    names.sort();
    names.dedup();
    assert!(names.len() > 25, "the alerts are gone: {names:?}");
    names
}

fn test_files() -> Vec<String> {
    let files = fs::read_dir(root().join("config/prometheus/tests")).unwrap();
    files.map(|file| format!("tests/{}", file.unwrap().file_name().to_string_lossy())).collect()
}

#[test]
fn prometheus_reads_our_configuration_and_rules() {
    run("promtool", &["check", "config", "prometheus.yml"], "config/prometheus");
}

#[test]
fn the_alerts_do_what_their_tests_say() {
    let files = test_files();
    let args: Vec<&str> =
        ["test", "rules"].into_iter().chain(files.iter().map(String::as_str)).collect();
    run("promtool", &args, "config/prometheus");
}

/// What tests promise: the alert, the rest of the name, and what is expected of `ALERTS`.
fn promises() -> Vec<(String, String, String)> {
    let mut promises = Vec::new();
    for file in test_files() {
        let text = fs::read_to_string(root().join("config/prometheus").join(file)).unwrap();
        for case in text.split("\n  - name: ").skip(1) {
            let name = case.lines().next().unwrap();
            let (alert, rest) = name.split_once(' ').unwrap();
            assert!(case.contains(&format!("alertname=\"{alert}\"")), "{name} asks for another");
            let expected = case.lines().find_map(|line| line.trim().strip_prefix("exp_samples: "));
            promises.push((alert.to_owned(), rest.to_owned(), expected.unwrap().to_owned()));
        }
    }
    promises
}

#[test]
fn each_alert_is_shown_to_fire_and_to_stay_quiet() {
    let promises = promises();
    for alert in alerts() {
        let said: Vec<_> = promises.iter().filter(|(name, ..)| *name == alert).collect();
        let fires = said.iter().any(|(_, rest, expected)| {
            rest.starts_with("fires") && expected.contains(&format!("alertname=\"{alert}\""))
        });
        let quiet = said
            .iter()
            .any(|(_, rest, expected)| rest.starts_with("stays quiet") && expected == "[]");
        assert!(fires && quiet, "{alert}: fires {fires}, stays quiet {quiet}");
    }
    for (alert, rest, expected) in promises {
        assert_eq!(rest.starts_with("stays quiet"), expected == "[]", "{alert} {rest}");
    }
}

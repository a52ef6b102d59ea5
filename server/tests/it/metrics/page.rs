//! A page of metrics, read as Prometheus would.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use postworks::telemetry::metrics::{Form, Label, Metric, Values, all};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::fleet::{Http, Process};

const DOCUMENTED: &str = include_str!("../../../../docs/metrics.md");

/// A series and its value.
#[derive(Debug)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// What a process shows.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    types: BTreeMap<String, String>,
    series: Vec<Series>,
}

impl Page {
    /// The page of a process now.
    pub(super) async fn of(process: &Process) -> Self {
        let answer = Http::new(process.url()).get("/metrics").await.expect(200);
        Self::read(answer.as_str().expect("a page of text"))
    }

    fn read(text: &str) -> Self {
        let mut page = Self { text: text.to_owned(), ..Self::default() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                Some((name, form)) => {
                    let before = page.types.insert(name.to_owned(), form.to_owned());
                    assert_eq!(before, None, "{name} is there twice");
                }
                None if line.starts_with('#') => {}
                None => page.series.push(series(line)),
            }
        }
        page
    }

    /// Whether there is a metric of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// The value of a series with these values of its labels, in order.
    pub(super) fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let is_it = |series: &&Series| {
            series.name == name && series.labels.iter().map(|(_, value)| value).eq(labels)
        };
        self.series.iter().find(is_it).map(|series| series.value)
    }

    /// Another process' page beside this one.
    pub(super) fn add(&mut self, other: Self) {
        self.types.extend(other.types);
        self.series.extend(other.series);
    }

    /// Fails unless each series is one of the table, or one of the library's that the page of
    /// metrics names.
    #[track_caller]
    pub(super) fn must_follow_the_table(&self) {
        let table: BTreeMap<&str, &Metric> = all().map(|metric| (metric.name, metric)).collect();
        for (name, form) in &self.types {
            match table.get(name.as_str()) {
                Some(metric) => assert_eq!(metric.form.as_str(), form, "{name}"),
                None => {
                    assert!(name.starts_with("process_"), "{name} is in no table");
                    assert!(DOCUMENTED.contains(&format!("`{name}`")), "{name} is undocumented");
                }
            }
        }
        for Series { name, labels, .. } in &self.series {
            let Some(metric) = table.get(self.family(name)) else { continue };
            let said = labels.iter().filter(|(label, _)| label != "le");
            let known = metric.labels.iter();
            assert_eq!(said.clone().count(), known.clone().count(), "{name} {labels:?}");
            for ((label, value), known) in said.zip(known) {
                assert_eq!(label, known.name, "{name}");
                assert!(may_say(known, value), "{name}: {label} must not be {value:?}");
            }
            assert_eq!(
                labels.iter().any(|(label, _)| label == "le"),
                name.ends_with("_bucket") && matches!(metric.form, Form::Histogram(_)),
                "{name}"
            );
        }
    }

    /// Fails unless every metric of the table is here.
    #[track_caller]
    pub(super) fn must_be_the_whole_table(&self) {
        let missing: BTreeSet<&str> =
            all().map(|metric| metric.name).filter(|name| !self.has(name)).collect();
        assert!(missing.is_empty(), "nobody shows {missing:?}");
    }

    /// Fails if Prometheus' own tool finds a fault.
    pub(super) async fn must_please_promtool(&self) {
        let mut checking = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool, which `make setup` installs");
        let mut stdin = checking.stdin.take().expect("its input");
        stdin.write_all(self.text.as_bytes()).await.expect("it reads");
        drop(stdin);
        let checked = checking.wait_with_output().await.expect("it ends");
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }

    /// A series' metric: a histogram has several series.
    fn family<'a>(&self, name: &'a str) -> &'a str {
        let parts = ["_bucket", "_sum", "_count"];
        let family = parts.iter().find_map(|part| name.strip_suffix(part));
        family
            .filter(|family| self.types.get(*family).is_some_and(|form| form == "histogram"))
            .unwrap_or(name)
    }
}

fn series(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    // None of our values holds a quote or a comma.
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (label, value) = pair.split_once('=').expect("a pair");
        (label.to_owned(), value.trim_matches('"').to_owned())
    };
    Series {
        name: name.to_owned(),
        labels: pairs.map(pair).collect(),
        value: value.parse().expect("a number"),
    }
}

fn may_say(label: &Label, value: &str) -> bool {
    const PLATFORMS: [&str; 12] = [
        "bluesky",
        "facebook",
        "instagram",
        "linkedin",
        "mastodon",
        "matrix",
        "sandbox",
        "sandbox_blind",
        "sandbox_lookup",
        "threads",
        "wordpress",
        "x",
    ];
    const KINDS: [&str; 4] =
        ["connector_sync", "data_cleanup", "post_publication", "token_refresh"];
    match label.values {
        Values::Words(words) => words.contains(&value),
        Values::Platforms => PLATFORMS.contains(&value),
        Values::Kinds => KINDS.contains(&value),
        Values::Queues => match value.split_once('.') {
            Some((kind, platform)) => KINDS.contains(&kind) && PLATFORMS.contains(&platform),
            None => value == "data_cleanup",
        },
        Values::Routes => value == "unmatched" || value.starts_with('/'),
        Values::Statuses => value.len() == 3 && value.parse::<u16>().is_ok(),
        Values::Versions => value == env!("CARGO_PKG_VERSION"),
    }
}

//! A private Prometheus with our rules over the processes of a fleet.
//!
//! Its configuration is `config/prometheus/prometheus.yml`, with other addresses and intervals.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::fleet::{Http, LONG, until};

/// Between two scrapes, and two looks at the rules.
pub(crate) const SCRAPE: &str = "1s";
/// What Grafana would put for `$__rate_interval` at this interval: four scrapes, and one more for
/// a scrape that is late.
pub(crate) const RATE: &str = "5s";

/// A Prometheus that ends with this value.
pub(crate) struct Prometheus {
    http: Http,
    folder: PathBuf,
    _process: Child,
}

/// A series of an answer: its labels, and its values with their times in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Its labels, in JSON.
    pub(crate) labels: Value,
    /// Times and values.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Where the repository is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is around the package")
}

impl Prometheus {
    /// Starts one that scrapes what [`Self::scrape`] names. An alert whose condition must hold for a
    /// time, and one that goes on for a time, have these times divided by `haste`.
    pub(crate) async fn start(folder: &Path, haste: u32) -> Self {
        let folder = folder.join("prometheus");
        fs::create_dir_all(folder.join("rules")).expect("a folder for Prometheus");
        let given = root().join("config/prometheus");
        for rules in fs::read_dir(given.join("rules")).expect("our rules") {
            let rules = rules.expect("an entry").path();
            let text = fs::read_to_string(&rules).expect("rules");
            let name = rules.file_name().expect("a file's name");
            fs::write(folder.join("rules").join(name), hurried(&text, haste)).expect("a copy");
        }
        let config = fs::read_to_string(given.join("prometheus.yml")).expect("our configuration");
        fs::write(folder.join("prometheus.yml"), of_a_fleet(&config)).expect("a configuration");
        fs::write(folder.join("fleet.json"), "[]").expect("a list of nobody");
        let log = folder.join("prometheus.log");
        let process = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file for its log"))
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus starts; `make setup` installs it");
        let mut http = None;
        until("Prometheus does not listen", LONG, async || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let address = said.split("msg=\"Listening on\" address=").nth(1);
            let address = address.and_then(|rest| rest.lines().next());
            http = address.map(|address| Http::new(&format!("http://{address}")));
            let Some(http) = &http else { return false };
            http.try_get("/-/ready").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        Self { http: http.expect("it listens"), folder, _process: process }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        self.http.base()
    }

    /// Names all that is to be scraped, each with its role.
    pub(crate) fn scrape(&self, pages: &[(&str, &str)]) {
        let group = |(role, url): &(&str, &str)| json!({ "targets": [url.trim_start_matches("http://")], "labels": { "role": role } });
        let groups: Vec<Value> = pages.iter().map(group).collect();
        // A file that is half written would be refused, with a word in the log.
        let next = self.folder.join("fleet.json.next");
        fs::write(&next, json!(groups).to_string()).expect("a list of addresses");
        fs::rename(next, self.folder.join("fleet.json")).expect("a list in its place");
    }

    /// What an expression says now, or what is wrong with it.
    pub(crate) async fn now(&self, expression: &str) -> Result<Vec<Series>, String> {
        self.ask("query", &[("query", expression)]).await
    }

    /// What an expression says over a time, or what is wrong with it.
    pub(crate) async fn over(
        &self,
        expression: &str,
        (from, to): (f64, f64),
        step: f64,
    ) -> Result<Vec<Series>, String> {
        let (from, to, step) = (from.to_string(), to.to_string(), step.to_string());
        let asked = [
            ("query", expression),
            ("start", from.as_str()),
            ("end", to.as_str()),
            ("step", step.as_str()),
        ];
        self.ask("query_range", &asked).await
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Vec<Series>, String> {
        let path = url::Url::parse_with_params("http://x/", parameters).expect("an address");
        let path = format!("/api/v1/{what}?{}", path.query().unwrap_or_default());
        let answer = self.http.get(&path).await.body;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let (data, form) = (&answer["data"]["result"], &answer["data"]["resultType"]);
        if form == "scalar" {
            return Ok(vec![Series { labels: json!({}), points: vec![point(data)] }]);
        }
        let rows = data.as_array().ok_or("no list of series")?;
        Ok(rows.iter().map(series).collect())
    }

    /// The rules as they were loaded, in JSON.
    pub(crate) async fn alerts(&self) -> Vec<Value> {
        let answer = self.http.get("/api/v1/rules?type=alert").await.expect(200);
        let groups = answer["data"]["groups"].as_array().expect("groups").clone();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// Which alerts fire now, with how many of each.
    pub(crate) async fn firing(&self) -> BTreeMap<String, usize> {
        let firing = self.now("count by (alertname) (ALERTS{alertstate=\"firing\"})").await;
        let rows = firing.expect("a sound expression");
        let row = |series: &Series| {
            let name = series.labels["alertname"].as_str().expect("an alert's name").to_owned();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = series.points[0].1 as usize;
            (name, count)
        };
        rows.iter().map(row).collect()
    }
}

fn series(row: &Value) -> Series {
    let points = match row["values"].as_array() {
        Some(values) => values.iter().map(point).collect(),
        None => vec![point(&row["value"])],
    };
    Series { labels: row["metric"].clone(), points }
}

fn point(pair: &Value) -> (f64, f64) {
    let value = pair[1].as_str().and_then(|text| text.parse().ok());
    (pair[0].as_f64().expect("a time"), value.expect("a number in quotes"))
}

/// Our configuration for a fleet that a file names, looked at every second.
fn of_a_fleet(config: &str) -> String {
    let (head, _) = config.split_once("scrape_configs:").expect("what is scraped");
    let discovery = "  - job_name: postworks\n    file_sd_configs:\n      - \
                     {files: [fleet.json], refresh_interval: 1s}\n";
    let head = head.replace("_interval: 15s", &format!("_interval: {SCRAPE}"));
    assert_eq!(head.matches(&format!("_interval: {SCRAPE}")).count(), 2, "the intervals moved");
    format!("{head}scrape_configs:\n{discovery}")
}

/// The same rules, sooner: only how long a condition must hold, and how long an alert goes on.
fn hurried(rules: &str, haste: u32) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let time = ["for: ", "keep_firing_for: "]
            .into_iter()
            .find_map(|key| Some((key, line.trim_start().strip_prefix(key)?)));
        match time {
            Some((key, span)) => {
                let span: Duration = humantime::parse_duration(span).expect("a time of Prometheus");
                let indent = &line[..line.len() - line.trim_start().len()];
                text += &format!("{indent}{key}{}ms\n", span.as_millis() / u128::from(haste));
            }
            None => text += &format!("{line}\n"),
        }
    }
    text
}

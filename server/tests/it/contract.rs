//! The shapes that strangers' programs rely on, against the real binary: `postworks up` in a
//! folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use crate::fleet::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

struct Up {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Up {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_postworks"))
            .args(["up", "--listen", "127.0.0.1:0", "--workers", "1"])
            .env_clear()
            .env("POSTWORKS_DATA_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = stdout.next_line().await.unwrap().expect("a line for the listener");
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&ready["event"], &ready["role"]), (&json!("listening"), &json!("api")));
        assert_eq!(ready["pid"], child.id().unwrap());
        let url = ready["url"].as_str().unwrap().to_owned();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, stdout, url, client, _folder: folder }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn metrics(&self) -> String {
        let answer = self.client.get(format!("{}/metrics", self.url)).send().await.unwrap();
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        answer.text().await.unwrap()
    }

    async fn until_completed(&self, id: &str) -> Value {
        let mut job = Value::Null;
        until(&format!("job {id} has not completed"), Duration::from_secs(10), async || {
            job = self.ask("GET", &format!("/api/jobs/{id}"), None).await.1;
            job["state"] == "completed"
        })
        .await;
        job
    }

    /// Stops it as an operator would; it says nothing more on stdout and ends well.
    async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert_eq!(self.stdout.next_line().await.unwrap(), None, "stdout has the ready lines only");
        assert_eq!(self.child.wait().await.unwrap().code(), Some(0), "drained is 0");
    }
}

#[track_caller]
fn assert_fields(value: &Value, fields: &[&str]) {
    let there: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    for field in fields {
        assert!(there.contains(field), "{field} is missing in {value}");
    }
}

#[tokio::test]
async fn the_routes_of_jobs_dead_letters_and_health_have_their_shapes() {
    let up = Up::start().await;
    let job = json!({"kind": "DataCleanup", "args": {"scope": "jobs", "dry_run": true},
        "unique_key": "k", "priority": 3600, "max_attempts": 5, "delay_ms": 3_600_000,
        "expires_at": "2999-01-01T00:00:00Z"});
    let (status, accepted) = up.ask("POST", "/api/jobs", Some(job.clone())).await;
    assert_eq!(
        (status, &accepted["created"], &accepted["state"]),
        (202, &json!(true), &json!("delayed"))
    );
    let (status, again) = up.ask("POST", "/api/jobs", Some(job)).await;
    assert_eq!((status, &again["created"], &again["id"]), (200, &json!(false), &accepted["id"]));
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    let (_, shown) = up.ask("GET", &format!("/api/jobs/{id}"), None).await;
    assert_fields(
        &shown,
        &[
            "id",
            "kind",
            "queue",
            "state",
            "args",
            "attempt",
            "max_attempts",
            "run_at",
            "created_at",
            "finished_at",
            "reason",
            "attempts",
        ],
    );
    assert!(shown["run_at"].as_str().unwrap().ends_with('Z'), "UTC");
    let cancelled = up.ask("DELETE", &format!("/api/jobs/{id}"), None).await;
    assert_eq!(cancelled, (200, json!({"state": "cancelled"})));
    let jobs = json!({"jobs": [{"kind": "data_cleanup"}, {"kind": "data_cleanup"}]});
    let (status, bulk) = up.ask("POST", "/api/jobs/bulk", Some(jobs)).await;
    assert_eq!((status, bulk["jobs"].as_array().unwrap().len()), (202, 2));
    let done = up.until_completed(bulk["jobs"][0]["id"].as_str().unwrap()).await;
    assert_fields(
        &done["attempts"][0],
        &["n", "started_at", "ended_at", "outcome", "error", "worker"],
    );
    for path in ["/api/jobs", "/api/connectors", "/api/posts", "/api/dlq", "/api/effects"] {
        let (status, page) = up.ask("GET", path, None).await;
        assert_eq!(status, 200);
        assert!(page["items"].is_array() && page["next"].is_null(), "{path}: {page}");
    }
    let retry =
        up.ask("POST", "/api/dlq/retry", Some(json!({"filter": {}, "dry_run": true}))).await;
    let plan = json!({"matched": 0, "runnable": 0, "done": 0, "unknown": 0, "superseded": 0});
    assert_eq!(retry, (202, json!({ "plan": plan })));
    assert_eq!(up.ask("GET", "/livez", None).await.0, 200);
    for path in ["/readyz", "/health", "/api/health"] {
        let ready = up.ask("GET", path, None).await;
        assert_eq!(ready, (200, json!({"status": "ok", "missing": []})), "{path}");
    }
    up.stop().await;
}

#[tokio::test]
async fn the_routes_of_accounts_posts_and_publications_have_their_shapes() {
    let up = Up::start().await;
    let connector = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
        "identifier": "ann", "secret": "hush"});
    let (status, connector) = up.ask("POST", "/api/connectors", Some(connector)).await;
    assert_eq!(status, 201);
    let (status, post) = up.ask("POST", "/api/posts", Some(json!({"text": "hello"}))).await;
    assert_eq!(status, 201);
    let publish = json!({"post_id": post["id"], "connector_ids": [connector["id"]]});
    let (status, published) = up.ask("POST", "/api/publish", Some(publish)).await;
    assert_eq!(status, 202);
    let publication = &published["publications"][0];
    assert_fields(publication, &["id", "connector_id", "job_id"]);
    let path = format!("/api/publications/{}", publication["id"].as_str().unwrap());
    let (_, shown) = up.ask("GET", &path, None).await;
    assert_fields(&shown, &["id", "state", "remote_id", "remote_url"]);
    let (_, connectors) = up.ask("GET", "/api/connectors", None).await;
    assert_eq!(connectors["items"][0]["state"], "active");
    assert!(!connectors.to_string().contains("hush"));
    up.stop().await;
}

/// The samples of an exposition by series, each line checked for its form.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut typed, mut samples) = (BTreeSet::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(typed.insert(name.to_owned()), "{name} has two types");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let has_type = typed.contains(name) || base.is_some_and(|base| typed.contains(base));
        assert!(has_type, "{name} has no type");
        // What the system knows of a process has the names that Prometheus' own clients use.
        let ours = ["postworks_", "process_"].iter().any(|prefix| name.starts_with(prefix));
        assert!(ours, "{name}");
        assert!(!series.contains("0198") && !series.contains("ann"), "an id or name: {series}");
        let before = samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "{series} is there twice");
    }
    samples
}

#[tokio::test]
async fn metrics_have_the_contracts_names_and_counters_start_at_zero() {
    let up = Up::start().await;
    let first = samples(&up.metrics().await);
    for counter in [
        "postworks_jobs_enqueued_total{queue=\"data_cleanup\",kind=\"data_cleanup\"}",
        "postworks_job_attempts_total{queue=\"data_cleanup\",kind=\"data_cleanup\",outcome=\"dead\"}",
        "postworks_dead_lettered_total{queue=\"post_publication.bluesky\",\
         kind=\"post_publication\",category=\"auth\"}",
        "postworks_jobs_reclaimed_total",
        "postworks_leases_lost_total",
        "postworks_stale_settles_total",
        "postworks_admission_refused_total{reason=\"depth\"}",
        "postworks_admission_refused_total{reason=\"in_flight\"}",
        "postworks_admission_state{reason=\"postgres_wait\"}",
        "postworks_rate_limited_total",
        "postworks_health_cache_total{result=\"hit\"}",
    ] {
        assert_eq!(first.get(counter), Some(&0.0), "{counter}");
    }
    assert!(first.keys().any(|series| series.starts_with("postworks_jobs_snoozed_total{queue=")));
    let (_, accepted) = up.ask("POST", "/api/jobs", Some(json!({"kind": "data_cleanup"}))).await;
    up.until_completed(accepted["id"].as_str().unwrap()).await;
    // A job is counted just after its end is on record.
    let mut after = samples(&up.metrics().await);
    until("the job is not counted", Duration::from_secs(2), async || {
        after = samples(&up.metrics().await);
        after.contains_key("postworks_job_total_seconds_count{kind=\"data_cleanup\"}")
    })
    .await;
    for (series, value) in [
        ("postworks_jobs_enqueued_total{queue=\"data_cleanup\",kind=\"data_cleanup\"}", 1.0),
        (
            "postworks_job_attempts_total{queue=\"data_cleanup\",kind=\"data_cleanup\",\
             outcome=\"completed\"}",
            1.0,
        ),
        ("postworks_job_wait_seconds_count{kind=\"data_cleanup\"}", 1.0),
        ("postworks_job_run_seconds_count{kind=\"data_cleanup\"}", 1.0),
        ("postworks_job_total_seconds_count{kind=\"data_cleanup\"}", 1.0),
        (
            "postworks_http_request_duration_seconds_count{route=\"/api/jobs\",method=\"POST\",\
             status=\"202\"}",
            1.0,
        ),
        ("postworks_dlq_jobs{queue=\"data_cleanup\",category=\"bug\"}", 0.0),
    ] {
        assert_eq!(after.get(series), Some(&value), "{series}");
    }
    for gauge in [
        "queue_jobs{queue=\"data_cleanup\",state=\"ready\"}",
        "queue_oldest_ready_age_seconds{queue=\"data_cleanup\"}",
    ] {
        assert!(after.contains_key(&format!("postworks_{gauge}")), "{gauge}");
    }
    for path in ["/nothing", "/api/jobs/x", "/api/jobs/y"] {
        up.ask("GET", path, None).await;
    }
    let text = up.metrics().await;
    assert!(text.contains("route=\"unmatched\"") && !text.contains("/nothing"), "closed labels");
    up.stop().await;
}

//! The fleet that is watched, and what can be done to it.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fleet::{ANY, Fleet, LONG, POSTWORKS, Process, Publication, until};
use crate::load::Load;
use crate::prometheus::Prometheus;

/// The breaker closes soon after the platform is well again, and the API takes ten thousand jobs.
const SETTINGS: &[(&str, &str)] = &[
    ("POSTWORKS__BREAKER__COOLDOWN", "5s"),
    ("POSTWORKS__BREAKER__COOLDOWN_MAX", "5s"),
    ("POSTWORKS__ADMISSION__DEPTH", "10500"),
];
/// What the first two workers serve: all but cleaning up.
const SERVED: &str = "post_publication.*,connector_sync.*,token_refresh.*";
/// What Redis may use when it is not being starved.
const REDIS_MAX: u64 = 512 * 1024 * 1024;

/// A fleet, its Prometheus, and its load.
pub(crate) struct Scene {
    /// Fields are dropped in order: first who needs the others.
    load: Option<Load>,
    /// What is asked about everything.
    pub(crate) prometheus: Prometheus,
    workers: Vec<Process>,
    second_api: Process,
    /// Stores, the platform, an API and a client.
    pub(crate) fleet: Fleet,
    accounts: Vec<String>,
    /// `sandbox-4`, whose posts the platform will not have.
    pub(crate) doomed: Vec<String>,
    /// `sandbox_blind-0`, on a platform that forgets what it was asked.
    pub(crate) blind: Vec<String>,
    /// `sandbox-5`, whose posts take their time.
    slow: Vec<String>,
    /// The pages of processes that are gone and are still asked for.
    gone: Vec<String>,
    rules: Vec<(&'static str, Value)>,
}

impl Scene {
    /// Starts all of it, and lets every account publish once.
    pub(crate) async fn start(folder: &Path, haste: u32) -> Self {
        let fleet = Fleet::start_with(SETTINGS).await;
        let mut second_api = fleet.command("second-api", &["api", "--listen", ANY]);
        second_api.listening("api").await;
        let workers = vec![
            fleet.worker(&["--queues", SERVED, "--concurrency", "50"]).await,
            fleet.worker(&["--queues", SERVED, "--concurrency", "50"]).await,
        ];
        let mut accounts = fleet.connect("sandbox", 6).await;
        let (slow, doomed) = (accounts.split_off(5), accounts.split_off(4));
        accounts.extend(fleet.connect("sandbox_lookup", 4).await);
        let blind = fleet.connect("sandbox_blind", 1).await;
        let prometheus = Prometheus::start(folder, haste).await;
        let mut scene = Self {
            load: None,
            prometheus,
            workers,
            second_api,
            fleet,
            accounts,
            doomed,
            blind,
            slow,
            gone: Vec::new(),
            rules: Vec::new(),
        };
        scene.redis(&format!("CONFIG SET maxmemory {REDIS_MAX}"));
        scene.scrape();
        let usual = json!([
            {"op": "publish", "account": "sandbox-5", "action": "latency",
                "latency_ms": {"p50": 3_000, "p99": 3_000}},
            {"op": "publish", "action": "latency", "latency_ms": {"p50": 60, "p99": 400}},
        ]);
        scene.fault("usual", usual).await;
        until("not all is scraped", LONG, async || {
            let up = scene.prometheus.now("count(up == 1)").await.expect("sound");
            up.first().is_some_and(|series| series.points[0].1 > 3.5)
        })
        .await;
        scene
    }

    /// Where the API answers.
    pub(crate) fn api(&self) -> &str {
        self.fleet.api.url()
    }

    /// Lets the load begin.
    pub(crate) fn begin_load(&mut self) {
        self.load = Some(Load::start(self.fleet.api.url(), self.second_api.url(), &self.accounts));
    }

    fn scrape(&self) {
        let mut pages = vec![("api", self.fleet.api.url()), ("api", self.second_api.url())];
        pages.extend(self.workers.iter().map(|worker| ("worker", worker.url())));
        pages.extend(self.gone.iter().map(|url| ("worker", url.as_str())));
        self.prometheus.scrape(&pages);
    }

    /// Starts another worker.
    pub(crate) async fn worker(&mut self, queues: &str) {
        let worker = self.fleet.worker(&["--queues", queues, "--concurrency", "50"]).await;
        self.workers.push(worker);
        self.scrape();
    }

    /// Starts a worker like the first ones.
    pub(crate) async fn another_worker(&mut self) {
        self.worker(SERVED).await;
    }

    /// Kills the first worker while it holds jobs.
    pub(crate) async fn kill_a_worker(&mut self) {
        self.keep_busy(0).await;
        let mut worker = self.workers.remove(0);
        worker.kill9().await;
        self.gone.push(worker.url().to_owned());
    }

    /// Takes those that are gone off the list of what is scraped.
    pub(crate) fn forget_the_gone(&mut self) {
        self.gone.clear();
        self.scrape();
    }

    /// Stops the first worker where it is, while it runs jobs, for longer than a lease.
    pub(crate) async fn freeze_a_worker(&mut self) {
        self.keep_busy(0).await;
        self.workers[0].signal(Signal::SIGSTOP);
        // Time is what is being tested here: more than a lease of ten seconds.
        tokio::time::sleep(std::time::Duration::from_secs(13)).await;
        self.workers[0].signal(Signal::SIGCONT);
    }

    /// Publishes slow posts until a worker holds some.
    async fn keep_busy(&mut self, worker: usize) {
        let queue = "post_publication.sandbox";
        let slow = self.slow.clone();
        until("the worker holds nothing", LONG, async || {
            for n in 0..10 {
                self.publish(&format!("slow {n}"), &slow).await;
            }
            self.fleet.held_by(&self.workers[worker], queue).len() > 3
        })
        .await;
    }

    /// Publishes; nothing if the API refuses.
    pub(crate) async fn publish(&self, words: &str, accounts: &[String]) -> Vec<Publication> {
        let http = &self.fleet.client.http;
        let post = http.try_post("/api/posts", &json!({ "text": words })).await;
        let Some(post) = post.ok().filter(|answer| answer.status == 201) else { return Vec::new() };
        let publish = json!({ "post_id": post.body["id"], "connector_ids": accounts });
        let Ok(answer) = http.try_post("/api/publish", &publish).await else { return Vec::new() };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = answer.body["publications"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| Publication { id: text(&row["id"]), job: text(&row["job_id"]) })
            .collect()
    }

    /// Lets the platform have faults under a name, before those it has already.
    pub(crate) async fn fault(&mut self, name: &'static str, rules: Value) {
        self.rules.retain(|(other, _)| *other != name);
        self.rules.insert(0, (name, rules));
        self.tell_faults().await;
    }

    /// Takes faults of this name away.
    pub(crate) async fn mend(&mut self, name: &str) {
        self.rules.retain(|(other, _)| *other != name);
        self.tell_faults().await;
    }

    async fn tell_faults(&self) {
        let all = self.rules.iter().flat_map(|(_, rules)| rules.as_array().expect("rules").clone());
        self.fleet.sandbox.faults(Value::from(all.collect::<Vec<_>>())).await;
    }

    /// Asks Redis something as its operator.
    pub(crate) fn redis(&self, command: &str) -> String {
        let said = self.fleet.redis.command(command);
        assert!(!said.starts_with('-'), "{command}: {said}");
        said
    }

    /// Lets Redis use this share of what it may.
    pub(crate) fn fill_redis(&self, share: f64) {
        let info = self.redis("INFO memory");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let used: f64 = used.and_then(|text| text.trim().parse().ok()).expect("memory in use");
        self.redis(&format!("CONFIG SET maxmemory {:.0}", used / share));
    }

    /// Gives Redis its memory back.
    pub(crate) fn free_redis(&self) {
        self.redis(&format!("CONFIG SET maxmemory {REDIS_MAX}"));
    }

    /// Whether an alert fires now.
    pub(crate) async fn fires(&self, alert: &str) -> bool {
        self.prometheus.firing().await.contains_key(alert)
    }

    /// Waits until an alert fires, or has had the time to; the end of the run judges which.
    pub(crate) async fn until_fires(&self, alert: &str) {
        let waiting = until("an alert", 2 * LONG, async || self.fires(alert).await);
        let _ = tokio::time::timeout(LONG, waiting).await;
    }

    /// Posts to the API and expects this status.
    pub(crate) async fn tell(&self, path: &str, body: Value, status: u16) -> Value {
        self.fleet.client.http.post(path, &body).await.expect(status)
    }

    /// Runs a command of ours against the API.
    pub(crate) async fn command(&self, args: &[&str]) -> String {
        let args = [&["--server", self.api()], args].concat();
        let ran = crate::fleet::run(&args, &[]).await;
        assert_eq!(ran.code, 0, "{POSTWORKS} {}: {}", args.join(" "), ran.stderr);
        ran.stdout
    }
}

//! What the HTTP API can take: requests at a rate from this process, answered by an API in another
//! one, over loopback, on a private Redis and a private PostgreSQL that waits for the disk.
//!
//! `make bench-api` runs it and prints one table with the aim beside each figure. `--quick` takes
//! a minute and says little; `--only WORD` measures the groups whose name holds the word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench talks, and fails by panicking"
)]

#[path = "../../tests/it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod fleet;
mod load;
#[path = "../../../benches/engine/machine.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod machine;
mod overload;
mod people;
#[path = "../../../benches/engine/report.rs"]
#[allow(dead_code, reason = "the engine's bench uses the rest")]
mod report;
mod target;
mod tenants;

use std::time::{Duration, Instant};

use load::{Load, Outcome, Pace};
use report::Report;
use target::Target;

/// Connections of an ordinary load.
const CONNECTIONS: usize = 64;
/// Connections of a load that looks for a limit: with fewer, requests would wait for a connection
/// rather than for the API.
pub(crate) const MANY_CONNECTIONS: usize = 512;
/// Rates of single jobs that are tried, lowest first, until one is too high.
const JOB_RATES: [f64; 9] =
    [2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0, 14_000.0, 16_000.0, 20_000.0];
/// The highest p99 at which a rate counts as sustained, in milliseconds.
const JOB_P99_MS: f64 = 50.0;

struct Plan {
    span: Duration,
    only: Option<String>,
}

impl Plan {
    fn of_arguments() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let quick = args.iter().any(|arg| arg == "--quick");
        let only = args.iter().skip_while(|arg| *arg != "--only").nth(1).cloned();
        Self { span: Duration::from_secs(if quick { 2 } else { 10 }), only }
    }

    fn wants(&self, group: &str) -> bool {
        self.only.as_ref().is_none_or(|word| group.contains(word.as_str()))
    }

    fn load(&self, rate: f64) -> Load {
        Load { pace: Pace::Rate(rate), span: self.span, connections: CONNECTIONS }
    }
}

/// Every request of the whole run, for what is said of them all.
#[derive(Default)]
struct Totals {
    requests: u64,
    bad: u64,
    opened: u64,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.requests += outcome.requests();
        // A refusal is deliberate; everything else that is not 2xx is not.
        self.bad += outcome.requests() - outcome.good() - outcome.refusals();
        self.opened += outcome.opened;
    }
}

#[tokio::main]
async fn main() {
    let plan = Plan::of_arguments();
    let started = Instant::now();
    let target = Target::start().await;
    let mut report = Report::new(machine::facts(&target.fleet.postgres).await);
    let mut totals = Totals::default();
    if plan.wants("health") {
        let outcome = target.get("/api/health", plan.load(5_000.0)).await;
        report.at_most("health", "GET /api/health at 5,000/s, p99", outcome.ms(99.0), "ms", 2.0);
        say(&mut report, "health", "answered", &outcome);
        totals.add(&outcome);
    }
    if plan.wants("lists") {
        for path in ["/api/connectors", "/api/posts"] {
            let outcome = target.get(path, plan.load(1_000.0)).await;
            let name = format!("GET {path} at 1,000/s, p99");
            report.at_most("lists", &name, outcome.ms(99.0), "ms", 10.0);
            say(&mut report, "lists", "answered", &outcome);
            totals.add(&outcome);
        }
    }
    if plan.wants("publish") {
        let outcome = target.publish(plan.load(500.0)).await;
        report.at_most("publish", "POST /api/publish at 500/s, p99", outcome.ms(99.0), "ms", 25.0);
        say(&mut report, "publish", "committed", &outcome);
        totals.add(&outcome);
    }
    if plan.wants("tenants") {
        tenants::measure(&plan, &target, &mut report).await;
    }
    if plan.wants("jobs") {
        jobs(&plan, &target, &mut report, &mut totals).await;
    }
    if plan.wants("people") {
        people::measure(&plan, &target, &mut report, &mut totals).await;
    }
    if plan.wants("overload") {
        overload::measure(&plan, &target, &mut report, &mut totals).await;
    }
    let share = |part: u64| 100.0 * (1.0 - part as f64 / totals.requests.max(1) as f64);
    report.at_least("all", "requests that succeeded", share(totals.bad), "%", 99.99);
    report.at_least(
        "all",
        "requests on a connection that was there",
        share(totals.opened),
        "%",
        99.0,
    );
    report.print(started.elapsed());
}

/// Raises the rate until single jobs are not accepted in time any more.
async fn jobs(plan: &Plan, target: &Target, report: &mut Report, totals: &mut Totals) {
    let (mut best, mut p99) = (0.0, 0.0);
    for rate in JOB_RATES {
        let load = Load { connections: MANY_CONNECTIONS, ..plan.load(rate) };
        let outcome = target.jobs(load).await;
        let sustained = outcome.ms(99.0) <= JOB_P99_MS && outcome.goodput() >= rate * 0.98;
        println!(
            "  POST /api/jobs at {rate}/s: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms",
            outcome.goodput(),
            outcome.ms(50.0),
            outcome.ms(99.0)
        );
        totals.add(&outcome);
        if !sustained {
            break;
        }
        (best, p99) = (rate, outcome.ms(99.0));
    }
    report.at_least("jobs", "POST /api/jobs, highest rate at p99 <= 50 ms", best, "/s", 7_999.0);
    report.figure("jobs", "p99 at that rate", p99, "ms");
}

fn say(report: &mut Report, group: &'static str, what: &str, outcome: &Outcome) {
    report.figure(group, &format!("  {what} a second"), outcome.goodput(), "/s");
}

//! G1: a platform fails for a minute, while another one is well.

use std::time::Duration;

use postworks::testing::chaos_proxy::{ChaosProxy, Target};
use serde_json::{Value, json};

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, now_ms};
use crate::history::History;
use crate::run::Run;
use crate::world::{Account, Plan, World};

const FAILING: &str = "post_publication.sandbox";
const WORKERS: usize = 3;
/// Posts on each of ten accounts of the failing platform.
const POSTS: usize = 30;
/// How long every call fails, in milliseconds. Then one in twenty does, until the breaker closes.
const DOWN_MS: i64 = 60_000;
/// The platform that is well is measured over so long before, and over thirds of the failure.
const BEFORE_MS: i64 = 20_000;
/// Calls that were under way when the breaker opened reach the platform, or end, within this.
const UNDER_WAY_MS: i64 = 500;
/// A breaker that closes lets everything pass after this.
const RAMP_MS: i64 = 2_000;
/// From so many calls on a breaker may open.
const THRESHOLD: usize = 20;
const PROBES: usize = 3;

/// What was seen at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: i64,
    /// Publish requests to the failing platform so far.
    calls: usize,
    epoch: i64,
    /// Until when the breaker is open, if it is.
    open_ms: Option<i64>,
}

/// A time in which the breaker was open.
#[derive(Debug, Clone, Copy)]
struct Opening {
    at: Sample,
    until_ms: i64,
    /// When it changed again.
    end: Sample,
}

pub(crate) async fn platform_down(run: Run) {
    let mut world = run.world(Plan::default()).await;
    let sandbox = world.fleet.sandbox.url().trim_start_matches("http://").parse();
    let way = Target::Tcp(sandbox.expect("an address"));
    let other_way = ChaosProxy::start(way, run.seed + 20).await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(world.worker(&format!("worker-{n}"), &["--concurrency", "20"]).await);
    }
    let failing = world.connect("sandbox", 10).await;
    let well = world.connect_by("sandbox_lookup", 4, &other_way).await;
    world.journal.publish("first", &failing).await;
    world.quiet(LONG).await;
    let calls_before = world.publish_calls.count();

    let (fed, feeding) = tokio::sync::oneshot::channel::<()>();
    let (samples, ()) = tokio::join!(fail(&world, &failing, fed), feed(&world, &well, feeding));
    let lived: Vec<_> = workers.iter().collect();
    let allowed = Allowed { extra_calls: Some(400), failures: true, ..Allowed::default() };
    let history = run.check(&world, &lived, true, &allowed).await;

    let openings = openings(&samples);
    run.must(!openings.is_empty(), Invariant::I11, "the breaker never opened");
    if openings.is_empty() {
        return;
    }
    report_openings(&run, &samples, &openings, calls_before);
    report_attempts(&run, &history, &openings);
    let calls = (world.publish_calls.count() - calls_before) as f64;
    run.figure(
        "a platform fails for 60 s: calls for one post",
        calls / (POSTS * failing.len()) as f64,
        1.5,
        "calls",
    );
    report_neighbour(&run, &history, &well, samples[0].at_ms + BEFORE_MS);
}

/// Lets the platform fail and come back; answers what was seen meanwhile.
async fn fail(
    world: &World,
    accounts: &[Account],
    fed: tokio::sync::oneshot::Sender<()>,
) -> Vec<Sample> {
    let mut samples = vec![sample(world)];
    let start_ms = samples[0].at_ms + BEFORE_MS;
    watch(world, &mut samples, |sample| sample.at_ms >= start_ms).await;
    world.fleet.sandbox.faults(rules(accounts, 1.0)).await;
    let publishing = world.journal.publish_many("down", POSTS, accounts);
    let watching = watch(world, &mut samples, |sample| sample.at_ms >= start_ms + DOWN_MS);
    tokio::join!(publishing, watching);
    world.fleet.sandbox.faults(rules(accounts, 0.05)).await;
    // The last cooldown is two minutes at most.
    let end_ms = start_ms + DOWN_MS + 150_000;
    watch(world, &mut samples, |sample| sample.open_ms.is_none() || sample.at_ms > end_ms).await;
    watch_for(world, &mut samples, RAMP_MS + 3_000).await;
    world.fleet.sandbox.faults(json!([])).await;
    drop(fed);
    samples
}

fn rules(accounts: &[Account], p: f64) -> Value {
    let rule = |account: &Account| {
        json!({ "op": "publish", "account": account.remote, "p": p, "action": "error",
            "status": 503 })
    };
    accounts.iter().map(rule).collect()
}

/// Publishes on the platform that is well, four times a second, until the other's failure is over.
async fn feed(world: &World, accounts: &[Account], mut over: tokio::sync::oneshot::Receiver<()>) {
    let mut n = 0;
    // Time is the subject: the load is so many posts a second.
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            _ = &mut over => return,
            _ = tick.tick() => {}
        }
        world.journal.publish(&format!("well {n}"), accounts).await;
        n += 1;
    }
}

fn sample(world: &World) -> Sample {
    Sample {
        epoch: world.gate(FAILING, "epoch").unwrap_or(0),
        open_ms: world.gate(FAILING, "open"),
        at_ms: now_ms(),
        calls: world.publish_calls.count(),
    }
}

async fn watch(world: &World, samples: &mut Vec<Sample>, done: impl Fn(&Sample) -> bool) {
    loop {
        let now = sample(world);
        samples.push(now);
        if done(&now) {
            return;
        }
        // Time is the subject: what is seen at a moment, many times a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn watch_for(world: &World, samples: &mut Vec<Sample>, span_ms: i64) {
    let end_ms = now_ms() + span_ms;
    watch(world, samples, |sample| sample.at_ms >= end_ms).await;
}

fn openings(samples: &[Sample]) -> Vec<Opening> {
    let changes: Vec<Sample> = samples
        .windows(2)
        .filter(|pair| pair[0].epoch != pair[1].epoch)
        .map(|pair| pair[1])
        .collect();
    let ends = changes.iter().skip(1);
    let pairs = changes.iter().zip(ends);
    let opening =
        |(at, end): (&Sample, &Sample)| Some(Opening { at: *at, until_ms: at.open_ms?, end: *end });
    pairs.filter_map(opening).collect()
}

/// The last sample at this time or before.
fn at(samples: &[Sample], ms: i64) -> &Sample {
    samples.iter().take_while(|sample| sample.at_ms <= ms).last().unwrap_or(&samples[0])
}

fn report_openings(run: &Run, samples: &[Sample], openings: &[Opening], calls_before: usize) {
    let threshold = samples.iter().find(|sample| sample.calls >= calls_before + THRESHOLD);
    let threshold_ms = threshold.map_or(0, |sample| sample.at_ms);
    let opened = openings[0].at.at_ms - threshold_ms;
    let span = |ms: i64| Duration::from_millis(ms.max(0).unsigned_abs());
    run.time("a platform fails: the breaker opens after the 20th call within", span(opened), 1.0);
    let mut while_open = 0;
    let mut probes = 0;
    for opening in openings {
        let from = at(samples, opening.at.at_ms + UNDER_WAY_MS);
        let until = at(samples, opening.until_ms);
        while_open += until.calls.saturating_sub(from.calls);
        probes = probes.max(opening.end.calls.saturating_sub(until.calls));
    }
    run.figure("calls while the breaker was open", while_open as f64, 0.0, "calls");
    run.figure(
        "probes of the whole fleet in a half-open phase",
        probes as f64,
        PROBES as f64,
        "calls",
    );
    let last = openings[openings.len() - 1];
    run.must(last.end.open_ms.is_none(), Invariant::I9, "the breaker did not close");
    let closed = last.end.at_ms + RAMP_MS - last.until_ms;
    run.time("closed after the last cooldown within", span(closed), 3.0);
    let lengths: Vec<String> = openings
        .iter()
        .map(|one| format!("{:.1} s", span(one.until_ms - one.at.at_ms).as_secs_f64()))
        .collect();
    run.note(format!("it was open for {}", lengths.join(", ")));
}

/// By the database's own notes: attempts that were counted as failed in the middle of an opening.
fn report_attempts(run: &Run, history: &History, openings: &[Opening]) {
    let open = |at_ms: i64| {
        openings.iter().any(|one| {
            (one.at.at_ms + 2 * UNDER_WAY_MS..one.until_ms.min(one.end.at_ms)).contains(&at_ms)
        })
    };
    let burnt = history
        .changes
        .iter()
        .filter(|change| change.failed > change.old_failed.unwrap_or(0) && open(change.at_ms))
        .count();
    run.figure("attempts burnt while the breaker was open", burnt as f64, 0.0, "attempts");
}

/// How long posts of the platform that is well took, from commit to commit, before the other one
/// failed and in each third of that.
fn report_neighbour(run: &Run, history: &History, well: &[Account], failed_from_ms: i64) {
    let ours: Vec<&str> = well.iter().map(|account| account.remote.as_str()).collect();
    let is_ours = |job: &str| {
        let mut all = history.publications.iter();
        all.any(|row| row.job_id == job && ours.contains(&row.account.as_str()))
    };
    let created = history.changes.iter().filter(|change| change.old_state.is_none());
    let took: Vec<(i64, i64)> = created
        .filter(|change| is_ours(&change.job))
        .filter_map(|born| {
            let mut later = history.changes.iter();
            let end = later.find(|change| change.job == born.job && change.state == "completed")?;
            Some((born.at_ms, end.at_ms - born.at_ms))
        })
        .collect();
    let p99 = |from: i64, to: i64| {
        let mut span: Vec<i64> =
            took.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, ms)| *ms).collect();
        span.sort_unstable();
        let place = (span.len() * 99 / 100).min(span.len().saturating_sub(1));
        span.get(place).copied().unwrap_or(0)
    };
    let before = p99(failed_from_ms - BEFORE_MS, failed_from_ms).max(1);
    let third = DOWN_MS / 3;
    let mut during: Vec<i64> =
        (0..3).map(|n| p99(failed_from_ms + n * third, failed_from_ms + (n + 1) * third)).collect();
    run.note(format!("the platform that was well: p99 {before} ms before, then {during:?} ms"));
    during.sort_unstable();
    run.figure(
        "another platform's p99 meanwhile, median of three, to that before",
        during[1] as f64 / before as f64,
        1.25,
        "times",
    );
}

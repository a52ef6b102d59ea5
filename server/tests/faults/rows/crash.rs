//! W2, W5, W8: workers that are killed or replaced in numbers.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process, now_ms, until};
use crate::run::Run;
use crate::world::Plan;

const QUEUE: &str = "post_publication.sandbox";
const OVER: &str = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL";
/// Posts that run when a worker is killed, and that wait.
const RUNNING: usize = 50;
const PENDING: usize = 500;

/// Kills a worker with all its places taken, while another begins with ten times as much.
pub(crate) async fn mass_crash(run: Run) {
    let plan = Plan { durable_redis: true, ..Plan::default() };
    let mut world = run.world(plan).await;
    let flags = ["--concurrency", "50", "--queues", QUEUE];
    // A connection for five jobs, as the settings advise: with fewer they wait for each other.
    let pool = [("POSTWORKS__LEDGER__POOL_SIZE", "40".to_owned())];
    let mut doomed = world.worker_with("doomed", &flags, &pool).await;
    let accounts = world.connect("sandbox", RUNNING / 5).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(300).await;
    // All of it waits before any of it runs: the worker is full, however slowly it is accepted.
    world.tell_queue(QUEUE, "pause").await;
    world.journal.publish_many("mass", (PENDING + RUNNING) / accounts.len(), &accounts).await;
    world.tell_queue(QUEUE, "resume").await;
    if run.plant.is_some() {
        // A bug may leave no leases to count: then jobs are over as soon as they are claimed.
        let over = world.count(OVER).await;
        let claimed = i64::try_from(RUNNING * 9 / 10).expect("a small number");
        until("the worker takes nothing", LONG, async || {
            let held = world.fleet.held_by(&doomed, QUEUE).len();
            held >= RUNNING * 9 / 10 || world.count(OVER).await >= over + claimed
        })
        .await;
    } else {
        world.holds(&doomed, QUEUE, RUNNING * 9 / 10).await;
    }

    // Frozen first, so that what it holds is what it holds when it dies.
    doomed.signal(Signal::SIGSTOP);
    let orphans = world.fleet.held_by(&doomed, QUEUE);
    // With places to spare: a full worker's jobs wait for each other, not for the recovery.
    let flags = ["--concurrency", "700", "--queues", QUEUE];
    let other = world.worker_with("other", &flags, &pool).await;
    if run.plant.is_none() {
        world.holds(&other, QUEUE, PENDING * 9 / 10).await;
    }
    let died_ms = now_ms();
    doomed.kill9().await;
    let extra = orphans.len() as u64;
    let allowed = Allowed { extra_calls: Some(extra), ..Allowed::default() };
    let history = run.check(&world, &[&other], false, &allowed).await;

    let mut again: Vec<i64> = Vec::new();
    for orphan in &orphans {
        let next = history.changes.iter().find(|change| {
            change.job == *orphan
                && change.app == "other"
                && change.at_ms >= died_ms
                && change.stamps()
        });
        // One that was settled before it died runs no more.
        again.extend(next.map(|change| change.at_ms - died_ms));
    }
    again.sort_unstable();
    let Some(p99) = again.get((again.len() * 99 / 100).min(again.len().saturating_sub(1))) else {
        run.must(run.plant.is_some(), Invariant::I9, "no orphan ran again");
        return;
    };
    run.note(format!("{} orphans of {} running jobs", again.len(), orphans.len()));
    run.time(
        "orphans of a killed worker run again, p99",
        Duration::from_millis(p99.unsigned_abs()),
        1.0,
    );
}

/// Replaces every worker, twice, while work goes on; then more of them, until enough was handed back
/// for a count of attempts to say anything.
pub(crate) async fn rolling_restart(run: Run) {
    const PLACES: usize = 5;
    let mut world = run.world(Plan::default()).await;
    let flags = ["--concurrency", &PLACES.to_string(), "--grace", "20s", "--queues", QUEUE];
    let mut workers = Vec::new();
    for n in 0..3 {
        workers.push(world.worker(&format!("old-{n}"), &flags).await);
    }
    let accounts = world.connect("sandbox", 10).await;
    world.fleet.sandbox.slow_down(150).await;
    let is_over = Cell::new(false);
    let feeding = async {
        for n in 0.. {
            world.journal.publish_many(&format!("rolling {n}"), 4, &accounts).await;
            if is_over.get() {
                break;
            }
        }
    };
    let replacing = async {
        let (mut longest, mut back, mut replaced) = (Duration::ZERO, 0, 0);
        while replaced < 6 || (back < 3 && replaced < 20) {
            let fresh = world.worker(&format!("new-{replaced}"), &flags).await;
            let mut old = workers.remove(0);
            workers.push(fresh);
            // A job beyond its places has hardly begun: that is what it hands back.
            world.holds(&old, QUEUE, PLACES + 1).await;
            longest = longest.max(drain(&run, &mut old).await);
            back += handed_back(&old);
            replaced += 1;
        }
        is_over.set(true);
        run.note(format!("{back} jobs handed back by {replaced} workers"));
        run.must(back > 0, Invariant::I9, "no worker had anything to hand back");
        longest
    };
    let ((), longest) = tokio::join!(feeding, replacing);
    let lived: Vec<&Process> = workers.iter().collect();
    let allowed = Allowed { extra_calls: Some(0), ..Allowed::default() };
    let history = run.check(&world, &lived, false, &allowed).await;
    let burnt = history.jobs.iter().filter(|job| job.failed_attempts > 0).count();
    run.time("a worker drains", longest, 25.0);
    run.figure("rolling restart: attempts burnt", burnt as f64, 0.0, "attempts");
    let calls = history.publish_calls.saturating_sub(history.publications.len() as u64);
    run.figure("rolling restart: requests sent again", calls as f64, 0.0, "requests");
}

/// Lets a worker end by itself; answers how long that took.
async fn drain(run: &Run, worker: &mut Process) -> Duration {
    let told = Instant::now();
    worker.signal(Signal::SIGTERM);
    let (status, _) = worker.ended(LONG).await;
    run.must(status.code() == Some(0), Invariant::I9, format!("a drain ended with {status}"));
    told.elapsed()
}

/// How many jobs a worker that has ended says to have handed back.
fn handed_back(worker: &Process) -> u64 {
    let log = worker.log();
    let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.find_map(|entry| entry["handed_back"].as_u64()).unwrap_or(0)
}

/// Starts twenty workers at once, lets them idle, gives them work, and kills all but one.
pub(crate) async fn mass_start(run: Run) {
    const WORKERS: usize = 20;
    let mut world = run.world(Plan::default()).await;
    let flags = ["--concurrency", "5"];
    let commands = || number(&world.fleet.redis.command("INFO stats"), "total_commands_processed:");
    let asked_within = async |span: Duration| {
        let (before, since) = (commands(), Instant::now());
        // Time is the subject: commands in so many seconds.
        tokio::time::sleep(span).await;
        (commands() - before) / since.elapsed().as_secs_f64()
    };
    let asked_a_second = async || {
        // A start is over when no fewer are asked than in the second before.
        let mut last = f64::INFINITY;
        loop {
            let now = asked_within(Duration::from_secs(1)).await;
            if now >= last {
                break;
            }
            last = now;
        }
        asked_within(Duration::from_secs(10)).await
    };
    // The API asks for the depth of queues all the time, and would hide what is to be measured. What
    // one worker does for all of them, as the gauges, is done by the first one then.
    world.fleet.api.signal(Signal::SIGSTOP);
    let first = world.worker("herd-0", &flags).await;
    let of_one = asked_a_second().await;
    let names: Vec<String> = (1..WORKERS).map(|n| format!("herd-{n}")).collect();
    let start = Instant::now();
    let mut workers = join_all(names.iter().map(|name| world.worker(name, &flags))).await;
    workers.insert(0, first);
    run.note(format!(
        "{} more were ready after {:.1} s",
        names.len(),
        start.elapsed().as_secs_f64()
    ));

    // Idle, nobody asks for nothing.
    let of_all = asked_a_second().await;
    run.note(format!("commands a second: {of_one:.1} of one worker, {of_all:.1} of {WORKERS}"));
    let asked = (of_all - of_one) / (WORKERS - 1) as f64;
    run.figure("commands a second of an idle worker", asked, 2.0, "commands");
    world.fleet.api.signal(Signal::SIGCONT);

    let accounts = world.connect("sandbox", 10).await;
    world.fleet.sandbox.slow_down(100).await;
    world.journal.publish_many("herd", 30, &accounts).await;
    let busy = Instant::now();
    let used = || number(&world.fleet.redis.command("INFO cpu"), "used_cpu_user:");
    let used_before = used();
    until("nothing is published", LONG, async || world.fleet.sandbox.journal().0.len() > 50).await;
    for worker in workers.iter_mut().skip(1) {
        worker.kill9().await;
    }
    // Twenty processes on a small machine: a sender may be held up until it may not send any more.
    let allowed = Allowed { extra_calls: Some(100), failures: true, ..Allowed::default() };
    run.check(&world, &[&workers[0]], false, &allowed).await;
    let load = (used() - used_before) / busy.elapsed().as_secs_f64();
    run.figure("Redis' processor under a mass crash", 100.0 * load, 70.0, "%");
}

/// A number in an answer of Redis' `INFO`.
fn number(info: &str, name: &str) -> f64 {
    let value = info.lines().find_map(|line| line.trim().strip_prefix(name));
    value.and_then(|value| value.parse().ok()).expect("a number in INFO")
}

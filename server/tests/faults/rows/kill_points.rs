//! W1: a worker dies at each moment at which its death could lose or double something.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use postworks::faults::Point;
use postworks::testing::chaos_proxy::{Spring, Trap, Way};
use serde_json::json;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process, now_ms};
use crate::run::Run;
use crate::world::{Account, Plan, World};

/// The points that a worker passes by itself, each with how often it lives through it first.
const POINTS: [(Point, usize); 11] = [
    (Point::ClaimAnswered, 0),
    (Point::ClaimHeld, 0),
    (Point::StampDone, 0),
    (Point::IntentBefore, 2),
    (Point::IntentCommitted, 2),
    (Point::PublishAnswered, 2),
    (Point::OutcomeBefore, 2),
    (Point::VerdictRecorded, 1),
    (Point::SettleAnswered, 1),
    (Point::RetryRecorded, 0),
    (Point::RenewAnswered, 0),
];
/// The platform's three characters; the first knows a request again.
const PLATFORMS: [&str; 3] = ["sandbox", "sandbox_lookup", "sandbox_blind"];
/// Posts that are published at each point, on each platform's accounts: 200 in all.
const POSTS: usize = 5;
/// How long a publish takes, in milliseconds: a worker is in the middle of several.
const LATENCY_MS: u32 = 120;
const FLAGS: [&str; 2] = ["--concurrency", "10"];
const PLAN: Plan = Plan {
    durable_redis: true,
    sentinels: false,
    // Renewed often, so that a worker passes that point soon; the lease stays as it is.
    settings: &[("POSTWORKS__LEASE__RENEW", "250ms")],
};
/// A blind platform's jobs may end with a person; nobody else's may.
const ALLOWED: Allowed = Allowed {
    waiting: false,
    extra_calls: Some(10 * 13),
    dead: &["unknown_outcome"],
    failures: true,
    peak_mib: None,
};

pub(crate) async fn kill_points(run: Run) {
    let mut world = run.world(PLAN).await;
    let survivor = world.worker("survivor", &FLAGS).await;
    let mut accounts = Vec::new();
    // A planted bug must not be made good by a platform that knows a request again.
    for platform in PLATFORMS.into_iter().skip(usize::from(run.plant.is_some())) {
        accounts.extend(world.connect(platform, 1).await);
    }
    world.fleet.sandbox.slow_down(LATENCY_MS).await;
    let mut deaths = Vec::new();
    let points =
        POINTS.iter().filter(|(point, _)| run.plant.is_none() || *point == Point::PublishAnswered);
    for (point, lives) in points {
        let failing = matches!(point, Point::RetryRecorded);
        if failing {
            fail_often(&world).await;
        }
        let action = format!("{}={lives}*off->1*return(kill)", point.name());
        let mut doomed = world.doomed(point.name(), &FLAGS, &action).await;
        let died = feed_until_dead(&world, &mut doomed, point.name(), &accounts).await;
        run.must(died.is_some(), Invariant::I9, format!("{} was never met", point.name()));
        deaths.extend(died.map(|at_ms| (point.name(), at_ms)));
        // One death at a time: a job that three workers in a row die with counts as poisonous.
        world.calm(LONG).await;
        world.fleet.sandbox.slow_down(LATENCY_MS).await;
    }
    if run.plant.is_none() {
        deaths.push(("http.half", half_a_request(&world, &accounts).await));
        world.calm(LONG).await;
        deaths.push(("drain", in_drain(&world, &accounts).await));
    }
    let history = run.check(&world, &[&survivor], false, &ALLOWED).await;

    // What a dead worker had stamped and not settled runs again: how long after its death?
    let mut again: Vec<i64> = Vec::new();
    for (doomed, died_ms) in &deaths {
        let held = history.changes.iter().filter(|change| change.app == *doomed && change.stamps());
        for stamp in held {
            let of_job = || history.changes.iter().filter(|change| change.job == stamp.job);
            let settled = of_job().any(|change| change.settles() && change.token == stamp.token);
            let next = of_job().find(|change| change.stamps() && change.token > stamp.token);
            if let (false, Some(next)) = (settled, next) {
                again.push(next.at_ms - died_ms);
            }
        }
    }
    again.sort_unstable();
    if let Some(&max) = again.last() {
        let p99 = again[(again.len() * 99).div_ceil(100) - 1];
        run.note(format!("{} orphans ran again", again.len()));
        // The row runs beside others; W2 measures the promise of a second.
        run.time("orphans run again, p99", millis(p99), 5.0);
        run.time("orphans run again, longest", millis(max), 8.0);
    }
    let out: Vec<_> = history.effects.iter().filter_map(|effect| effect.target()).collect();
    let distinct: BTreeSet<_> = out.iter().copied().collect();
    let copies = (out.len() - distinct.len()) as f64;
    run.figure("publications that are out twice, 13 kill points", copies, 0.0, "posts");
    run.note(format!("{} posts accepted, {} out", world.journal.accepted(), distinct.len()));
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

/// Half of all publishes are refused for now.
async fn fail_often(world: &World) {
    let rules = json!([{ "op": "publish", "action": "error", "p": 0.5, "status": 503 }]);
    world.fleet.sandbox.faults(rules).await;
}

/// Publishes until the process is gone; answers when it died.
async fn feed_until_dead(
    world: &World,
    doomed: &mut Process,
    name: &str,
    accounts: &[Account],
) -> Option<i64> {
    for round in 0..8 {
        world.journal.publish_many(&format!("{name} {round}"), POSTS, accounts).await;
        if doomed.is_gone_within(Duration::from_millis(1_500)).await {
            return Some(now_ms());
        }
    }
    None
}

/// Kills a worker that has written half a request.
async fn half_a_request(world: &World, accounts: &[Account]) -> i64 {
    let mut doomed = world.worker("http.half", &FLAGS).await;
    let trap =
        world.platform.set_trap(Trap::new(Way::ToServer, "POST /posts", Spring::StopAfter(40)));
    // The survivor's request may be the one; whoever sent it, the worker dies in the middle.
    world.journal.publish_many("half", POSTS, accounts).await;
    tokio::time::timeout(LONG, trap.sprung()).await.expect("a request on its way");
    doomed.kill9().await;
    now_ms()
}

/// Kills a worker that was told to stop, with its hands full.
async fn in_drain(world: &World, accounts: &[Account]) -> i64 {
    let action = format!("{}=1*return(kill)", Point::DrainBegun.name());
    let mut doomed = world.doomed("drain", &FLAGS, &action).await;
    world.journal.publish_many("drain", POSTS, accounts).await;
    doomed.signal(Signal::SIGTERM);
    assert!(doomed.is_gone_within(LONG).await, "it did not die in its drain");
    now_ms()
}

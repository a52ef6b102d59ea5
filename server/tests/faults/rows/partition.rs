//! R6: single workers lose Redis, each in another way, while everybody else has it.

use std::time::Duration;

use postworks::testing::chaos_proxy::{ChaosProxy, Flow, Target, Way, Weather};

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process, now_ms};
use crate::run::Run;
use crate::world::{Plan, redis_url};

const FLAGS: [&str; 2] = ["--concurrency", "5"];
const WAYS: [&str; 4] = ["silence", "lost-answers", "resets", "half-open"];
/// Leases are short here, so that a partition outlasts them.
const LEASE_S: f64 = 3.0;

pub(crate) async fn partitions(run: Run) {
    let plan = Plan {
        durable_redis: false,
        sentinels: false,
        settings: &[("POSTWORKS__LEASE__DURATION", "3s"), ("POSTWORKS__LEASE__RENEW", "500ms")],
    };
    let mut world = run.world(plan).await;
    let healthy = world.worker("healthy", &["--concurrency", "20"]).await;
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(800).await;
    let target = Target::Unix(world.fleet.redis.folder().join("redis.sock"));
    let mut cut_off = Vec::new();
    for (n, way) in WAYS.into_iter().enumerate() {
        let proxy = ChaosProxy::start(target.clone(), run.seed + 10 + n as u64).await;
        let more = [("REDIS_URL", redis_url(&proxy))];
        cut_off.push((world.worker_with(way, &FLAGS, &more).await, proxy));
    }
    world.journal.publish_many("cut off", 12, &accounts).await;
    let cut_ms = now_ms();
    for (way, (_, proxy)) in WAYS.iter().zip(&cut_off) {
        match *way {
            "silence" => proxy.partition(),
            "lost-answers" => proxy.set(Way::ToClient, Weather::of(Flow::Swallow)),
            "resets" => proxy.go_away(),
            _ => proxy.set(Way::ToServer, Weather::of(Flow::Hold)),
        }
    }
    let went_on = world.quiet(Duration::from_secs(40)).await;
    run.must(went_on, Invariant::I9, "the jobs of workers without Redis did not run elsewhere");
    cut_off.iter().for_each(|(_, proxy)| proxy.heal());
    world.journal.publish_many("healed", 6, &accounts).await;
    let mut lived: Vec<&Process> = cut_off.iter().map(|(worker, _)| worker).collect();
    lived.push(&healthy);
    let allowed = Allowed { extra_calls: Some(20), ..Allowed::default() };
    let history = run.check(&world, &lived, false, &allowed).await;
    // Jobs that a worker had when it was cut off, and that another had to take over.
    let taken = history.changes.iter().filter(|change| {
        change.stamps() && WAYS.contains(&change.app.as_str()) && change.at_ms <= cut_ms
    });
    let again = taken.filter_map(|stamp| {
        let next = history
            .changes
            .iter()
            .find(|next| next.job == stamp.job && next.stamps() && next.token > stamp.token)?;
        Some(next.at_ms - cut_ms)
    });
    if let Some(longest) = again.max() {
        let longest = Duration::from_millis(longest.max(0).unsigned_abs());
        run.time("jobs of a worker without Redis run elsewhere", longest, LEASE_S + 2.0);
    }
}

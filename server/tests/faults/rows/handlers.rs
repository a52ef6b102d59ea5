//! W6, W7: jobs that harm the worker that runs them.

use std::time::Duration;

use postworks::faults::Point;
use serde_json::json;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process};
use crate::run::Run;
use crate::world::Plan;

/// Handlers that panic, whose platform never answers, and that block the runtime.
pub(crate) async fn bad_handlers(run: Run) {
    let plan = Plan {
        durable_redis: false,
        sentinels: false,
        settings: &[
            ("POSTWORKS__LEASE__DURATION", "3s"),
            ("POSTWORKS__LEASE__RENEW", "500ms"),
            ("POSTWORKS__KINDS__POST_PUBLICATION__TIMEOUT", "4s"),
        ],
    };
    let mut world = run.world(plan).await;
    let flags = ["--concurrency", "10"];
    let steady = world.worker("steady", &flags).await;
    let accounts = world.connect("sandbox", 5).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;

    // One handler panics: its job dies as a bug, nothing else does.
    let point = Point::IntentBefore.name();
    let mut panics =
        world.doomed("panics", &flags, &format!("{point}=1*panic(on purpose)->off")).await;
    world.journal.publish_many("panic", 6, &accounts).await;
    world.quiet(LONG).await;
    panics.must_run();
    panics.kill9().await;

    // Two requests are never answered: their attempts end at their limit.
    world.fleet.sandbox.faults(json!([{ "op": "publish", "action": "hang", "times": 2 }])).await;
    world.journal.publish_many("hang", 2, &accounts).await;

    // Every thread of a runtime is blocked for longer than a lease and its watchdog wait.
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let action = format!("{point}={threads}*sleep(14000)->off");
    let blocked = world.doomed("blocked", &flags, &action).await;
    world.journal.publish_many("block", 6, &accounts).await;
    let lived: [&Process; 2] = [&steady, &blocked];
    let allowed =
        Allowed { extra_calls: Some(20), failures: true, dead: &["bug"], ..Allowed::default() };
    let history = run.check(&world, &lived, false, &allowed).await;
    let bugs = history.jobs.iter().filter(|job| job.state == "dead").count();
    run.must(bugs <= 1, Invariant::I1, format!("{bugs} jobs died of one panic"));
    run.note(format!("{bugs} of {} jobs died of the panic", history.jobs.len()));
}

/// A job takes down every worker that runs it.
pub(crate) async fn poison(run: Run) {
    let mut world = run.world(Plan::default()).await;
    let flags = ["--concurrency", "10"];
    let accounts = {
        let mut first = world.worker("first", &flags).await;
        let accounts = world.connect("sandbox", 5).await;
        world.journal.publish("first", &accounts).await;
        world.quiet(LONG).await;
        first.kill9().await;
        accounts
    };
    world.fleet.sandbox.slow_down(100).await;
    world.journal.publish("poison", &accounts[..1]).await;
    world.journal.publish_many("neighbour", 20, &accounts).await;
    let action = format!("{}=return(kill)", Point::PoisonRun.name());
    let mut crashes = 0;
    let mut worker = world.doomed("w-0", &flags, &action).await;
    // A supervisor starts it again, as systemd would.
    let over = loop {
        if worker.is_gone_within(Duration::from_secs(1)).await {
            crashes += 1;
            if crashes > 6 {
                break false;
            }
            worker = world.doomed(&format!("w-{crashes}"), &flags, &action).await;
        } else if world.quiet(Duration::from_millis(10)).await {
            break true;
        }
    };
    run.must(over, Invariant::I9, format!("a poisonous job took {crashes} workers down"));
    let allowed =
        Allowed { extra_calls: Some(60), dead: &["poison"], failures: true, ..Allowed::default() };
    let history = run.check(&world, &[&worker], false, &allowed).await;
    let dead: Vec<_> = history.jobs.iter().filter(|job| job.state == "dead").collect();
    run.must(
        dead.len() == 1,
        Invariant::I1,
        format!("{} jobs died of one poisonous one", dead.len()),
    );
    run.figure("workers that a poisonous job takes down", f64::from(crashes), 3.0, "workers");
}

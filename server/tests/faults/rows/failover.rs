//! R5: Sentinel makes a replica the master, which does not have everything.

use tokio::task::block_in_place;

use super::redis::{lost, next_claim};
use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, now_ms};
use crate::run::Run;
use crate::world::Plan;

const FLAGS: [&str; 2] = ["--concurrency", "10"];

/// The master is killed under load; later the new one freezes, until all is done on another, and
/// wakes up as one that was deposed, with writes that nobody else has.
pub(crate) async fn failovers(run: Run) {
    let mut world = run.world(Plan { sentinels: true, ..Plan::default() }).await;
    let workers = [world.worker("one", &FLAGS).await, world.worker("two", &FLAGS).await];
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(60).await;
    world.journal.publish_many("before", 15, &accounts).await;

    let mut sentinels = world.sentinels.take().expect("this world has sentinels");
    block_in_place(|| sentinels.servers[0].kill9());
    let killed_ms = now_ms();
    world.journal.publish_many("meanwhile", 5, &accounts).await;
    block_in_place(|| {
        sentinels.until_master_is(1);
        sentinels.servers[0].resume();
        sentinels.until_replica_is(0);
    });
    world.sentinels = Some(sentinels);
    world.quiet(LONG).await;

    world.journal.publish_many("between", 15, &accounts).await;
    let sentinels = world.sentinels.as_ref().expect("this world has sentinels");
    sentinels.servers[1].freeze();
    let frozen_ms = now_ms();
    world.journal.publish_many("frozen", 5, &accounts).await;
    block_in_place(|| sentinels.until_master_is(0));
    // The new master has handed all of them out, which the old one, that still believes to be it,
    // knows nothing of when it wakes up.
    let is_done = world.quiet(LONG).await;
    run.must(is_done, Invariant::I9, "the fleet does nothing on the new master");
    sentinels.servers[1].thaw();
    world.journal.publish_many("thawed", 5, &accounts).await;
    block_in_place(|| sentinels.until_replica_is(1));
    let allowed = Allowed { extra_calls: Some(60), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    // What was claimed before goes on for a moment; what counts is the first claim on the new one.
    let resumed = |from_ms: i64| next_claim(&history, from_ms + 500).unwrap_or(LONG);
    run.time("Sentinel fails over: first job", resumed(killed_ms), 5.0);
    run.time("a master freezes: first job", resumed(frozen_ms), 5.0);
    run.figure("accepted jobs lost, Sentinel failover", lost(&history), 0.0, "jobs");
}

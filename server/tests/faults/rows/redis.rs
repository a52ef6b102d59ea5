//! R1, R3, R4, R7, R8: the broker's server goes away, forgets, fills up, is slow, or refuses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, now_ms, until};
use crate::history::{History, Told};
use crate::run::Run;
use crate::world::{Account, Plan, World};

/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 60;
const FLAGS: [&str; 2] = ["--concurrency", "10"];

/// Accepted jobs that ended nowhere.
pub(crate) fn lost(history: &History) -> f64 {
    let states: BTreeMap<&str, &str> =
        history.jobs.iter().map(|job| (job.id.as_str(), job.state.as_str())).collect();
    let accepted = history.asked.iter().filter(|asked| asked.told == Told::Accepted);
    let lost = accepted.flat_map(|asked| &asked.jobs).filter(|(id, _)| {
        !matches!(states.get(id.as_str()), Some(&("completed" | "parked" | "cancelled" | "dead")))
    });
    lost.count() as f64
}

/// How long after a moment the next claim was stamped.
pub(crate) fn next_claim(history: &History, after_ms: i64) -> Option<Duration> {
    let stamps = history.changes.iter().filter(|change| change.stamps());
    let next = stamps.map(|change| change.at_ms).filter(|&at_ms| at_ms >= after_ms).min()?;
    Some(Duration::from_millis((next - after_ms).unsigned_abs()))
}

/// Two workers in the middle of work, and accounts for more.
async fn under_load(run: &Run, plan: Plan) -> (World, [crate::fleet::Process; 2], Vec<Account>) {
    let mut world = run.world(plan).await;
    let workers = [world.worker("one", &FLAGS).await, world.worker("two", &FLAGS).await];
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(LATENCY_MS).await;
    (world, workers, accounts)
}

/// Kills Redis at random moments under load, and starts it again with what is on its disk.
pub(crate) async fn restarts(run: Run) {
    let plan = Plan { durable_redis: true, ..Plan::default() };
    let (mut world, workers, accounts) = under_load(&run, plan).await;
    let mut dice = run.dice();
    let mut backs = Vec::new();
    for round in 0..3 {
        world.journal.publish_many(&format!("restart {round}"), 12, &accounts).await;
        // Time is the subject: when it dies is drawn, so that it is in the middle of something else
        // each time.
        tokio::time::sleep(dice.span(50, 400)).await;
        block_in_place(|| world.fleet.redis.kill9());
        // What is accepted meanwhile is accepted.
        world.journal.publish(&format!("away {round}"), &accounts).await;
        // Time is the subject: for how long it is away.
        tokio::time::sleep(dice.span(100, 700)).await;
        block_in_place(|| world.fleet.redis.resume());
        backs.push(now_ms());
        world.quiet(LONG).await;
    }
    let allowed = Allowed { extra_calls: Some(60), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    let first = backs.iter().filter_map(|back| next_claim(&history, *back)).max();
    let first = first.unwrap_or(LONG);
    run.time("Redis restarts: first job", first, 1.0);
    run.figure("accepted jobs lost, Redis killed", lost(&history), 0.0, "jobs");
}

/// Wipes Redis under load, and once more with a hundred thousand jobs in it.
pub(crate) async fn wipes(run: Run) {
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    world.journal.publish_many("wipe", 30, &accounts).await;
    world.fleet.redis.command("FLUSHALL");
    let small_wipe = now_ms();
    world.journal.publish("after the wipe", &accounts).await;
    let rest = if run.plant.is_some() { Duration::from_secs(10) } else { LONG };
    let rested = world.quiet(rest).await;
    run.must(rested, Invariant::I9, "not everything ran again after a wipe");
    if run.plant.is_none() {
        a_hundred_thousand(&run, &world, &accounts).await;
    }
    let allowed = Allowed { extra_calls: Some(60), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], false, &allowed).await;
    let first = next_claim(&history, small_wipe).unwrap_or(LONG);
    run.time("Redis wiped under load: first job", first, 2.0);
    run.figure("accepted jobs lost, FLUSHALL", lost(&history), 0.0, "jobs");
}

/// Jobs whose time comes later fill the broker; then it is wiped, while posts wait.
async fn a_hundred_thousand(run: &Run, world: &World, accounts: &[Account]) {
    const FILL: &str = "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, \
             max_attempts, priority_s, run_at, created_at, expires_at) \
         SELECT ('0198f3a0-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'data_cleanup', 1, \
             'data_cleanup', '{\"dry_run\":true}', 0, 8, 0, now + 2400000 + n, now - 60000, \
             now + 86400000 \
         FROM generate_series(1, 100000) AS n, \
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock";
    let mut database = world.database().await;
    sqlx::raw_sql("ALTER TABLE jobs DISABLE TRIGGER witness").execute(&mut database).await.unwrap();
    sqlx::raw_sql(FILL).execute(&mut database).await.unwrap();
    sqlx::raw_sql("ALTER TABLE jobs ENABLE TRIGGER witness").execute(&mut database).await.unwrap();
    let held = || {
        let entries = world.broker_entries();
        let jobs = entries.iter().filter(|(key, _)| key.ends_with("{data_cleanup}:jobs"));
        jobs.map(|(_, entries)| *entries).sum::<u64>()
    };
    // A first wipe asks for a refill at once; what the broker then holds is what it may hold.
    wipe_and_stir(world, accounts, "fill").await;
    let full = settled(&held).await;
    run.note(format!("the broker holds {full} of 100000 later jobs"));
    world.quiet_but_later(LONG).await;
    world.journal.publish_many("before the big wipe", 10, accounts).await;
    let start = Instant::now();
    let wiped_ms = now_ms();
    wipe_and_stir(world, accounts, "big").await;
    until("the broker is not filled again", LONG, async || held() >= full).await;
    run.time("Redis wiped with 100,000 jobs: all back", start.elapsed(), 10.0);
    let history = crate::evidence::gather(world, &[], false).await;
    let first = next_claim(&history, wiped_ms).unwrap_or(LONG);
    run.time("Redis wiped with 100,000 jobs: first job", first, 2.0);
    sqlx::raw_sql("DELETE FROM jobs WHERE kind = 'data_cleanup'")
        .execute(&mut database)
        .await
        .unwrap();
    // A refill that read them before they were deleted is about to push them once more.
    let mut empty_since = Instant::now();
    until("deleted jobs come back again and again", LONG, async || {
        if held() > 0 {
            let keys = "postworks:{data_cleanup}:jobs postworks:{data_cleanup}:delayed";
            world.fleet.redis.command(&format!("DEL {keys}"));
            empty_since = Instant::now();
        }
        empty_since.elapsed() > Duration::from_secs(2)
    })
    .await;
}

async fn wipe_and_stir(world: &World, accounts: &[Account], name: &str) {
    world.fleet.redis.command("FLUSHALL");
    world.journal.publish(&format!("{name} wipe"), accounts).await;
}

/// The count once it has not grown for a second.
async fn settled(count: &impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (count(), Instant::now());
    until("the broker fills and fills", LONG, async || {
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_secs(2)
    })
    .await;
    last
}

/// Redis has no memory left: the API accepts, workers drain, and all goes on when it has.
pub(crate) async fn full(run: Run) {
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    world.journal.publish_many("before", 20, &accounts).await;
    world.fleet.redis.command("CONFIG SET maxmemory 1");
    let mut accepted = 0;
    for n in 0..5 {
        accepted += u32::from(
            world.journal.publish(&format!("full {n}"), &accounts).await == Told::Accepted,
        );
    }
    run.must(
        accepted == 5,
        Invariant::I1,
        format!("{accepted} of 5 requests were accepted while Redis was full"),
    );
    let before = world.fleet.sandbox.journal().0.len();
    until("workers do not drain a full Redis", LONG, async || {
        world.fleet.sandbox.journal().0.len() > before + 20
    })
    .await;
    world.fleet.redis.command("CONFIG SET maxmemory 0");
    let roomy_ms = now_ms();
    world.journal.publish("roomy again", &accounts).await;
    let allowed = Allowed { extra_calls: Some(20), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    let next = next_claim(&history, roomy_ms).unwrap_or(LONG);
    run.time("Redis was full: first job after there is room", next, 2.0);
    run.figure("accepted jobs lost, Redis full", lost(&history), 0.0, "jobs");
}

/// Jobs that outlast their leases, and a Redis that answers late or not at all for a while: no
/// lease may run out.
pub(crate) async fn slow(run: Run) {
    let plan = Plan {
        durable_redis: false,
        sentinels: false,
        settings: &[("POSTWORKS__LEASE__DURATION", "5s"), ("POSTWORKS__LEASE__RENEW", "500ms")],
    };
    let (world, workers, accounts) = under_load(&run, plan).await;
    world.fleet.sandbox.slow_down(7_000).await;
    world.journal.publish_many("long", 2, &accounts).await;
    until("nothing runs", LONG, async || world.publish_calls.count() > 25).await;
    if run.plant.is_none() {
        world.fleet.redis.command("CLIENT PAUSE 2500 ALL");
        // It is paused for this as well, and answers at the pause's end.
        block_in_place(|| world.fleet.redis.command("PING"));
        world
            .redis
            .set_both(postworks::testing::chaos_proxy::Weather::late(Duration::from_millis(100)));
    }
    let allowed = Allowed { extra_calls: Some(0), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    let again = history.taken_over().len();
    run.must(again == 0, Invariant::I9, format!("{again} leases ran out while their jobs ran"));
    run.figure("leases that ran out under a slow Redis", again as f64, 0.0, "leases");
}

/// Redis refuses in every way it knows; each time work goes on soon after it stops refusing.
pub(crate) async fn refuses(run: Run) {
    const CUT: &str = "CLIENT KILL TYPE normal SKIPME yes";
    // What Redis is told, whether connections are cut then, and what takes it back.
    let ways: [(&str, &str, bool, &str); 6] = [
        ("forgets scripts", "SCRIPT FLUSH", false, "PING"),
        ("cuts all connections", "PING", true, "PING"),
        ("is a replica", "REPLICAOF 127.0.0.1 1", false, "REPLICAOF NO ONE"),
        ("takes no more clients", "CONFIG SET maxclients 1", true, "CONFIG SET maxclients 10000"),
        ("forbids scripts", "ACL SETUSER default -@scripting", false, "ACL SETUSER default +@all"),
        ("wants a password", "CONFIG SET requirepass x", true, "CONFIG SET requirepass \"\""),
    ];
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    let mut backs = Vec::new();
    let mut operator = world.fleet.redis.operator();
    for (name, refuse, cuts, relent) in ways {
        world.journal.publish_many(name, 6, &accounts).await;
        operator.command(refuse);
        if cuts {
            operator.command(CUT);
        }
        let (cpu, start) = (workers[0].cpu(), Instant::now());
        // Time is the subject: what a worker uses of a processor in it.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let load = (workers[0].cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
        run.must(load < 0.7, Invariant::I8, format!("a worker spins when Redis {name}: {load:.2}"));
        operator.command(relent);
        backs.push((name, now_ms()));
        world.journal.publish(&format!("after Redis {name}"), &accounts).await;
        let rested = world.quiet(Duration::from_secs(30)).await;
        run.must(rested, Invariant::I9, format!("work does not go on after Redis {name}"));
    }
    let allowed = Allowed { extra_calls: Some(120), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    let longest =
        backs.iter().filter_map(|(name, back)| Some((next_claim(&history, *back)?, name)));
    if let Some((longest, name)) = longest.max() {
        run.note(format!("slowest to go on: when Redis {name}"));
        run.time("Redis refused: first job after", longest, 2.0);
    }
}

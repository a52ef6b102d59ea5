//! X1: random pairs of faults, one after another, while work goes on.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postworks::testing::chaos_proxy::{Cut, Flow, Spring, Trap, Way, Weather};
use serde_json::json;
use tokio::task::block_in_place;

use super::redis::lost;
use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process};
use crate::run::{Dice, Run};
use crate::world::{Account, Plan, World};

const FLAGS: [&str; 2] = ["--concurrency", "10"];
const WORKERS: usize = 3;
const PLATFORMS: [&str; 3] = ["sandbox", "sandbox_lookup", "sandbox_blind"];

/// What may go wrong. Two of these at a time.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillWorker,
    PauseWorker,
    StopWorker,
    KillRedis,
    WipeRedis,
    FillRedis,
    SlowRedis,
    LoseRedis,
    CutRedis,
    KillPostgres,
    KillBackend,
    LoseCommits,
    HoldPostgres,
    PlatformErrors,
    PlatformLosesAnswers,
    PlatformLimits,
}

const FAULTS: [Fault; 16] = [
    Fault::KillWorker,
    Fault::PauseWorker,
    Fault::StopWorker,
    Fault::KillRedis,
    Fault::WipeRedis,
    Fault::FillRedis,
    Fault::SlowRedis,
    Fault::LoseRedis,
    Fault::CutRedis,
    Fault::KillPostgres,
    Fault::KillBackend,
    Fault::LoseCommits,
    Fault::HoldPostgres,
    Fault::PlatformErrors,
    Fault::PlatformLosesAnswers,
    Fault::PlatformLimits,
];

pub(crate) async fn random(run: Run) {
    let plan = Plan {
        durable_redis: true,
        sentinels: false,
        settings: &[
            ("POSTWORKS__LEASE__DURATION", "3s"),
            ("POSTWORKS__LEASE__RENEW", "500ms"),
            // Enough for minutes of trouble at one attempt a second.
            ("POSTWORKS__KINDS__POST_PUBLICATION__MAX_ATTEMPTS", "100"),
        ],
    };
    let mut world = run.world(plan).await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(world.worker(&format!("w-{n}"), &FLAGS).await);
    }
    let mut accounts = Vec::new();
    for platform in PLATFORMS {
        accounts.extend(world.connect(platform, 3).await);
    }
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(80).await;
    let (mut dice, start, mut round) = (run.dice(), Instant::now(), 0);
    while start.elapsed() < run.span {
        let first = dice.below(FAULTS.len());
        let second = (first + 1 + dice.below(FAULTS.len() - 1)) % FAULTS.len();
        let pair = [FAULTS[first], FAULTS[second]];
        run.note(format!("{:5.1} s: {pair:?}", start.elapsed().as_secs_f64()));
        for (n, fault) in pair.into_iter().enumerate() {
            begin(fault, &mut world, &mut workers, &mut dice, round).await;
            publish(&world, &accounts, format!("in {round} {n}")).await;
        }
        // Time is the subject: how long two faults last together is drawn, as they are.
        tokio::time::sleep(dice.span(300, 1_800)).await;
        for fault in pair {
            end(fault, &mut world, &mut workers, round).await;
        }
        publish(&world, &accounts, format!("after {round}")).await;
        // Time is the subject: the rest is drawn, too, lest the next pair always meet a world that
        // is well.
        tokio::time::sleep(dice.span(100, 900)).await;
        round += 1;
    }
    world.fleet.sandbox.faults(json!([])).await;
    let lived: Vec<&Process> = workers.iter().collect();
    let allowed = Allowed { dead: &["unknown_outcome"], failures: true, ..Allowed::default() };
    let history = run.check(&world, &lived, false, &allowed).await;
    run.must(round > 0 || run.span.is_zero(), Invariant::I9, "no fault was tried");
    run.figure("accepted jobs lost, random faults", lost(&history), 0.0, "jobs");
    run.note(format!("{} jobs under {} faults", history.jobs.len(), 2 * round));
}

/// Publishes a text that nobody has asked for before: what was asked for in vain may be published
/// all the same, and would look like a copy.
async fn publish(world: &World, accounts: &[Account], text: String) {
    // An API that waits for a store must not hold the faults up.
    let asking = world.journal.publish(&text, accounts);
    let _ = tokio::time::timeout(Duration::from_secs(3), asking).await;
}

async fn begin(
    fault: Fault,
    world: &mut World,
    workers: &mut [Process],
    dice: &mut Dice,
    round: usize,
) {
    let one = round % workers.len();
    match fault {
        Fault::KillWorker => workers[one].kill9().await,
        Fault::PauseWorker => workers[(one + 1) % WORKERS].signal(Signal::SIGSTOP),
        Fault::StopWorker => workers[(one + 2) % WORKERS].signal(Signal::SIGTERM),
        Fault::KillRedis if world.fleet.redis.is_running() => {
            block_in_place(|| world.fleet.redis.kill9());
        }
        Fault::KillRedis => {}
        Fault::WipeRedis => redis(world, "FLUSHALL"),
        Fault::FillRedis => redis(world, "CONFIG SET maxmemory 1"),
        Fault::SlowRedis => {
            let delay = dice.span(50, 250);
            world.redis.set_both(Weather { delay, jitter: delay, flow: Flow::Pass });
        }
        Fault::LoseRedis => world.redis.partition(),
        Fault::CutRedis => world.redis.cut(Cut::Reset),
        Fault::KillPostgres => block_in_place(|| {
            world.fleet.postgres.kill9();
            world.fleet.postgres.start();
        }),
        Fault::KillBackend => kill_backend(world).await,
        Fault::LoseCommits => {
            let trap = Trap::new(Way::ToServer, "COMMIT", Spring::LoseAnswer).after(2).times(4);
            world.postgres.set_trap(trap);
        }
        Fault::HoldPostgres => world.postgres.set_both(Weather::of(Flow::Hold)),
        Fault::PlatformErrors => {
            platform(world, json!({ "op": "*", "action": "error", "p": 0.5, "status": 503 })).await;
        }
        Fault::PlatformLosesAnswers => {
            platform(world, json!({ "op": "publish", "action": "drop_after", "p": 0.5 })).await;
        }
        Fault::PlatformLimits => {
            platform(world, json!({ "op": "*", "action": "rate_limit", "p": 0.5 })).await;
        }
    }
}

async fn end(fault: Fault, world: &mut World, workers: &mut [Process], round: usize) {
    let one = round % workers.len();
    match fault {
        Fault::KillWorker => workers[one] = fresh(world, round, "killed").await,
        Fault::PauseWorker => {
            let paused = &workers[(one + 1) % WORKERS];
            if paused.is_frozen() {
                paused.signal(Signal::SIGCONT);
            }
        }
        Fault::StopWorker => {
            let at = (one + 2) % WORKERS;
            workers[at].ended(LONG).await;
            workers[at] = fresh(world, round, "stopped").await;
        }
        Fault::KillRedis if !world.fleet.redis.is_running() => {
            block_in_place(|| world.fleet.redis.resume());
        }
        Fault::FillRedis => redis(world, "CONFIG SET maxmemory 0"),
        Fault::SlowRedis | Fault::LoseRedis => world.redis.heal(),
        Fault::HoldPostgres => world.postgres.heal(),
        Fault::PlatformErrors | Fault::PlatformLosesAnswers | Fault::PlatformLimits => {
            world.fleet.sandbox.slow_down(80).await;
        }
        Fault::KillRedis
        | Fault::WipeRedis
        | Fault::CutRedis
        | Fault::KillPostgres
        | Fault::KillBackend
        | Fault::LoseCommits => {}
    }
}

/// A command for Redis, if it runs.
fn redis(world: &World, command: &str) {
    if world.fleet.redis.is_running() {
        world.fleet.redis.command(command);
    }
}

async fn platform(world: &World, rule: serde_json::Value) {
    world.fleet.sandbox.faults(json!([rule])).await;
}

async fn fresh(world: &World, round: usize, why: &str) -> Process {
    world.worker(&format!("{why}-{round}"), &FLAGS).await
}

async fn kill_backend(world: &World) {
    const BACKEND: &str = "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'w-%' LIMIT 1";
    let mut database = world.database().await;
    let found: Option<i32> =
        sqlx::query_scalar(BACKEND).fetch_optional(&mut database).await.unwrap();
    if let Some(backend) = found {
        let _ = kill(Pid::from_raw(backend), Signal::SIGKILL);
    }
}

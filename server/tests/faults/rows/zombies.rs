//! W3, W4: processes that freeze, and wake up.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postworks::faults::Point;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{Client, LONG, Process, now_ms, until};
use crate::history::{Change, History};
use crate::run::Run;
use crate::world::{Account, Plan, World};

const QUEUE: &str = "post_publication.sandbox";
/// A claim that an older one has written over, which only a bug lets happen.
const WENT_BACK: &str = "SELECT count(*) FROM witness WHERE token < old_token";
/// Where a worker freezes in the middle of its work.
const POINTS: [Point; 4] =
    [Point::StampDone, Point::IntentCommitted, Point::PublishAnswered, Point::VerdictRecorded];

/// Freezes a worker at each of four moments, lets others take over, and wakes them up.
pub(crate) async fn zombies(run: Run) {
    let plan = Plan {
        durable_redis: false,
        sentinels: false,
        settings: &[("POSTWORKS__LEASE__DURATION", "2s"), ("POSTWORKS__LEASE__RENEW", "400ms")],
    };
    let mut world = run.world(plan).await;
    let healthy = world.worker("healthy", &["--concurrency", "20"]).await;
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(200).await;
    // Whether a thawed worker first sees its answer or that its lease is gone is a race, which a bug
    // may lose: then it is given another.
    for round in 0..if run.plant.is_some() { 4 } else { 1 } {
        woken_early(&run, &world, &accounts, &healthy, round).await;
        if world.count(WENT_BACK).await > 0 {
            break;
        }
    }
    world.fleet.sandbox.slow_down(200).await;
    let mut frozen = Vec::new();
    for point in POINTS {
        let action = format!("{}=1*return(stop)", point.name());
        let zombie = world.doomed(point.name(), &["--concurrency", "5"], &action).await;
        for round in 0..8 {
            world.journal.publish(&format!("{} {round}", point.name()), &accounts).await;
            if zombie.is_frozen_within(Duration::from_millis(1_500)).await {
                break;
            }
        }
        run.must(zombie.is_frozen(), Invariant::I9, format!("{} was never met", point.name()));
        // One at a time: a job that three workers in a row fall silent with counts as poisonous.
        world.calm(LONG).await;
        frozen.push(zombie);
    }
    // Everything they held has gone to others, and is done.
    let taken = world.quiet(Duration::from_secs(15)).await;
    run.must(taken, Invariant::I9, "frozen workers' jobs were not taken over");
    let woken_ms = now_ms();
    for zombie in &frozen {
        zombie.signal(Signal::SIGCONT);
    }
    for zombie in &frozen {
        let pages = Client::new(zombie.url()).http;
        until("a thawed worker serves no page", LONG, async || {
            pages.try_get("/livez").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
    // They are good workers again.
    world.journal.publish_many("after", 4, &accounts).await;
    let mut lived: Vec<&Process> = frozen.iter().collect();
    lived.push(&healthy);
    let allowed = Allowed { extra_calls: Some(20), ..Allowed::default() };
    let history = run.check(&world, &lived, false, &allowed).await;
    let accepted =
        late_writes(&history, woken_ms, |app| POINTS.iter().any(|point| point.name() == app));
    run.figure("what zombies wrote that counted", accepted as f64, 0.0, "writes");
    // They slept; the platform was well all the time.
    let opened = world.gate(QUEUE, "epoch").unwrap_or(0);
    run.figure("breakers that opened since workers froze", opened as f64, 0.0, "times");
}

/// Freezes a worker until another has begun its jobs, and wakes it up in the middle of them: its
/// answers are there, and nobody has said yet what became of the jobs.
async fn woken_early(
    run: &Run,
    world: &World,
    accounts: &[Account],
    healthy: &Process,
    round: usize,
) {
    world.fleet.sandbox.slow_down(1_000).await;
    // Alone, so that it gets the jobs.
    healthy.signal(Signal::SIGSTOP);
    let mut early = world.worker(&format!("early-{round}"), &["--concurrency", "20"]).await;
    let before = world.publish_calls.count();
    world.journal.publish_many(&format!("early {round}"), 1, accounts).await;
    until("nothing is sent", LONG, async || world.publish_calls.count() >= before + accounts.len())
        .await;
    early.signal(Signal::SIGSTOP);
    world.fleet.sandbox.slow_down(4_000).await;
    const TAKEN: &str = "SELECT count(DISTINCT late.job) FROM witness AS late \
         JOIN witness AS first USING (job) \
         WHERE first.app LIKE 'early-%' AND late.app NOT LIKE 'early-%' AND late.seq > first.seq \
             AND NOT first.settled AND late.token > first.token";
    let earlier = world.count(TAKEN).await;
    healthy.signal(Signal::SIGCONT);
    until("nobody takes over", LONG, async || world.count(TAKEN).await > earlier).await;
    early.signal(Signal::SIGCONT);
    let taken = world.count(TAKEN).await - earlier;
    run.note(format!("one woke up while another had just begun {taken} of its jobs"));
    // What it has to say, it says by then.
    world.quiet(LONG).await;
    early.kill9().await;
}

/// How often one of these processes settled a job after `from_ms` whose claim another had taken
/// over before.
fn late_writes(history: &History, from_ms: i64, zombie: impl Fn(&str) -> bool) -> usize {
    let late =
        |change: &&Change| change.at_ms >= from_ms && change.settles() && zombie(&change.app);
    let taken_over = |change: &Change| {
        history.changes.iter().any(|other| {
            other.job == change.job
                && other.app != change.app
                && other.at_ms < from_ms
                && (other.stamps() || other.settles())
        }) && !history.changes.iter().any(|own| {
            own.job == change.job && own.app == change.app && own.stamps() && own.at_ms >= from_ms
        })
    };
    history.changes.iter().filter(late).filter(|change| taken_over(change)).count()
}

/// Freezes a worker for a minute under leases as they are by default.
pub(crate) async fn long_pause(run: Run) {
    let mut world = run.world(Plan::default()).await;
    // One queue alone has every place.
    let flags = ["--concurrency", "10", "--queues", QUEUE];
    let frozen = world.worker("frozen", &flags).await;
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(1_000).await;
    world.journal.publish_many("pause", 2, &accounts).await;
    world.holds(&frozen, QUEUE, 10).await;
    let other = world.worker("other", &flags).await;
    let frozen_ms = now_ms();
    frozen.signal(Signal::SIGSTOP);
    let held = world.fleet.held_by(&frozen, QUEUE);
    // Time itself is what must pass here: the zombie sleeps through everything.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let woken_ms = now_ms();
    frozen.signal(Signal::SIGCONT);
    let pages = Client::new(frozen.url()).http;
    until("the thawed worker serves no page", LONG, async || {
        pages.try_get("/livez").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let allowed = Allowed { extra_calls: Some(10), ..Allowed::default() };
    let history = run.check(&world, &[&frozen, &other], false, &allowed).await;
    let again = held.iter().filter_map(|job| {
        let next = history
            .changes
            .iter()
            .find(|change| change.job == *job && change.app == "other" && change.stamps())?;
        Some((next.at_ms - frozen_ms).max(0))
    });
    let longest = again.max().unwrap_or(0);
    run.must(!held.is_empty() && longest > 0, Invariant::I9, "nothing was taken over");
    run.time(
        "a paused worker's jobs are taken over",
        Duration::from_millis(longest.unsigned_abs()),
        11.0,
    );
    let accepted = late_writes(&history, woken_ms, |app| app == "frozen");
    run.figure("what a worker paused for 60 s wrote that counted", accepted as f64, 0.0, "writes");
}

/// Freezes everything for half a lease, as a machine that is moved does.
pub(crate) async fn frozen_host(run: Run) {
    let mut world = run.world(Plan::default()).await;
    let worker = world.worker("worker", &["--concurrency", "10"]).await;
    let accounts = world.connect("sandbox", 10).await;
    world.fleet.sandbox.slow_down(500).await;
    world.journal.publish_many("host", 6, &accounts).await;
    world.holds(&worker, QUEUE, 5).await;
    let all = [worker.pid(), world.fleet.api.pid(), world.fleet.redis.pid()];
    let all = all.map(|pid| Pid::from_raw(i32::try_from(pid).expect("a process id")));
    for pid in all {
        kill(pid, Signal::SIGSTOP).expect("our own process");
    }
    let start = Instant::now();
    // Time is the subject: half a lease.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for pid in all.into_iter().rev() {
        kill(pid, Signal::SIGCONT).expect("our own process");
    }
    run.note(format!("everything stood still for {:.1} s", start.elapsed().as_secs_f64()));
    let allowed = Allowed { extra_calls: Some(0), ..Allowed::default() };
    let history = run.check(&world, &[&worker], true, &allowed).await;
    let twice = history.taken_over().len();
    run.figure("jobs that ran again after half a lease of standstill", twice as f64, 0.0, "jobs");
}

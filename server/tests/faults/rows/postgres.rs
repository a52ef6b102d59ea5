//! P1 to P5: the record crashes, is crowded, stands still, refuses, or loses an answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postworks::testing::chaos_proxy::{Flow, Spring, Trap, Way, Weather};
use serde_json::json;
use tokio::task::block_in_place;

use super::redis::{lost, next_claim};
use crate::checker::{Allowed, Invariant};
use crate::fleet::{ANY, Client, LONG, POSTWORKS, Process, now_ms, until};
use crate::history::Told;
use crate::run::Run;
use crate::world::{Account, Plan, World, database_url};

const FLAGS: [&str; 2] = ["--concurrency", "10"];
/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 60;

async fn under_load(run: &Run, plan: Plan) -> (World, [Process; 2], Vec<Account>) {
    let mut world = run.world(plan).await;
    let workers = [world.worker("one", &FLAGS).await, world.worker("two", &FLAGS).await];
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(LATENCY_MS).await;
    (world, workers, accounts)
}

/// PostgreSQL is killed under load; later one of its backends is, which ends every session.
pub(crate) async fn crashes(run: Run) {
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    world.journal.publish_many("before", 20, &accounts).await;
    // In the middle of the load: posts are on their way, and more wait.
    until("no post is on its way", LONG, async || world.leases().await > 0).await;
    block_in_place(|| world.fleet.postgres.kill9());
    let mut answers = Vec::new();
    for n in 0..20 {
        let asked = Instant::now();
        world.journal.publish(&format!("away {n}"), &accounts).await;
        answers.push(asked.elapsed());
    }
    block_in_place(|| world.fleet.postgres.start());
    let back_ms = now_ms();
    world.journal.publish("back", &accounts).await;
    world.quiet(LONG).await;

    world.journal.publish_many("backend", 10, &accounts).await;
    let mut database = world.database().await;
    const BACKEND: &str = "SELECT pid FROM pg_stat_activity WHERE usename = 'one' LIMIT 1";
    let backend: Option<i32> =
        sqlx::query_scalar(BACKEND).fetch_optional(&mut database).await.unwrap();
    if let Some(backend) = backend {
        kill(Pid::from_raw(backend), Signal::SIGKILL).expect("a backend of our own");
    }
    until("the database does not come back", LONG, async || {
        let url = world.fleet.postgres.url(crate::world::DATABASE);
        <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.is_ok()
    })
    .await;
    world.journal.publish("after the backend", &accounts).await;
    let allowed = Allowed { extra_calls: Some(60), failures: true, ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    run.time("PostgreSQL restarts: first job", next_claim(&history, back_ms).unwrap_or(LONG), 1.0);
    answers.sort_unstable();
    run.time("without PostgreSQL the API refuses, slowest", answers[answers.len() - 1], 0.5);
    run.figure("accepted jobs lost, PostgreSQL killed", lost(&history), 0.0, "jobs");
}

/// More callers than connections, in several waves, with every statement 10 ms slower.
pub(crate) async fn crowds(run: Run) {
    const CALLERS: usize = 150;
    let plan = Plan {
        durable_redis: false,
        sentinels: false,
        settings: &[("POSTWORKS__LEDGER__POOL_SIZE", "80")],
    };
    let mut world = run.world(plan).await;
    let small = [("POSTWORKS__LEDGER__POOL_SIZE", "8".to_owned())];
    let worker = world.worker_with("worker", &FLAGS, &small).await;
    let accounts = world.connect("sandbox", 2).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.postgres.set_both(Weather::late(Duration::from_millis(5)));
    // The callers are the subject: a whole cleanup is dozens of round trips to the slow database.
    let light = || json!({ "kind": "data_cleanup", "args": { "scope": "audit", "dry_run": true } });
    let mut waits = Vec::new();
    for wave in 0..5 {
        let (world, light) = (&world, &light);
        let callers = (0..CALLERS).map(|n| async move {
            let asked = Instant::now();
            let told = world.journal.enqueue_as(&light(), &format!("{wave}-{n}")).await;
            (asked.elapsed(), told)
        });
        waits.extend(join_all(callers).await);
    }
    let refused = waits.iter().filter(|(_, told)| *told != Told::Accepted).count();
    run.figure("of 750 calls by 150 callers, refused", refused as f64, 0.0, "calls");
    waits.sort_unstable_by_key(|(wait, _)| *wait);
    run.time("150 callers on 100 connections: longest wait", waits[waits.len() - 1].0, 0.5);
    let start = Instant::now();
    until("a lone caller waits", LONG, async || {
        let asked = Instant::now();
        let told = world.journal.enqueue_as(&light(), "alone").await;
        told == Told::Accepted && asked.elapsed() < Duration::from_millis(200)
    })
    .await;
    run.time("150 callers on 100 connections: recovery", start.elapsed(), 1.0);
    let open = world.count("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL").await;
    run.must(open <= 97, Invariant::I8, format!("{open} connections to PostgreSQL"));
    run.check(&world, &[&worker], true, &Allowed::default()).await;
}

/// PostgreSQL is there and does not answer: a table is locked, then the network stands still.
pub(crate) async fn stalls(run: Run) {
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    world.journal.publish_many("before", 10, &accounts).await;
    {
        let mut holder = world.database().await;
        let lock = "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE";
        sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
        tokio::join!(world.journal.publish("locked", &accounts), async {
            // Time is the subject: longer than anybody waits for a lock (2 s), and not twice.
            tokio::time::sleep(Duration::from_secs(4)).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("a lock's end");
        });
    }
    world.quiet(LONG).await;
    world.journal.publish_many("between", 10, &accounts).await;
    world.postgres.set_both(Weather::of(Flow::Hold));
    // Time is the subject: longer than anybody waits for an answer (2 s), and not twice.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.postgres.heal();
    world.journal.publish_many("after", 4, &accounts).await;
    let allowed = Allowed { extra_calls: Some(40), failures: true, ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    run.figure("accepted jobs lost, PostgreSQL stalls", lost(&history), 0.0, "jobs");
    // Longer than a session may idle in a transaction.
    const STUCK: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    until("transactions are stuck", LONG, async || world.count(STUCK).await == 0).await;
}

/// PostgreSQL takes no writes for a while, and refuses some commits for good.
pub(crate) async fn refuses(run: Run) {
    const NO: &str = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'refused at commit'; END $$; \
         CREATE CONSTRAINT TRIGGER no AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW WHEN (NEW.unique_key LIKE 'no-%') EXECUTE FUNCTION no()";
    let (mut world, workers, accounts) = under_load(&run, Plan::default()).await;
    let mut database = world.database().await;
    sqlx::raw_sql(NO).execute(&mut database).await.expect("a trigger");
    // Never used before: a refresh of their tokens would be noted by the platform.
    let fresh = world.connect("sandbox_lookup", 11).await;
    let (last, fresh) = fresh.split_last().expect("eleven of them");
    for (n, account) in fresh.iter().enumerate() {
        let body = json!({
            "kind": "token_refresh",
            "args": { "connector_id": account.connector },
            "unique_key": format!("no-{n}"),
        });
        let told = world.journal.enqueue_refused(&body, &account.remote).await;
        run.must(told != Told::Accepted, Invariant::I3, "a commit that failed was answered 202");
    }
    // What ran of them has run once this one has, which came after them.
    let body = json!({ "kind": "token_refresh", "args": { "connector_id": last.connector } });
    let told = world.journal.enqueue_as(&body, "after the refused ones").await;
    run.must(told == Told::Accepted, Invariant::I9, "no job is accepted after refused ones");
    world.quiet(LONG).await;
    if run.plant.is_none() {
        read_only(&run, &world, &accounts).await;
    }
    let allowed = Allowed { extra_calls: Some(40), failures: true, ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], false, &allowed).await;
    run.figure("accepted jobs lost, PostgreSQL refuses", lost(&history), 0.0, "jobs");
}

async fn read_only(run: &Run, world: &World, accounts: &[Account]) {
    let mut database = world.database().await;
    for sql in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(sql).execute(&mut database).await.expect("a setting");
    }
    // All sessions are told in the same moment, this one among them.
    until("PostgreSQL takes writes", LONG, async || {
        let shown = sqlx::query_scalar("SHOW default_transaction_read_only");
        shown.fetch_one(&mut database).await.is_ok_and(|read_only: String| read_only == "on")
    })
    .await;
    let told = world.journal.publish("read only", accounts).await;
    run.must(told != Told::Accepted, Invariant::I1, "a read-only ledger was said to have accepted");
    for sql in [
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&mut database).await.expect("a setting");
    }
    let start = Instant::now();
    until("a ledger that can be written again is not used", LONG, async || {
        world.journal.publish("writable again", accounts).await == Told::Accepted
    })
    .await;
    run.time("PostgreSQL was read-only: accepted again", start.elapsed(), 2.0);
}

/// Every few commits the answer is lost: those of enqueues, stamps, publications and verdicts.
pub(crate) async fn lost_commits(run: Run) {
    let (world, workers, accounts) = under_load(&run, Plan::default()).await;
    // Some attempts fail, so that there is something to count twice.
    let rules = json!([
        { "op": "publish", "action": "error", "p": 0.3, "status": 503 },
        { "op": "publish", "action": "latency", "latency_ms": { "p50": 20, "p99": 40 } },
    ]);
    world.fleet.sandbox.faults(rules).await;
    let trap = Trap::new(Way::ToServer, "COMMIT", Spring::LoseAnswer).after(3).every(7).times(120);
    let trap = world.postgres.set_trap(trap);
    for round in 0..4 {
        world.journal.publish_many(&format!("commit {round}"), 6, &accounts).await;
        world.quiet(Duration::from_secs(15)).await;
    }
    world.fleet.sandbox.faults(json!([])).await;
    let sprung = trap.count();
    let allowed = Allowed {
        extra_calls: None,
        failures: true,
        dead: &["platform_api"],
        ..Allowed::default()
    };
    let history = run.check(&world, &[&workers[0], &workers[1]], false, &allowed).await;
    run.note(format!("{sprung} answers to COMMIT were lost"));
    let miscounted =
        history.jobs.iter().filter(|job| i64::from(job.failed_attempts) != job.attempt_rows);
    run.figure("attempts counted wrong, lost COMMIT", miscounted.count() as f64, 0.0, "jobs");
    run.figure("accepted jobs lost, lost COMMIT", lost(&history), 0.0, "jobs");
    api_dies_after_a_commit(&world, &run).await;
}

/// An API dies between a commit and its answer: the job is there, and runs; the client, which knows
/// nothing of it, sends its request again, and makes no other.
async fn api_dies_after_a_commit(world: &World, run: &Run) {
    const JOBS: &str = "SELECT count(*) FROM jobs WHERE args LIKE '%remote_posts%'";
    const DONE: &str =
        "SELECT count(*) FROM jobs WHERE args LIKE '%remote_posts%' AND state = 'completed'";
    world.user("dying-api").await;
    let mut vars = world.fleet.vars().to_vec();
    vars.push(("DATABASE_URL", database_url(&world.postgres, "dying-api")));
    vars.push(("POSTWORKS_FAILPOINTS", "enqueue.committed=1*return(kill)".to_owned()));
    // For so long, and ten seconds, nobody else may begin the request.
    vars.push(("POSTWORKS__API__REQUEST_TIMEOUT", "2s".to_owned()));
    let args = ["api", "--listen", ANY];
    let mut api = Process::start("dying-api", POSTWORKS, &args, &vars, world.folder());
    let http = Client::new(&api.listening("api").await).http;
    let args = json!({ "dry_run": true, "scope": "remote_posts" });
    let body = json!({ "kind": "data_cleanup", "args": args });
    let answer = http.try_post_keyed("/api/jobs", "orphan", &body).await;
    run.must(answer.is_err(), Invariant::I1, "an API that died has answered");
    assert!(api.is_gone_within(LONG).await, "the API lives");
    let start = Instant::now();
    until("a committed job does not run", LONG, async || world.count(DONE).await == 1).await;
    run.time("committed, never pushed: done", start.elapsed(), 30.0);
    until("the request is refused", LONG, async || {
        let again = world.fleet.client.http.try_post_keyed("/api/jobs", "orphan", &body).await;
        again.is_ok_and(|(answer, _)| answer.status == 202)
    })
    .await;
    let more = world.count(JOBS).await - 1;
    run.figure("jobs made again by a request sent again", more as f64, 0.0, "jobs");
}

//! E1: every twentieth request to a platform fails, for as long as the load lasts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::{Allowed, Invariant};
use crate::history::{History, Job, Told};
use crate::run::Run;
use crate::world::{Account, Plan, World};

const WORKERS: usize = 3;
const ACCOUNTS: usize = 100;
/// Jobs in one request.
const BULK: usize = 500;
/// Most of all jobs that may fail for good, in percent.
const DEAD_MAX: f64 = 0.1;
/// Most of the jobs that failed at first that may fail for good, in percent.
const GIVEN_UP_MAX: f64 = 1.0;
/// Longer than the load: the last retries, and whatever was held back by an account's limit.
const REST: Duration = Duration::from_secs(120);

/// Runs a mixture of jobs (35 % publications, 40 % syncs, 20 % refreshes, 5 % clean-ups) on real
/// processes, while 5 % of the platform's answers are errors of the kinds that pass.
pub(crate) async fn passing_errors(run: Run) {
    let plan = Plan { settings: &[("POSTWORKS__LEDGER__POOL_SIZE", "20")], ..Plan::default() };
    let mut world = run.world(plan).await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(world.worker(&format!("worker-{n}"), &["--concurrency", "60"]).await);
    }
    let accounts = world.connect("sandbox", ACCOUNTS).await;
    world.fleet.sandbox.faults(rules()).await;
    enqueue(&world, &accounts, run.jobs).await;
    let jobs = world.journal.accepted();
    run.must(jobs == run.jobs, Invariant::I9, format!("{jobs} of {} were accepted", run.jobs));
    world.quiet(run.load() + REST).await;

    let lived: Vec<_> = workers.iter().collect();
    // A request that is lost on its way back is made again: as many as fail, and some to spare.
    let extra = (run.jobs / 10) as u64;
    let allowed = Allowed {
        extra_calls: Some(extra),
        failures: true,
        dead: &["timeout", "platform_api"],
        ..Allowed::default()
    };
    let history = run.check(&world, &lived, true, &allowed).await;
    report(&run, &history);
}

fn rules() -> Value {
    json!([
        { "op": "publish", "p": 0.02, "action": "error" },
        { "op": "publish", "p": 0.015, "action": "drop_after" },
        { "op": "publish", "p": 0.01, "action": "drop_before" },
        { "op": "publish", "p": 0.005, "action": "rate_limit" },
        { "op": "refresh", "p": 0.05, "action": "error" },
        { "op": "list", "p": 0.03, "action": "error" },
        { "op": "list", "p": 0.02, "action": "drop_before" },
    ])
}

async fn enqueue(world: &World, accounts: &[Account], jobs: usize) {
    let publications = jobs * 35 / 100;
    let job = |n: usize| {
        let connector = &accounts[n % accounts.len()].connector;
        // Of what is not published, 40 in 65 are syncs, 20 refreshes, 5 clean-ups.
        match n % 13 {
            0..8 => json!({ "kind": "connector_sync", "args": { "connector_id": connector } }),
            8..12 => json!({ "kind": "token_refresh", "args": { "connector_id": connector } }),
            _ => json!({ "kind": "data_cleanup", "args": { "dry_run": true } }),
        }
    };
    let others: Vec<Value> = (0..jobs - publications).map(job).collect();
    let publishing = async {
        for (n, done) in (0..publications).step_by(accounts.len()).enumerate() {
            let some = &accounts[..accounts.len().min(publications - done)];
            // A client that gets no answer asks again.
            let mut attempt = 0;
            while world.journal.publish(&format!("post {n}.{attempt}"), some).await
                != Told::Accepted
            {
                attempt += 1;
            }
        }
    };
    let others = async {
        for (n, jobs) in others.chunks(BULK).enumerate() {
            world.journal.enqueue_bulk(jobs, &format!("bulk {n}")).await;
        }
    };
    tokio::join!(publishing, others);
}

fn report(run: &Run, history: &History) {
    let of = |which: &dyn Fn(&Job) -> bool| history.jobs.iter().filter(|job| which(job)).count();
    let failed = of(&|job| job.attempt_rows > 0);
    let dead = of(&|job| job.state == "dead");
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    run.must(failed > run.jobs / 100, Invariant::I9, format!("only {failed} jobs ever failed"));
    run.figure("jobs that failed for good", share(dead, history.jobs.len()), DEAD_MAX, "%");
    run.figure("retries that did not help", share(dead, failed), GIVEN_UP_MAX, "%");
    for kind in ["connector_sync", "post_publication", "token_refresh", "data_cleanup"] {
        let all = of(&|job| job.kind == kind);
        let failed = of(&|job| job.kind == kind && job.attempt_rows > 0);
        run.note(format!("{all} of {kind}, {failed} of them failed at first"));
    }
    let publications = history.publications.len() as f64;
    let calls = history.publish_calls as f64 / publications.max(1.0);
    run.note(format!("{calls:.3} calls for one post"));
}

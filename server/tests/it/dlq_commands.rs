//! The dead-letter commands as processes: cut off half-way, asked for too much, or misspelt.

use nix::sys::signal::Signal;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Catalog, Category, DataCleanup, IdSource, NewJob, Reason, Request, Token};
use postworks::ledger::{
    AuditEntry, AuditFilter, BATCH_MAX, Db, Ledger as _, Next, PostgresOptions, SqlLedger, Verdict,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::fleet::{Fleet, LONG, run, until};

/// More than one step of a command, fewer than begin a redrive in the background.
const LETTERS: usize = 600;
/// Letters of one step.
const STEP: u64 = 500;

fn ledger(fleet: &Fleet) -> SqlLedger {
    let url = fleet.postgres.url("postgres");
    SqlLedger::new(Db::connect_postgres(&url, &PostgresOptions::default()).unwrap())
}

/// So many jobs that died without having run, oldest first.
async fn dead_jobs(ledger: &SqlLedger, count: usize) -> Vec<NewJob> {
    let (catalog, ids) = (Catalog::builtin().unwrap(), IdSource::default());
    let now = SystemClock.now();
    let job = |_| {
        let request = Request::of(&DataCleanup { scope: None, dry_run: true }).unwrap();
        request.into_job(&catalog, ids.next(now, rand::random()), now).unwrap()
    };
    let jobs: Vec<NewJob> = (0..count).map(job).collect();
    for batch in jobs.chunks(BATCH_MAX) {
        ledger.enqueue(batch).await.unwrap();
        let verdict = |job: &NewJob| {
            let (category, class) = (Category::Bug, "bug".to_owned());
            let reason = Reason { category, class, message: "broke".to_owned() };
            let then = Next::Dead { at: now, reason, failed_attempts: 1, job: None };
            Verdict { id: job.id, token: Token { generation: 0, sequence: 1 }, then, failed: None }
        };
        ledger.settle(&batch.iter().map(verdict).collect::<Vec<_>>()).await.unwrap();
    }
    jobs
}

async fn letters(ledger: &SqlLedger) -> u64 {
    ledger.dead_counts().await.unwrap().iter().map(|count| count.count).sum()
}

async fn audited(ledger: &SqlLedger) -> Vec<AuditEntry> {
    ledger.audits(&AuditFilter { limit: 9, ..AuditFilter::default() }).await.unwrap()
}

/// The second step waits for a row that somebody else holds: then the interrupt comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_command_says_what_it_did_and_goes_on_when_it_is_given_again() {
    let fleet = Fleet::start().await;
    let ledger = ledger(&fleet);
    for (verb, done) in [("retry", "put back"), ("discard", "discarded")] {
        let jobs = dead_jobs(&ledger, LETTERS).await;
        let (args, action) = (["dlq", verb, "--all", "--yes"], format!("dlq.{verb}"));
        let mut holder = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
        let mut held = holder.begin().await.unwrap();
        let lock = "SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE";
        sqlx::query(lock).bind(jobs[0].id.as_uuid()).execute(&mut *held).await.unwrap();
        let mut command = fleet.command(verb, &args);
        until("the first step is not done", LONG, async || {
            let audit = audited(&ledger).await;
            audit.first().is_some_and(|entry| entry.action == action && entry.count == STEP)
        })
        .await;
        command.signal(Signal::SIGINT);
        let (status, _) = command.ended(LONG).await;
        let said = command.log();
        assert_eq!(status.code(), Some(130), "{said}");
        let words = [format!("{STEP} {done}"), format!("{} left", LETTERS as u64 - STEP)];
        assert!(words.iter().all(|words| said.contains(words)), "{words:?}: {said}");
        held.rollback().await.unwrap();

        let again = run(&args, fleet.vars()).await;
        assert_eq!((again.code, letters(&ledger).await), (0, 0), "{}", again.stderr);
        let counts: Vec<u64> =
            audited(&ledger).await[..2].iter().map(|entry| entry.count).collect();
        assert_eq!(counts, [LETTERS as u64 - STEP, STEP], "each letter once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_goes_on_without_the_command_that_began_it() {
    let fleet = Fleet::start().await;
    let _worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    fleet.sandbox.faults(json!([{"op": "publish", "action": "error", "status": 422}])).await;
    let publications = fleet.client.publish_many(8, &accounts).await;
    for publication in &publications {
        fleet.client.until_job(&publication.job, "dead", LONG).await;
    }
    fleet.sandbox.faults(json!([])).await;
    let args = ["dlq", "retry", "--all", "--yes", "--rate", "2"];
    let mut command = fleet.command("retry", &args);
    let begun = |log: &str| (1..8).any(|n| log.contains(&format!("{n} of 8 put back")));
    until("nothing is put back", LONG, async || begun(&command.log())).await;
    command.signal(Signal::SIGINT);
    let (status, _) = command.ended(LONG).await;
    let said = command.log();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("goes on without you") && said.contains("redrive show"), "{said}");
    until("the others are not published", LONG, async || {
        fleet.sandbox.journal().count(&publications) == publications.len()
    })
    .await;
    fleet.sandbox.journal().must_have_each_once(&publications);
    assert_eq!(audited(&ledger(&fleet)).await[0].count, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_meant_so_changes_nothing_and_says_why() {
    let fleet = Fleet::start().await;
    let ledger = ledger(&fleet);
    dead_jobs(&ledger, 3).await;
    let over_http = vec![("POSTWORKS_SERVER", fleet.api.url().to_owned())];
    let either = ["retry", "discard"];
    let rows: &[(&[&str], &str)] = &[
        (&["--all"], "add --yes"),
        (&[], "name ids, or a --filter k=v, or --all"),
        (&["--all", "--filter", "kind=data_cleanup", "--yes"], "cannot be used with"),
        (&["--filter", "kind=data_clenup"], "did you mean data_cleanup?"),
        (&["--filter", "queue=data_clenup"], "did you mean data_cleanup?"),
        (&["--filter", "category=timeot"], "did you mean timeout?"),
        (&["--filter", "categry=bug"], "did you mean category?"),
        (&["--filter", "category"], "must be name=value"),
        (&["--filter", "category=bug", "--filter", "category=auth"], "is there twice"),
        (&["--filter", "died_after=soon"], "RFC 3339"),
        (&["--filter", "account=me"], "account"),
        (&["me"], "must be a job's id"),
    ];
    let numbers: &[(&[&str], &str)] = &[
        (&["retry", "--all", "--yes", "--rate", "1e99"], "from 1 to 10000"),
        (&["retry", "--all", "--yes", "--rate", "0"], "from 1 to 10000"),
        (&["retry", "--all", "--yes", "--rate=-1"], "from 1 to 10000"),
        (&["retry", "--all", "--yes", "--canary", "1001"], "from 1 to 1000"),
        (&["list", "--limit", "0"], "from 1 to 100"),
        (&["groups", "--limit", "99999999999999999999"], "from 1 to 100"),
        (&["list", "--filter", "category=timeot"], "did you mean timeout?"),
        (&["export", "--filter", "queue=data_clenup"], "did you mean data_cleanup?"),
    ];
    let mut given: Vec<(Vec<&str>, &str)> =
        numbers.iter().map(|(args, words)| (args.to_vec(), *words)).collect();
    for (args, words) in rows {
        given.extend(either.map(|verb| ([&[verb], *args].concat(), *words)));
    }
    for (args, words) in given {
        let args = [&["dlq"], &args[..]].concat();
        for vars in [fleet.vars(), &over_http] {
            let ran = run(&args, vars).await;
            assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(words), "{args:?}: {words} is not in {}", ran.stderr);
        }
    }
    for verb in either {
        let none = run(&["dlq", verb, "--filter", "category=auth"], fleet.vars()).await;
        assert_eq!((none.code, none.stdout.trim()), (0, "no dead letter fits"), "{}", none.stderr);
    }
    assert_eq!(letters(&ledger).await, 3);
    assert!(audited(&ledger).await.is_empty(), "nothing was done");
}

//! Tokens are renewed before they end, not all at once, and by nobody twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::client::Producer;
use postworks::clock::{Clock as _, SharedClock};
use postworks::job::{
    Catalog, ErrorClass, Kind, NewJob, State, Tenant, Timestamp, Token, TokenRefresh,
};
use postworks::ledger::{Db, JobFilter, Ledger as _, Next, SqlLedger, Verdict};
use postworks::worker::Handler as _;
use postworks::{on_db, on_tx};
use postworks_workers::handlers::RefreshTokens;
use postworks_workers::renewals::Renewals;
use postworks_workers::store::{Renewed, Store};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::grants::{grant, keep, kept};
use crate::scripted::{KEYED, SECRET, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    two_nodes_enqueue_one_refresh,
    an_account_that_needs_a_person_is_not_renewed,
    a_platform_that_is_switched_off_is_not_asked_for_new_tokens,
    a_job_renews_what_is_due_and_nothing_that_was_renewed_meanwhile,
    tokens_that_a_platform_granted_are_renewed_as_others_are,
    tokens_that_nothing_can_renew_are_used_until_their_end,
    tokens_that_nobody_renews_are_late,
    tokens_of_before_are_planned,
}

/// A node's chore.
fn node(world: &World) -> Renewals {
    let clock: SharedClock = world.clock.clone();
    let producer = Producer::new(
        Arc::new(SqlLedger::new(world.db.clone())),
        Arc::new(MemoryBroker::new(clock.clone())),
        Arc::new(Catalog::builtin().unwrap()),
        clock,
    );
    Renewals { store: world.store.clone(), producer, platforms: vec![KEYED.name] }
}

/// Looks until nothing more is due; answers how many accounts were.
async fn look(node: &Renewals) -> usize {
    let mut sum = 0;
    loop {
        let due = node.look().await.unwrap();
        sum += due;
        if due == 0 {
            return sum;
        }
    }
}

/// The refreshes that wait.
pub(crate) async fn waiting(ledger: &SqlLedger, now: Timestamp) -> Vec<NewJob> {
    let mut jobs = Vec::new();
    for state in [State::Ready, State::Delayed] {
        let mut filter = JobFilter {
            state: Some(state),
            kind: Some(Kind::parse("token_refresh").unwrap()),
            queue: None,
            before: None,
            limit: 500,
        };
        loop {
            let rows = ledger.jobs(&filter, now).await.unwrap();
            let Some(last) = rows.last() else { break };
            filter.before = Some(last.job.id);
            jobs.extend(rows.into_iter().map(|row| row.job));
        }
    }
    jobs
}

/// Records what became of jobs.
pub(crate) async fn end(ledger: &SqlLedger, jobs: &[NewJob], next: Next) {
    let token = Token { generation: 1, sequence: 1 };
    let verdict = |job: &NewJob| Verdict { id: job.id, token, then: next.clone(), failed: None };
    let verdicts: Vec<Verdict> = jobs.iter().map(verdict).collect();
    ledger.settle(&verdicts).await.unwrap();
}

/// An account that has its first tokens now.
async fn signed_in(world: &World, name: &str) -> Uuid {
    let id = world.connect(name, SECRET).await.id;
    commit(&world.store, id, world.clock.now().after(Duration::from_secs(TOKEN_LIFE_S))).await;
    id
}

async fn commit(store: &Store, account: Uuid, expires_at: Timestamp) {
    let version = store.access(account).await.unwrap().unwrap().version;
    let token = |of: &str| SecretString::from(format!("{of} of {account}"));
    let new = Renewed {
        access: token("access"),
        refresh: Some(token("refresh")),
        secret: None,
        expires_at: Some(expires_at),
        remote_id: None,
        signed_in: false,
    };
    assert!(store.commit_refresh(account, version, &new).await.unwrap());
}

async fn two_nodes_enqueue_one_refresh(db: Db) {
    let world = World::new(db, &KEYED).await;
    let mut accounts = HashSet::new();
    for n in 0..250 {
        accounts.insert(signed_in(&world, &format!("account {n}")).await);
    }
    let (one, other) = (node(&world), node(&world));
    world.advance(1_000);
    assert_eq!(look(&one).await + look(&other).await, 0, "nothing is due yet");

    world.advance(TOKEN_LIFE_S - 1_000);
    let (by_one, by_other) = tokio::join!(look(&one), look(&other));
    assert_eq!(by_one + by_other, 250, "{by_one} and {by_other}");
    let jobs = waiting(&world.ledger(), world.clock.now()).await;
    let named: HashSet<Uuid> = jobs.iter().filter_map(|job| job.account).collect();
    assert_eq!((jobs.len(), named), (250, accounts));
    let times: HashSet<Timestamp> = jobs.iter().map(|job| job.run_at).collect();
    assert!(times.len() > 100, "{times:?}");
    let now = world.clock.now();
    for job in &jobs {
        // What is long due comes within some seconds, one after the other.
        assert!(job.run_at < now.after(Duration::from_secs(5)), "{job:?}");
        let key = format!("refresh:{}", job.account.unwrap());
        assert_eq!(
            (job.queue.as_str(), job.unique_key.as_ref()),
            ("token_refresh.keyed", Some(&key))
        );
        assert_eq!(job.tenant, Tenant::DEFAULT);
    }

    // Nobody renewed them. While a job lives, it is the only one of its account.
    assert_eq!(look(&one).await, 0, "each account is left alone for a while");
    world.advance(15 * 60);
    let (by_one, by_other) = tokio::join!(look(&one), look(&other));
    assert_eq!(by_one + by_other, 250);
    assert_eq!(waiting(&world.ledger(), world.clock.now()).await.len(), 250);
    end(&world.ledger(), &jobs, Next::Cancelled { at: world.clock.now() }).await;
    world.advance(15 * 60);
    assert_eq!(look(&other).await, 250);
    assert_eq!(waiting(&world.ledger(), world.clock.now()).await.len(), 250);
}

async fn tokens_that_a_platform_granted_are_renewed_as_others_are(db: Db) {
    let world = World::new(db, &KEYED).await;
    let mut grant = grant("17", "first");
    grant.tokens.expires_at = Some(world.clock.now().after(Duration::from_secs(TOKEN_LIFE_S)));
    let (account, _) = kept(keep(&world, &grant).await);
    let node = node(&world);
    assert_eq!(look(&node).await, 0, "nothing is due yet");
    world.advance(TOKEN_LIFE_S - 60);
    assert_eq!(world.store.late_tokens().await.unwrap(), [(KEYED.name.to_owned(), 1)]);
    assert_eq!(look(&node).await, 1);
    let jobs = waiting(&world.ledger(), world.clock.now()).await;
    assert_eq!(jobs.iter().map(|job| job.account).collect::<Vec<_>>(), [Some(account)]);
}

async fn tokens_that_nothing_can_renew_are_used_until_their_end(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    let mut grant = grant("17", "only");
    grant.tokens.refresh = None;
    grant.tokens.expires_at = Some(world.clock.now().after(Duration::from_secs(TOKEN_LIFE_S)));
    let (account, _) = kept(keep(&world, &grant).await);
    world.advance(TOKEN_LIFE_S - 10);
    assert_eq!(look(&node(&world)).await, 0);
    assert_eq!(world.store.late_tokens().await.unwrap(), []);
    // Somebody asks for it all the same.
    accounts.refresh(account, world.clock.now()).await.unwrap();
    let used = accounts.with_access(account, async |_, token| Ok(token)).await.unwrap();
    assert_eq!(used.expose_secret(), "only");

    world.advance(11);
    let error = accounts.with_access(account, async |_, token| Ok(token)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
    let row = world.store.connector(account).await.unwrap().unwrap();
    assert!(row.state_reason.unwrap().contains("granted no refresh token"));
}

async fn an_account_that_needs_a_person_is_not_renewed(db: Db) {
    let world = World::new(db, &KEYED).await;
    let (node, worker) = (node(&world), world.worker());
    world.use_token(&worker.accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    let version = world.store.access(world.account).await.unwrap().unwrap().version;
    assert!(world.store.revoke(world.account, None, version, "refused").await.unwrap());
    assert_eq!(look(&node).await, 0);
    assert_eq!(world.store.late_tokens().await.unwrap(), []);

    // Connected again, it has no tokens to renew until a job has got the first.
    world.platform.new_secret(SECRET);
    world.connect("ada", SECRET).await;
    world.advance(TOKEN_LIFE_S);
    assert_eq!(look(&node).await, 0);
    world.use_token(&worker.accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    assert_eq!(look(&node).await, 1);
}

async fn a_platform_that_is_switched_off_is_not_asked_for_new_tokens(db: Db) {
    let world = World::new(db, &KEYED).await;
    world.use_token(&world.worker().accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    let off = Renewals { platforms: vec!["another"], ..node(&world) };
    assert_eq!(look(&off).await, 0);
    let off = Renewals { platforms: Vec::new(), ..node(&world) };
    assert_eq!(look(&off).await, 0);
    assert_eq!(look(&node(&world)).await, 1, "it was left as it was");
}

async fn a_job_renews_what_is_due_and_nothing_that_was_renewed_meanwhile(db: Db) {
    let world = World::new(db, &KEYED).await;
    let node = node(&world);
    let worker = world.worker();
    let refreshes = || world.platform.server().refreshes;
    world.use_token(&worker.accounts).await.unwrap();
    assert_eq!(refreshes(), 1);
    // Due, and good for another quarter of an hour.
    world.advance(TOKEN_LIFE_S - 15 * 60);
    assert_eq!(look(&node).await, 1);
    let run = async || {
        let jobs = waiting(&world.ledger(), world.clock.now()).await;
        assert_eq!(jobs.len(), 1);
        let mut cx = world.context::<TokenRefresh>();
        cx.created_at = jobs[0].created_at;
        let job = TokenRefresh { connector_id: world.account };
        RefreshTokens(worker.clone()).handle(job, &cx).await.unwrap();
        jobs
    };
    world.advance(1);
    let jobs = run().await;
    assert_eq!(refreshes(), 2, "it was still good");
    // The worker died before it could say so.
    world.advance(1);
    run().await;
    assert_eq!(refreshes(), 2, "it was renewed already");
    end(&world.ledger(), &jobs, Next::Completed { at: world.clock.now() }).await;

    // Now the platform forgets the token, and another job is faster.
    world.advance(TOKEN_LIFE_S - 15 * 60);
    assert_eq!(look(&node).await, 1);
    world.advance(1);
    world.platform.forget_access();
    world.use_token(&worker.accounts).await.unwrap();
    assert_eq!(refreshes(), 3);
    run().await;
    assert_eq!(refreshes(), 3);
    assert_eq!(look(&node).await, 0, "new tokens have a plan of their own");
}

async fn tokens_that_nobody_renews_are_late(db: Db) {
    let world = World::new(db, &KEYED).await;
    let worker = world.worker();
    world.use_token(&worker.accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S - 8 * 60);
    assert_eq!(world.store.late_tokens().await.unwrap(), []);
    // That the chore has seen it is not enough.
    assert_eq!(look(&node(&world)).await, 1);
    world.advance(60);
    assert_eq!(world.store.late_tokens().await.unwrap(), [(KEYED.name.to_owned(), 1)]);
    worker.accounts.refresh(world.account, world.clock.now()).await.unwrap();
    assert_eq!(world.store.late_tokens().await.unwrap(), []);
}

/// What the migration does with accounts that are there.
async fn tokens_of_before_are_planned(db: Db) {
    let world = World::new(db, &KEYED).await;
    let now = world.clock.now();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let good = signed_in(&world, "good").await;
    let (ended, endless, refused) = (
        signed_in(&world, "ended").await,
        signed_in(&world, "endless").await,
        signed_in(&world, "refused").await,
    );
    let version = world.store.access(refused).await.unwrap().unwrap().version;
    assert!(world.store.revoke(refused, None, version, "refused").await.unwrap());
    let mut tx = world.db.begin().await.unwrap();
    for (id, expires_at) in [(ended, Some(now.before(minutes(600)).as_millis())), (endless, None)] {
        on_tx!(&mut tx, conn => sqlx::query(
            "UPDATE connector_tokens SET expires_at = $2, refreshed_at = $3 WHERE connector_id = $1",
        )
        .bind(id)
        .bind(expires_at)
        .bind(now.before(minutes(660)).as_millis())
        .execute(conn)
        .await
        .map(drop))
        .unwrap();
    }
    let migration = match &world.db {
        Db::Postgres(_) => include_str!("../../../migrations/postgres/0016_renewals.sql"),
        Db::Sqlite(_) => include_str!("../../../migrations/sqlite/0016_renewals.sql"),
    };
    let undo = "DROP INDEX connector_tokens_due; DROP INDEX connector_tokens_late; \
         ALTER TABLE connector_tokens DROP COLUMN refresh_due_at; \
         ALTER TABLE connector_tokens DROP COLUMN refresh_late_at;";
    for sql in [undo, migration] {
        on_tx!(&mut tx, conn => sqlx::raw_sql(sql).execute(conn).await.map(drop)).unwrap();
    }
    tx.commit().await.unwrap();
    let rows: Vec<(Uuid, Option<i64>, Option<i64>)> = on_db!(&world.db, pool => {
        sqlx::query_as("SELECT connector_id, refresh_due_at, refresh_late_at FROM connector_tokens")
            .fetch_all(pool)
            .await
    })
    .unwrap();
    let planned: HashMap<Uuid, _> =
        rows.into_iter().map(|(id, due, late)| (id, (due, late))).collect();
    let after = |id| {
        let (due, late) = planned[&id];
        let minutes = |at: Option<i64>| {
            #[allow(clippy::cast_precision_loss, reason = "a span of hours")]
            at.map(|at| (at - now.as_millis()) as f64 / 60_000.0)
        };
        (minutes(due), minutes(late))
    };
    let (due, late) = after(good);
    assert!((34.9..=45.1).contains(&due.unwrap()) && (52.4..52.6).contains(&late.unwrap()));
    let (due, late) = after(ended);
    // The database's clock is not the test's.
    assert!((-1.0..=61.0).contains(&due.unwrap()) && (59.0..61.0).contains(&late.unwrap()));
    assert_eq!([after(endless), after(refused), after(world.account)], [(None, None); 3]);
}

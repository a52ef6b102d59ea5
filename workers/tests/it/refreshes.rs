//! Between a lease on an account's tokens and the record of what came of it, whatever happens to
//! the worker that has it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use postworks::clock::{Clock, ShiftedClock};
use postworks::gate::breaker::{Settings, Took};
use postworks::job::{
    Attempt, ErrorClass, Job, JobError, Outcome, PostPublication, SnoozeReason, Timestamp, decide,
};
use postworks::ledger::Db;
use postworks::testing::postgres_server::PostgresServer;
use postworks_workers::accounts::Accounts;
use postworks_workers::platforms::{Platform, Platforms};
use postworks_workers::store::{ConnectorState, PublicationState, Renewed};
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scripted::{Fault, KEYED, SESSIONS, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    a_holder_that_was_frozen_sends_nothing,
    a_holder_that_was_frozen_does_not_sign_in_either,
    a_failing_token_endpoint_costs_no_attempt_and_no_job,
    a_takeover_waits_for_an_answer_that_is_being_kept,
    a_hundred_waiting_jobs_ask_once,
    no_refresh_begins_in_a_drain,
}

/// A process's clock. The process stands still when it reads it for the n-th time.
struct Freezing {
    clock: Arc<ShiftedClock>,
    readings_left: AtomicI64,
    /// Released once it stands still.
    frozen: Semaphore,
    goes_on: Mutex<bool>,
    thawed: Condvar,
}

impl Freezing {
    fn at(reading: i64, world: &World) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(&world.clock),
            readings_left: AtomicI64::new(reading),
            frozen: Semaphore::new(0),
            goes_on: Mutex::new(false),
            thawed: Condvar::new(),
        })
    }

    fn thaw(&self) {
        *self.goes_on.lock().unwrap() = true;
        self.thawed.notify_all();
    }
}

impl Clock for Freezing {
    fn now(&self) -> Timestamp {
        if self.readings_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            tokio::task::block_in_place(|| {
                self.frozen.add_permits(1);
                let frozen = self.goes_on.lock().unwrap();
                drop(self.thawed.wait_while(frozen, |goes_on| !*goes_on).unwrap());
            });
        }
        self.clock.now()
    }
}

/// Freezes a worker at each of its readings of the clock in turn, for longer than a lease, while
/// another one renews the tokens. `sent` counts the requests that matter.
async fn freeze_everywhere(world: World, prepare: impl Fn(&World), sent: impl Fn(&World) -> u32) {
    let world = Arc::new(world);
    world.use_token(&world.worker().accounts).await.unwrap();
    for reading in 1.. {
        world.advance(TOKEN_LIFE_S);
        prepare(&world);
        let before = sent(&world);
        let clock = Freezing::at(reading, &world);
        let platforms = Platforms::new([world.platform.clone() as Arc<dyn Platform>]);
        let holder = Accounts::new(world.store.clone(), platforms, clock.clone());
        let job = tokio::spawn({
            let (world, holder) = (Arc::clone(&world), holder.clone());
            async move { world.use_token(&holder).await }
        });
        clock.frozen.acquire().await.unwrap().forget();
        if sent(&world) > before {
            // From here on it is the answer that may get lost.
            clock.thaw();
            job.await.unwrap().unwrap();
            assert!(reading > 3, "it was frozen with the lease");
            return;
        }
        world.advance(60);
        world.use_token_in_time(&world.worker().accounts).await.unwrap();
        clock.thaw();
        if let Err(error) = job.await.unwrap() {
            let class = error.class();
            assert!(matches!(class, ErrorClass::Unavailable { .. }), "{reading}: {error}");
        }
        holder.finish().await;
        assert_eq!(sent(&world), before + 1, "frozen at reading {reading}, it sent one more");
        let account = world.store.connector(world.account).await.unwrap().unwrap();
        assert_eq!(account.state, ConnectorState::Active, "frozen at reading {reading}");
    }
}

async fn a_holder_that_was_frozen_sends_nothing(db: Db) {
    let world = World::new(db, &KEYED).await;
    freeze_everywhere(world, |_| (), |world| world.platform.server().refreshes).await;
}

async fn a_holder_that_was_frozen_does_not_sign_in_either(db: Db) {
    let world = World::new(db, &SESSIONS).await;
    let forget = |world: &World| world.platform.forget_grant();
    freeze_everywhere(world, forget, |world| world.platform.server().sign_ins).await;
}

/// What the engine does with a job's last attempt that ended so.
fn judged(world: &World, error: &JobError) -> Outcome {
    let took = Took { whole: Duration::from_secs(1), calling: None };
    assert_eq!(Settings::default().is_bad(Err(error), took), None, "it blames publishing: {error}");
    let now = world.clock.now();
    let expires_at = now.after(PostPublication::EXPIRES_AFTER);
    let last = Attempt { number: 3, max: 3, expires_at, now, jitter: 0.5 };
    decide(Err(error), last, &PostPublication::RETRY)
}

async fn a_failing_token_endpoint_costs_no_attempt_and_no_job(db: Db) {
    let world = World::new(db, &KEYED).await;
    let publication = world.publication("hello").await;
    let until = world.clock.now().after(Duration::from_secs(20));
    let classes = [
        ErrorClass::NotSent,
        ErrorClass::Transient,
        ErrorClass::Unknown { repeatable: false },
        // Such as `invalid_client`, which is our own configuration.
        ErrorClass::Invalid,
        ErrorClass::Unavailable { until },
    ];
    for class in classes.into_iter().cycle().take(25) {
        world.platform.server().refresh_faults.push_back(Fault::Fails(class));
        // The one that asked, and one that finds that nobody may ask for now.
        for _ in 0..2 {
            let error = world.publish(publication).await.unwrap_err();
            let outcome = judged(&world, &error);
            let Outcome::Snooze { until, why } = outcome else { panic!("{class:?}: {outcome:?}") };
            assert_eq!(why, SnoozeReason::TokenRefresh, "{class:?}");
            assert!(until.since(world.clock.now()) <= Duration::from_secs(300), "{class:?}");
            assert!(error.to_string().contains("scripted"), "it says why: {error}");
        }
        world.advance(300);
    }
    assert_eq!(world.platform.server().refreshes, 25);
    assert_eq!(world.row(publication).await.state, PublicationState::Scheduled);
    let account = world.store.connector(world.account).await.unwrap().unwrap();
    assert_eq!(account.state, ConnectorState::Active);
    world.publish(publication).await.unwrap();
    assert_eq!(world.platform.server().sent.len(), 1);
}

async fn a_takeover_waits_for_an_answer_that_is_being_kept(db: Db) {
    let world = World::new(db, &KEYED).await;
    world.use_token(&world.worker().accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    // A worker has an answer that the database did not take before the lease ran out.
    let seen = world.store.access(world.account).await.unwrap().unwrap();
    let (owner, until) = (Uuid::new_v4(), world.clock.now().after(Duration::from_secs(45)));
    let held = world.store.acquire_refresh(&seen, owner, until).await.unwrap().unwrap();
    let account = seen.connector.account();
    let set = world.platform.refresh(&account, &held.refresh.unwrap()).await.unwrap();
    world.advance(60);
    let accounts = world.worker().accounts;
    let job = world.use_token_in_time(&accounts);
    let keep = async {
        // The database is back, and another worker was the first to find that out.
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            let row = world.store.access(world.account).await.unwrap().unwrap();
            if row.lease_owner != Some(owner) {
                break;
            }
        }
        let (access, refresh, secret) = (set.access, set.refresh, None::<SecretString>);
        let (expires_at, remote_id) = (set.expires_at, set.remote_id);
        let renewed = Renewed { access, refresh, secret, expires_at, remote_id, signed_in: false };
        world.store.commit_refresh(world.account, seen.version, &renewed).await.unwrap()
    };
    let (token, kept) = futures_util::future::join(job, keep).await;
    assert!(kept, "who was answered goes before who wants to ask");
    assert_eq!(token.unwrap(), "access-token-2");
    accounts.finish().await;
    assert_eq!(world.platform.server().refreshes, 2);
}

/// A clock that counts its readings: a waiting job reads it once for each look at the account.
struct Counting(Arc<ShiftedClock>, AtomicI64);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.now()
    }
}

async fn a_hundred_waiting_jobs_ask_once(db: Db) {
    let world = World::new(db, &KEYED).await;
    // Another worker refreshes, and takes its time.
    let seen = world.store.access(world.account).await.unwrap().unwrap();
    let until = world.clock.now().after(Duration::from_secs(45));
    world.store.acquire_refresh(&seen, Uuid::new_v4(), until).await.unwrap().unwrap();
    let clock = Arc::new(Counting(Arc::clone(&world.clock), AtomicI64::new(0)));
    let platforms = Platforms::new([world.platform.clone() as Arc<dyn Platform>]);
    let accounts = Accounts::new(world.store.clone(), platforms, clock.clone());
    let jobs = (0..100).map(|_| world.use_token(&accounts));
    for answer in futures_util::future::join_all(jobs).await {
        let error = answer.unwrap_err();
        let ErrorClass::Unavailable { until } = error.class() else { panic!("{error}") };
        assert_eq!(error.waits_for(), SnoozeReason::TokenRefresh);
        assert!(until > world.clock.now(), "it comes back later");
    }
    let looks = clock.1.load(Ordering::SeqCst);
    // When it came, when it left and by when it comes back, each; and the one that looked for all.
    assert!((101..=350).contains(&looks), "{looks} looks");
    assert_eq!(world.platform.server().refreshes, 0);

    // Without another one, one of them asks for all.
    world.advance(46);
    world.platform.gate.forget_permits(1_000);
    let jobs = (0..100).map(|_| world.use_token_in_time(&accounts));
    let open = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        world.platform.gate.add_permits(1_000);
    };
    let (tokens, ()) = futures_util::future::join(futures_util::future::join_all(jobs), open).await;
    assert!(tokens.into_iter().all(|token| token.unwrap() == "access-token-1"));
    assert_eq!(world.platform.server().refreshes, 1);
}

async fn no_refresh_begins_in_a_drain(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    let stop = CancellationToken::new();
    accounts.stopping_at(stop.clone());
    world.use_token(&accounts).await.unwrap();
    stop.cancel();
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-1");
    world.advance(TOKEN_LIFE_S);
    let error = world.use_token(&accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    assert_eq!(error.waits_for(), SnoozeReason::TokenRefresh);
    accounts.finish().await;
    assert_eq!(world.platform.server().refreshes, 1);
    assert_eq!(world.use_token(&world.worker().accounts).await.unwrap(), "access-token-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_late_costs_no_account() {
    let server = PostgresServer::launch().await;
    let world = World::new(server.db().await, &KEYED).await;
    let holder = world.worker().accounts;
    world.use_token(&holder).await.unwrap();
    for round in 2..5 {
        world.advance(TOKEN_LIFE_S);
        world.platform.gate.forget_permits(1_000);
        world.platform.at_gate.forget_permits(1_000);
        world.platform.refreshed.forget_permits(1_000);
        let away = async {
            world.platform.at_gate.acquire().await.unwrap().forget();
            server.stop();
            // The platform answers, and nobody can write it down until the lease has run out.
            world.platform.gate.add_permits(1_000);
            world.platform.refreshed.acquire().await.unwrap().forget();
            world.advance(60);
            let other = world.worker().accounts;
            let error = world.use_token(&other).await.unwrap_err();
            assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
            server.start();
            world.use_token_in_time(&other).await
        };
        let jobs = futures_util::future::join(world.use_token_in_time(&holder), away);
        let (first, second) = jobs.await;
        assert_eq!(first.unwrap(), format!("access-token-{round}"));
        assert_eq!(second.unwrap(), format!("access-token-{round}"));
        assert_eq!(world.platform.server().refreshes, round);
    }
}

//! A thousand accounts whose tokens end within the same minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use postworks::broker::memory::MemoryBroker;
use postworks::client::Producer;
use postworks::clock::{Clock, SharedClock};
use postworks::job::{Catalog, ErrorClass, JobError, NewJob, Timestamp};
use postworks::ledger::{Next, SqlLedger};
use postworks::testing::postgres_server::PostgresServer;
use postworks_workers::accounts::Accounts;
use postworks_workers::platforms::{
    Account, Bearer, Committed, Descriptor, Outgoing, Platform, Platforms, Prepared, Published,
    SyncPage, TokenSet,
};
use postworks_workers::renewals::Renewals;
use postworks_workers::store::{NewConnector, Store};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::renewals::{end, waiting};
use crate::scripted::KEYED;
use crate::world::key_ring;

const ACCOUNTS: usize = 1_000;
const LIFE: Duration = Duration::from_secs(3_600);
/// Between two looks of the chore. The real one looks twice as often.
const STEP: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Work under way at once.
const AT_ONCE: usize = 8;

/// Time that goes on when the test says so.
struct Still(AtomicI64);

impl Still {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What the platform knows of an account's grant.
#[derive(Default)]
struct Grant {
    issued: u32,
    ends: Timestamp,
}

/// A refresh that the platform was asked for.
struct Asked {
    at: Timestamp,
    /// How long the access token before would have been good for.
    left: Duration,
}

/// A platform with strict rotation and many accounts.
struct Many {
    clock: Arc<Still>,
    grants: Mutex<HashMap<Uuid, Grant>>,
    asked: Mutex<Vec<Asked>>,
}

#[async_trait]
impl Platform for Many {
    fn descriptor(&self) -> &'static Descriptor {
        &KEYED
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.refresh(account, secret).await
    }

    async fn refresh(&self, account: &Account, token: &SecretString) -> Result<TokenSet, JobError> {
        let at = self.clock.now();
        let mut grants = self.grants.lock().unwrap();
        let grant = grants.entry(account.connector_id).or_default();
        if token.expose_secret() != format!("refresh {}", grant.issued) {
            return Err(JobError::new(ErrorClass::AuthRevoked, "invalid_grant"));
        }
        self.asked.lock().unwrap().push(Asked { at, left: grant.ends.since(at) });
        *grant = Grant { issued: grant.issued + 1, ends: at.after(LIFE) };
        Ok(TokenSet {
            access: SecretString::from(format!("access {}", grant.issued)),
            refresh: Some(SecretString::from(format!("refresh {}", grant.issued))),
            expires_at: Some(grant.ends),
            remote_id: None,
        })
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        _: &Outgoing,
        _: &Prepared,
    ) -> Result<Committed, JobError> {
        let grants = self.grants.lock().unwrap();
        let grant = &grants[&by.account.connector_id];
        let good = by.access.expose_secret() == format!("access {}", grant.issued);
        if !good || grant.ends <= self.clock.now() {
            return Err(JobError::new(ErrorClass::AuthExpired, "invalid_token"));
        }
        let remote_id = "1".to_owned();
        Ok(Committed::Published(Published { remote_id, remote_url: None }))
    }

    async fn posts(&self, _: Bearer<'_>, _: Option<&str>) -> Result<SyncPage, JobError> {
        Err(JobError::new(ErrorClass::Bug, "nobody reads here"))
    }
}

/// A node, and the accounts.
struct World {
    clock: Arc<Still>,
    platform: Arc<Many>,
    store: Store,
    accounts: Accounts,
    ledger: SqlLedger,
    chore: Renewals,
}

impl World {
    async fn over(server: &PostgresServer) -> Self {
        let db = server.db().await;
        let clock = Arc::new(Still(AtomicI64::new(1_800_000_000_000)));
        let shared: SharedClock = clock.clone();
        let (grants, asked) = (Mutex::default(), Mutex::default());
        let platform = Arc::new(Many { clock: clock.clone(), grants, asked });
        let platforms = Platforms::new([platform.clone() as Arc<dyn Platform>]);
        let store = Store::new(db.clone(), key_ring(), shared.clone());
        let accounts = Accounts::new(store.clone(), platforms, shared.clone());
        let ledger = SqlLedger::new(db.clone());
        let producer = Producer::new(
            Arc::new(SqlLedger::new(db)),
            Arc::new(MemoryBroker::new(shared.clone())),
            Arc::new(Catalog::builtin().unwrap()),
            shared,
        );
        let platforms = vec![KEYED.name];
        let chore = Renewals { store: store.clone(), producer, platforms };
        Self { clock, platform, store, accounts, ledger, chore }
    }

    async fn connect(&self, n: usize) -> Uuid {
        let new = NewConnector {
            platform: KEYED.name.to_owned(),
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            identifier: format!("account {n}"),
            target: None,
            secret: SecretString::from("refresh 0"),
        };
        let id = self.store.add_connector(new).await.unwrap().id;
        self.clock.advance(MINUTE / 1_000);
        self.publish(id).await;
        id
    }

    /// What a job does with its account.
    async fn publish(&self, account: Uuid) {
        let post = Outgoing::of_text(account, String::new(), self.clock.now());
        let call = |account: Account, access: SecretString| {
            let (platform, post) = (self.platform.clone(), post.clone());
            async move { platform.commit(account.with(&access), &post, &Prepared::NOTHING).await }
        };
        self.accounts.with_access(account, call).await.unwrap();
    }

    /// Looks for what is due, and runs the jobs; answers how many there were.
    async fn renew(&self) -> usize {
        while self.chore.look().await.unwrap() > 0 {}
        let jobs = waiting(&self.ledger, self.clock.now()).await;
        self.clock.advance(Duration::from_millis(1));
        let run = |job: &NewJob| self.accounts.refresh(job.account.unwrap(), job.created_at);
        stream::iter(jobs.iter().map(run))
            .buffer_unordered(AT_ONCE)
            .for_each(async |renewed| renewed.unwrap())
            .await;
        let now = self.clock.now();
        end(&self.ledger, &jobs, Next::Completed { at: now }).await;
        jobs.len()
    }

    /// How many refreshes the platform was asked for, by the minute since `from`.
    fn by_minute(&self, from: Timestamp) -> BTreeMap<u64, usize> {
        let asked = self.platform.asked.lock().unwrap();
        by_minute(from, asked.iter().map(|asked| asked.at))
    }
}

fn by_minute(from: Timestamp, times: impl Iterator<Item = Timestamp>) -> BTreeMap<u64, usize> {
    let mut minutes = BTreeMap::new();
    for at in times.filter(|at| *at >= from) {
        *minutes.entry(at.since(from).as_secs() / 60).or_default() += 1;
    }
    minutes
}

/// All have their first tokens within a minute, and each has a job every three and a half minutes.
/// On demand, the tokens would all be renewed within four minutes, each under a job that waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_accounts_of_one_hour_are_renewed_evenly_and_none_ends_under_a_job() {
    let server = PostgresServer::launch().await;
    let world = World::over(&server).await;
    let began = world.clock.now();
    let connecting = stream::iter(0..ACCOUNTS).map(|n| world.connect(n));
    let accounts: Vec<Uuid> = connecting.buffer_unordered(AT_ONCE).collect().await;
    let asked = |world: &World| world.platform.asked.lock().unwrap().len();
    assert_eq!(asked(&world), ACCOUNTS, "the first tokens");
    world.clock.advance(LIFE / 2 - world.clock.now().since(began));
    let half = world.clock.now();

    let (mut jobs, mut most) = (0, 0);
    for (step, users) in (0..).zip(accounts.chunks(50).cycle()) {
        if world.clock.now().since(began) > LIFE + MINUTE {
            break;
        }
        let renewed = world.renew().await;
        (jobs, most) = (jobs + renewed, most.max(renewed));
        // Within the margin of requests under way a job would renew the tokens itself.
        for account in users {
            world.publish(*account).await;
        }
        assert_eq!(asked(&world), ACCOUNTS + jobs, "at step {step} a job had to renew tokens");
        world.clock.advance(STEP);
    }

    let table = world.by_minute(half);
    eprintln!("minutes after half of the hour, and refreshes: {table:?}; at most {most} in 10 s");
    assert_eq!(jobs, ACCOUNTS, "each was renewed once");
    let left: Vec<Duration> =
        world.platform.asked.lock().unwrap()[ACCOUNTS..].iter().map(|asked| asked.left).collect();
    let (least, longest) = (left.iter().min().unwrap(), left.iter().max().unwrap());
    assert!(
        *least >= MINUTE * 15 - STEP && *longest <= MINUTE * 25 + STEP,
        "{least:?} to {longest:?}"
    );
    // A hundred a minute in the mean, over ten minutes and the one in which they were connected.
    assert!(table.len() >= 10 && table.values().all(|count| *count <= 150), "{table:?}");
    assert!(most <= 45, "{most} in ten seconds");
}

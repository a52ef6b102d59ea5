//! What the tests stand on: a database, one scripted platform, any number of workers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postworks::clock::{Clock as _, SharedClock, ShiftedClock};
use postworks::config::{Config, Sources};
use postworks::job::{
    Catalog, ErrorClass, InvalidRequest, Job, JobError, JobId, Kind, NewJob, PostPublication,
    Queue, Request, Tenant, Token, WorkerId,
};
use postworks::ledger::{AuditEntry, Db, Ledger as _, SqlLedger};
use postworks::worker::{BreakerView, EffectSlot, Family, Handler, JobContext};
use postworks_workers::accounts::Accounts;
use postworks_workers::handlers::{PublishPost, Services};
use postworks_workers::platforms::{
    Account, Descriptor, Outgoing, Platform, Platforms, Prepared, Sought,
};
use postworks_workers::secrets::KeyRing;
use postworks_workers::store::{Connected, NewConnector, Publication, Publish, Store};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scripted::{SECRET, Scripted};

const KEYS: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// More than a request and the platform's visibility take.
pub(crate) const SETTLED_S: u64 = 60;

/// A key ring that protects nothing.
pub(crate) fn key_ring() -> KeyRing {
    KeyRing::parse(KEYS).unwrap()
}

/// A database, a platform and an account on it.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) platform: Arc<Scripted>,
    pub(crate) store: Store,
    pub(crate) account: Uuid,
    claims: AtomicU64,
}

impl World {
    pub(crate) async fn new(db: Db, descriptor: &'static Descriptor) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let shared: SharedClock = clock.clone();
        let platform = Scripted::new(descriptor, shared.clone());
        let store = Store::new(db.clone(), key_ring(), shared);
        let (account, claims) = (Uuid::nil(), AtomicU64::new(0));
        let mut world = Self { db, clock, platform, store, account, claims };
        world.account = world.connect("ada", SECRET).await.id;
        world
    }

    pub(crate) async fn connect(&self, identifier: &str, secret: &str) -> Connected {
        let new = NewConnector {
            platform: self.platform.descriptor().name.to_owned(),
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            identifier: identifier.to_owned(),
            target: None,
            secret: SecretString::from(secret),
        };
        self.store.add_connector(new).await.unwrap()
    }

    /// What a worker process works with; each call is another process.
    pub(crate) fn worker(&self) -> Services {
        let platforms = Platforms::new([self.platform.clone() as Arc<dyn Platform>]);
        let clock: SharedClock = self.clock.clone();
        let config = Config::load(&Sources::default()).unwrap();
        Services {
            store: self.store.clone(),
            accounts: Accounts::new(self.store.clone(), platforms.clone(), clock.clone()),
            ledger: Arc::new(SqlLedger::new(self.db.clone())),
            platforms,
            clock,
            retention: config.retention,
            sync: config.sync,
            public_url: None,
        }
    }

    /// Uses the account's access token as a job does; answers the token.
    pub(crate) async fn use_token(&self, accounts: &Accounts) -> Result<String, JobError> {
        use secrecy::ExposeSecret as _;
        let platform = self.platform.clone();
        let call = |account: Account, access: SecretString| {
            let platform = platform.clone();
            async move {
                let sought = Sought::alone(crate::scripted::FAR, crate::scripted::FAR);
                let (post, none) = (nothing(), Prepared::NOTHING);
                platform.reconcile(account.with(&access), &post, &none, sought).await?;
                Ok(access.expose_secret().to_owned())
            }
        };
        accounts.with_access(self.account, call).await
    }

    /// The same, as a job does that the engine runs again whenever its time has come.
    pub(crate) async fn use_token_in_time(&self, accounts: &Accounts) -> Result<String, JobError> {
        loop {
            let used = self.use_token(accounts).await;
            let Err(error) = &used else { return used };
            let ErrorClass::Unavailable { until } = error.class() else { return used };
            tokio::time::sleep(until.since(self.clock.now())).await;
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// What the audit says of something that a person did.
    pub(crate) fn note(&self, action: &str, subject: &str) -> AuditEntry {
        AuditEntry {
            id: self.store.new_id(),
            at: self.clock.now(),
            actor: "cli:ann@desk".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: None,
            why: None,
            count: 1,
        }
    }

    /// Makes jobs as the engine's producer does.
    pub(crate) fn prepare(&self, request: Request) -> Result<NewJob, InvalidRequest> {
        let now = self.clock.now();
        request.into_job(&Catalog::builtin().unwrap(), JobId::at(now, rand::random()), now)
    }

    /// A publication of a new post on the account.
    pub(crate) async fn publication(&self, text: &str) -> Uuid {
        self.publication_on(self.account, text).await
    }

    /// The same on another account.
    pub(crate) async fn publication_on(&self, account: Uuid, text: &str) -> Uuid {
        let post_id = self.store.add_post(text).await.unwrap();
        let publish =
            Publish { post_id, connector_ids: vec![account], at: None, window: None, reply: None };
        let made = self.store.publish(&publish, |request| self.prepare(request)).await.unwrap();
        made[0].publication_id
    }

    pub(crate) async fn row(&self, publication: Uuid) -> Publication {
        self.store.publication(publication).await.unwrap().unwrap()
    }

    /// One attempt, as the engine makes it.
    pub(crate) async fn attempt<J: Job>(
        &self,
        handler: impl Handler<J>,
        job: J,
    ) -> Result<(), JobError> {
        handler.handle(job, &self.context::<J>()).await
    }

    pub(crate) fn context<J: Job>(&self) -> JobContext {
        let kind = Kind::parse(J::KIND).unwrap();
        let now = self.clock.now();
        JobContext {
            id: JobId::at(now, rand::random()),
            queue: Queue::of_platform(&kind, self.platform.descriptor().name).unwrap(),
            kind,
            attempt: 1,
            max_attempts: 3,
            created_at: now,
            run_at: now,
            expires_at: now.after(J::EXPIRES_AFTER),
            deadline: now.after(J::TIMEOUT),
            tenant: Tenant::DEFAULT,
            trace: None,
            token: self.claim(),
            worker: WorkerId::new("test", 1, Uuid::nil()),
            cancelled: CancellationToken::new(),
            breaker: BreakerView::default(),
            effect: EffectSlot::default(),
            family: Family::default(),
        }
    }

    /// The next claim's token.
    pub(crate) fn claim(&self) -> Token {
        Token { generation: 1, sequence: 1 + self.claims.fetch_add(1, Ordering::SeqCst) }
    }

    pub(crate) fn ledger(&self) -> SqlLedger {
        SqlLedger::new(self.db.clone())
    }

    /// A run of a publication's job: a worker has claimed it, and no earlier one has it any more.
    pub(crate) async fn run_of(&self, publication: Uuid) -> JobContext {
        let mut cx = self.context::<PostPublication>();
        if let Some(row) = self.store.publication(publication).await.unwrap() {
            cx.id = JobId::from_uuid(row.job_id);
            self.ledger().stamp(&[(cx.id, cx.token)], self.clock.now()).await.unwrap();
        }
        cx
    }

    /// One attempt at a publication in this run, and what the engine records after it.
    pub(crate) async fn publish_in(&self, cx: &JobContext, id: Uuid) -> Result<(), JobError> {
        let handler = PublishPost(self.worker());
        let result = handler.handle(PostPublication { publication_id: id }, cx).await;
        cx.effect.get().unwrap().record().await.unwrap();
        result
    }

    /// One attempt at a publication by the worker that has its job now.
    pub(crate) async fn publish(&self, id: Uuid) -> Result<(), JobError> {
        self.publish_in(&self.run_of(id).await, id).await
    }
}

fn nothing() -> Outgoing {
    Outgoing::of_text(Uuid::nil(), String::new(), crate::scripted::FAR)
}

/// An embedded database with all tables.
pub(crate) async fn embedded(folder: &Path) -> Db {
    let db = Db::open_sqlite(&folder.join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    db
}

/// Makes each function of the calling module a test on either database.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod postgres {
            use postworks::testing::postgres_server::PostgresServer;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let server = PostgresServer::launch().await;
                    super::$name(server.db().await).await;
                }
            )*
        }

        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$name($crate::world::embedded(folder.path()).await).await;
                }
            )*
        }
    };
}
pub(crate) use on_both;

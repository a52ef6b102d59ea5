//! A fleet of real processes for one test: Redis and PostgreSQL of its own, the sandbox platform,
//! an API, and as many workers as the test starts.
//!
//! Everything is a process with a clean environment, on addresses nobody else knows, so tests run
//! beside each other, and each may kill what it likes. Whatever a test starts ends with its value;
//! when a test fails, the last words of its processes are shown.

mod canary;
mod client;
mod process;
mod sandbox;
mod wait;

use futures_util::{StreamExt as _, stream};
use postworks::clock::SystemClock;
use postworks::ledger::{Db, PostgresOptions};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks_workers::secrets::KeyRing;
use postworks_workers::store::Store;
use tempfile::TempDir;

pub(crate) use canary::secrets_told;
pub(crate) use client::{Answer, Client, Http, Publication};
pub(crate) use process::{Process, Ran, run};
pub(crate) use sandbox::{Journal, Sandbox};
pub(crate) use wait::{LONG, now_ms, seconds, until};

/// The binary with every role.
pub(crate) const POSTWORKS: &str = env!("CARGO_BIN_EXE_postworks");
/// Takes a free port of the loopback interface.
pub(crate) const ANY: &str = "127.0.0.1:0";
/// Workers that start at the same time, where a test has many.
const STARTING: usize = 8;
/// A key for stored tokens; it protects nothing here.
pub(crate) const KEYS: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Stores, a platform and an API. Fields are dropped in order: first who needs the others.
pub(crate) struct Fleet {
    /// The API's process.
    pub(crate) api: Process,
    /// Talks to the API.
    pub(crate) client: Client,
    /// The platform.
    pub(crate) sandbox: Sandbox,
    /// The broker's server.
    pub(crate) redis: RedisServer,
    /// The ledger's server.
    pub(crate) postgres: PostgresServer,
    vars: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Fleet {
    /// Starts all but workers, over a Redis that keeps nothing on disk.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts all but workers, with these settings in the environment of every process.
    pub(crate) async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        Self::build(RedisServer::start(), PostgresServer::launch().await, settings).await
    }

    /// Starts all but workers over these servers, whose tables are made by `postworks migrate`.
    pub(crate) async fn over(redis: RedisServer, postgres: PostgresServer) -> Self {
        Self::build(redis, postgres, &[]).await
    }

    /// Starts all but workers over these servers, with these settings in the environment of every
    /// process; they win over those that the fleet makes itself.
    pub(crate) async fn build(
        redis: RedisServer,
        postgres: PostgresServer,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for a fleet");
        // Without a database of its own: the one that every server has is empty.
        let mut vars = vec![
            ("DATABASE_URL", postgres.url("postgres")),
            ("REDIS_URL", redis.url()),
            ("POSTWORKS_KEYS", KEYS.to_owned()),
            ("POSTWORKS_ALLOW_LOOPBACK", "1".to_owned()),
            // Who may ask is the subject of few tests, and those switch it on.
            ("POSTWORKS_AUTH", "off".to_owned()),
            // Jobs come from the tests alone.
            ("POSTWORKS__RETENTION__CLEANUP", String::new()),
            ("POSTWORKS__SYNC__EVERY", "0s".to_owned()),
            // A test is one client that makes the load of many.
            ("POSTWORKS_RATE_LIMIT", "off".to_owned()),
        ];
        vars.extend(settings.iter().map(|&(name, value)| (name, value.to_owned())));
        let migrated = run(&["migrate"], &vars).await;
        assert_eq!(migrated.code, 0, "{}", migrated.stderr);
        let sandbox = Sandbox::start(folder.path()).await;
        let args = ["api", "--listen", ANY];
        let mut api = Process::start("api", POSTWORKS, &args, &vars, folder.path());
        let client = Client::new(&api.listening("api").await);
        Self { api, client, sandbox, redis, postgres, vars, folder }
    }

    /// What every process of the fleet has in its environment; also for commands that talk to
    /// the stores directly.
    pub(crate) fn vars(&self) -> &[(&'static str, String)] {
        &self.vars
    }

    /// The product's rows, as the processes of the fleet see them.
    pub(crate) fn store(&self) -> Store {
        let db = Db::connect_postgres(&self.postgres.url("postgres"), &PostgresOptions::default());
        let keys = KeyRing::parse(KEYS).expect("a key ring");
        Store::new(db.expect("a correct address"), keys, SystemClock::shared())
    }

    /// Adds a setting to the environment of every process that is started from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.vars.push((name, value.to_owned()));
    }

    /// Starts the API again, with the environment as it is set now.
    pub(crate) async fn restart_api(&mut self) {
        self.api.signal(nix::sys::signal::Signal::SIGTERM);
        self.api.ended(LONG).await;
        let args = ["api", "--listen", ANY];
        self.api = Process::start("api", POSTWORKS, &args, &self.vars, self.folder.path());
        self.client = Client::new(&self.api.listening("api").await);
    }

    /// Starts a worker with these flags besides its health pages; returns when it says where
    /// those are.
    pub(crate) async fn worker(&self, flags: &[&str]) -> Process {
        self.worker_of(POSTWORKS, &[&["worker"], flags].concat()).await
    }

    /// Starts so many workers with these flags, a few at a time.
    pub(crate) async fn workers(&self, count: usize, flags: &[&str]) -> Vec<Process> {
        let starting = (0..count).map(|_| self.worker(flags));
        stream::iter(starting).buffer_unordered(STARTING).collect().await
    }

    /// Starts a worker that has a binary and arguments of its own.
    pub(crate) async fn worker_of(&self, program: &str, args: &[&str]) -> Process {
        let args = [args, &["--metrics-listen", ANY]].concat();
        let mut worker = Process::start("worker", program, &args, &self.vars, self.folder.path());
        worker.listening("worker").await;
        worker
    }

    /// Starts a command on the stores; what it says on stderr is its log.
    pub(crate) fn command(&self, name: &str, args: &[&str]) -> Process {
        Process::start(name, POSTWORKS, args, &self.vars, self.folder.path())
    }

    /// Connects `count` accounts of the sandbox in one of its characters. Each has published once
    /// when this returns, so none needs a new token. Needs a worker.
    pub(crate) async fn connect(&self, platform: &str, count: usize) -> Vec<String> {
        let connectors = self.client.connect(&self.sandbox, platform, count).await;
        let first = self.client.publish("a first post", &connectors).await;
        self.client.until_published(&first, LONG).await;
        connectors
    }

    /// The jobs that a worker holds, as the broker has it.
    pub(crate) fn held_by(&self, worker: &Process, queue: &str) -> Vec<String> {
        let leases = self.redis.command(&format!("ZRANGE postworks:{{{queue}}}:leases 0 -1"));
        // A lease reads job|token|host:pid:boot.
        let holder = format!(":{}:", worker.pid());
        let held = leases.lines().filter(|line| line.contains(&holder));
        held.filter_map(|line| line.split('|').next()).map(dashed).collect()
    }
}

/// A job's id as the API writes it, from how the broker does.
fn dashed(id: &str) -> String {
    id.parse::<uuid::Uuid>().expect("the id of a leased job").to_string()
}

//! One row's world: real servers behind chaos proxies, real processes, and the journals they leave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postworks::testing::chaos_proxy::{ChaosProxy, Target, Trap};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::testing::sentinel::SentinelServers;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::block_in_place;

use crate::fleet::{ANY, Client, Fleet, LONG, POSTWORKS, Process, until};
use crate::load::Journal;

/// Notes every committed change of a job, whoever makes it: the record's own witness.
const WITNESS: &str = include_str!("witness.sql");
/// How long the accounts' access tokens live, in seconds.
const TOKENS_LIVE_S: u32 = 86_400;
/// The database that every server has.
pub(crate) const DATABASE: &str = "postgres";

/// How a world is made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// Redis writes an append-only file, as it should.
    pub(crate) durable_redis: bool,
    /// A master, a replica and three sentinels stand in for the single Redis.
    pub(crate) sentinels: bool,
    /// Settings in every process' environment.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// Servers, proxies, an API, a platform, and what a client was told.
pub(crate) struct World {
    /// The API, the platform and the servers.
    pub(crate) fleet: Fleet,
    /// Before Redis; every process is behind it.
    pub(crate) redis: ChaosProxy,
    /// Before PostgreSQL; every process is behind it.
    pub(crate) postgres: ChaosProxy,
    /// Before the platform; every account is behind it.
    pub(crate) platform: ChaosProxy,
    /// What a client asked for, and was told.
    pub(crate) journal: Journal,
    /// Counts publish requests on their way to the platform.
    pub(crate) publish_calls: std::sync::Arc<Trap>,
    /// In place of the single Redis, where a row needs a failover.
    pub(crate) sentinels: Option<SentinelServers>,
    /// The platform's account of each of ours.
    pub(crate) remote: BTreeMap<String, String>,
    folder: PathBuf,
}

impl World {
    /// Starts everything but workers. Logs and journals go to `folder`.
    pub(crate) async fn start(
        plan: Plan,
        folder: &Path,
        seed: u64,
        plant: Option<&'static str>,
    ) -> Self {
        let redis_server =
            if plan.durable_redis { RedisServer::start_durable() } else { RedisServer::start() };
        let postgres_server = PostgresServer::launch().await;
        let redis_socket = Target::Unix(redis_server.folder().join("redis.sock"));
        let redis = ChaosProxy::start(redis_socket, seed).await;
        let postgres_socket = Target::Unix(socket_of(&postgres_server));
        let postgres = ChaosProxy::start(postgres_socket, seed + 1).await;
        let sentinels = plan.sentinels.then(|| block_in_place(SentinelServers::start));
        let redis_url = sentinels.as_ref().map_or_else(|| redis_url(&redis), SentinelServers::url);
        let database_url = database_url(&postgres, "postworks");
        let mut settings = vec![
            ("REDIS_URL", redis_url.as_str()),
            ("DATABASE_URL", database_url.as_str()),
            ("POSTWORKS__RETRY__BASE", "200ms"),
            ("POSTWORKS__RETRY__CAP", "1s"),
        ];
        settings.extend(plant.map(|plant| ("POSTWORKS_PLANT", plant)));
        settings.extend_from_slice(plan.settings);
        let fleet = Fleet::build(redis_server, postgres_server, &settings).await;
        let address = fleet.sandbox.url().trim_start_matches("http://").parse();
        let platform =
            ChaosProxy::start(Target::Tcp(address.expect("a platform's address")), seed + 2).await;
        let publish_calls = platform.set_trap(tally("POST /posts"));
        let journal = Journal::new(fleet.client.http.base(), folder);
        let folder = folder.to_owned();
        let world = Self {
            fleet,
            redis,
            postgres,
            platform,
            journal,
            publish_calls,
            sentinels,
            remote: BTreeMap::new(),
            folder,
        };
        let mut witness = world.database().await;
        sqlx::raw_sql(WITNESS).execute(&mut witness).await.expect("a witness in the database");
        world
    }

    /// A connection of our own to the database, past the proxy.
    pub(crate) async fn database(&self) -> PgConnection {
        let url = self.fleet.postgres.url(DATABASE);
        let mut connection = None;
        // It may be in the middle of a recovery that a row has brought about.
        until("no connection to the database", LONG, async || {
            connection = PgConnection::connect(&url).await.ok();
            connection.is_some()
        })
        .await;
        connection.expect("it was just made")
    }

    /// Makes a user of the database for one process.
    pub(crate) async fn user(&self, name: &str) {
        let sql = format!("CREATE ROLE \"{name}\" LOGIN SUPERUSER");
        let mut database = self.database().await;
        let made = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut database).await;
        made.expect("a user of the database");
    }

    /// One number from the database.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut database = self.database().await;
        sqlx::query_scalar(sql).fetch_one(&mut database).await.expect("a number")
    }

    /// Starts a worker under a name of its own, by which the witness knows it.
    pub(crate) async fn worker(&self, name: &str, flags: &[&str]) -> Process {
        self.worker_with(name, flags, &[]).await
    }

    /// Starts a worker that does something at a failpoint.
    pub(crate) async fn doomed(&self, name: &str, flags: &[&str], points: &str) -> Process {
        self.worker_with(name, flags, &[("POSTWORKS_FAILPOINTS", points.to_owned())]).await
    }

    /// Starts a worker with more in its environment.
    pub(crate) async fn worker_with(
        &self,
        name: &str,
        flags: &[&str],
        more: &[(&'static str, String)],
    ) -> Process {
        self.user(name).await;
        let mut vars = self.fleet.vars().to_vec();
        vars.push(("DATABASE_URL", database_url(&self.postgres, name)));
        vars.extend_from_slice(more);
        let args = [&["worker"], flags, &["--metrics-listen", ANY]].concat();
        let mut worker = Process::start(name, POSTWORKS, &args, &vars, &self.folder);
        worker.listening("worker").await;
        worker
    }

    /// Connects accounts of the platform, through the proxy, in one of its characters.
    pub(crate) async fn connect(&mut self, platform: &str, count: usize) -> Vec<Account> {
        let address = self.platform.address();
        self.connect_at(platform, count, address).await
    }

    /// The same through another proxy.
    pub(crate) async fn connect_by(
        &mut self,
        platform: &str,
        count: usize,
        way: &ChaosProxy,
    ) -> Vec<Account> {
        self.connect_at(platform, count, way.address()).await
    }

    async fn connect_at(
        &mut self,
        platform: &str,
        count: usize,
        address: std::net::SocketAddr,
    ) -> Vec<Account> {
        let http = Client::new(self.fleet.sandbox.url()).http;
        let mut accounts = Vec::with_capacity(count);
        for n in 0..count {
            let handle = format!("{platform}-{n}-{}", self.remote.len());
            // Tokens that live on whatever a worker's clock says: their end is no row's subject.
            let account = json!({ "handle": handle, "token_ttl_s": TOKENS_LIVE_S });
            let made = http.post("/accounts", &account).await.expect(201);
            let secret = text(&made["refresh_token"]);
            let connector = json!({
                "platform": platform,
                "base_url": format!("http://{address}"),
                "identifier": handle,
                "secret": secret,
            });
            let made_here =
                self.fleet.client.http.post("/api/connectors", &connector).await.expect(201);
            accounts.push(Account {
                connector: text(&made_here["id"]),
                remote: text(&made["account"]),
            });
            let account = accounts.last().expect("it was just added");
            self.remote.insert(account.connector.clone(), account.remote.clone());
        }
        accounts
    }

    /// Pauses a queue, or resumes it.
    pub(crate) async fn tell_queue(&self, queue: &str, what: &str) {
        let path = format!("/api/queues/{queue}/{what}");
        self.fleet.client.http.post(&path, &json!({})).await.expect(200);
    }

    /// Waits until no job waits or runs; `false` if some still do after `within`.
    pub(crate) async fn quiet(&self, within: Duration) -> bool {
        let end = tokio::time::Instant::now() + within;
        loop {
            if self.count("SELECT count(*) FROM jobs WHERE state = 'open'").await == 0
                && self.leases().await == 0
            {
                return true;
            }
            if tokio::time::Instant::now() > end {
                return false;
            }
            // Other processes give no signal.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing runs and nothing is due: what is left waits for its time.
    pub(crate) async fn calm(&self, within: Duration) {
        until("jobs go on running", within, async || {
            let entries = self.broker_entries();
            let busy = |key: &str| key.ends_with(":leases") || key.ends_with(":ready");
            entries.iter().filter(|(key, _)| busy(key)).all(|(_, entries)| *entries == 0)
        })
        .await;
    }

    /// Waits until no publication waits or runs, whatever else does.
    pub(crate) async fn quiet_but_later(&self, within: Duration) {
        const OPEN: &str =
            "SELECT count(*) FROM jobs WHERE state = 'open' AND kind = 'post_publication'";
        until("posts are not published", within, async || self.count(OPEN).await == 0).await;
    }

    /// How many leases the broker holds.
    pub(crate) async fn leases(&self) -> u64 {
        self.broker_entries()
            .into_iter()
            .filter(|(key, _)| key.ends_with("leases"))
            .map(|(_, n)| n)
            .sum()
    }

    /// A number of a queue's gate.
    pub(crate) fn gate(&self, queue: &str, field: &str) -> Option<i64> {
        let answer = self.broker().command(&format!("HGET postworks:{{{queue}}}:gate {field}"));
        // A length, then the value; a field that is not there has no second line.
        answer.lines().nth(1).and_then(|line| line.trim().parse().ok())
    }

    /// The Redis that holds the queues now.
    fn broker(&self) -> &RedisServer {
        let Some(sentinels) = &self.sentinels else { return &self.fleet.redis };
        // The other one is down, or a replica.
        let master = sentinels
            .servers
            .iter()
            .find(|server| server.is_running() && server.command("ROLE").contains("master"));
        master.expect("there is a master after a failover")
    }

    /// How many entries are under each of the broker's keys.
    pub(crate) fn broker_entries(&self) -> Vec<(String, u64)> {
        let broker = self.broker();
        let keys = broker.command("KEYS postworks:*");
        let names = keys.lines().filter(|line| line.starts_with("postworks:"));
        names
            .filter_map(|key| {
                let command = match key.rsplit(':').next()? {
                    "jobs" => "HLEN",
                    "ready" | "delayed" | "leases" => "ZCARD",
                    _ => return None,
                };
                let answer = broker.command(&format!("{command} {key}"));
                Some((key.to_owned(), answer.trim_start_matches(':').parse().unwrap_or(0)))
            })
            .collect()
    }

    /// Waits until a worker holds so many jobs of the sandbox's queue.
    pub(crate) async fn holds(&self, worker: &Process, queue: &str, at_least: usize) {
        until("the worker has free places", LONG, async || {
            self.fleet.held_by(worker, queue).len() >= at_least
        })
        .await;
    }

    /// Where logs and journals go.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Our id of it.
    pub(crate) connector: String,
    /// The platform's.
    pub(crate) remote: String,
}

/// Only counts how often something comes by on its way to the server.
pub(crate) fn tally(pattern: &str) -> Trap {
    use postworks::testing::chaos_proxy::{Spring, Way};
    Trap::new(Way::ToServer, pattern, Spring::Tell).times(usize::MAX)
}

/// A broker's address behind a proxy.
pub(crate) fn redis_url(proxy: &ChaosProxy) -> String {
    format!("redis://{}", proxy.address())
}

/// The database's address behind a proxy, for a user of this name.
pub(crate) fn database_url(proxy: &ChaosProxy, name: &str) -> String {
    let address = proxy.address();
    format!("postgres://{name}@{address}/{DATABASE}?sslmode=disable")
}

fn socket_of(server: &PostgresServer) -> PathBuf {
    let url = server.url(DATABASE);
    let (_, folder) = url.split_once("host=").expect("an address with a socket's folder");
    Path::new(folder).join(".s.PGSQL.5432")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

//! The system under test: Postworks' own roles, each a process of its own, and the platform.

mod child;
mod platform;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use postworks::config::{Config, Environment, Sources};
use postworks_workers::node::Node;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::runs::Runs;
use super::stores::{Place, Stores};

pub(crate) use child::{Child, Told};
pub(crate) use platform::{Platform, REFUSAL};
pub(crate) use work::{KINDS, Kind, Work};

/// What the sandbox may keep: half an hour at a thousand jobs a second, and more.
const ROOM: &str = "4GiB";
/// Takes a free port of the loopback interface.
const ANY: &str = "127.0.0.1:0";
/// It protects nothing: accounts of a test double, in a database that goes.
const KEYS: &str = "loadtest:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Connections of a worker to PostgreSQL, and of the producer in this process.
pub(crate) const CONNECTIONS: u32 = 20;

/// A place with Postworks on it. What it starts ends with it, and also if this process is killed: it
/// holds the other end of their stdin.
pub(crate) struct System {
    /// Where it is.
    pub(crate) place: Place,
    /// A producer, and eyes on the stores.
    pub(crate) node: Arc<Node>,
    vars: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl System {
    /// Makes a place with all tables, and nobody at work.
    ///
    /// # Errors
    /// The servers refuse, or a process does not start.
    pub(crate) async fn make(stores: &Stores) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postworks-loadtest-").tempdir()?;
        let place = stores.place().await?;
        match Self::over(place.clone(), folder).await {
            Ok(system) => Ok(system),
            Err(error) => match stores.clear(&place).await {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("{left:#}"))),
            },
        }
    }

    async fn over(place: Place, folder: TempDir) -> anyhow::Result<Self> {
        let vars = vars(&place);
        child::run("migrate", &["migrate"], &vars).await?;
        let lookup = |name: &str| {
            let found = vars.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        };
        let environment = Environment::read(lookup)?;
        let ours = vars.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let config = Config::load(&Sources::default().env(ours))?;
        let urls = environment.stores_for("postworks loadtest")?;
        let node = Arc::new(Node::connected(urls, config, &environment)?);
        Ok(Self { place, node, vars, folder })
    }

    /// Starts an API; answers it and where it listens.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn api(&self) -> anyhow::Result<Child> {
        self.start("api", &["api", "--supervised", "--listen", ANY]).await
    }

    /// Starts the `n`th worker, which tells `runs` of its attempts.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn worker(
        &self,
        n: usize,
        concurrency: u32,
        runs: &Runs,
    ) -> anyhow::Result<Child> {
        let concurrency = concurrency.to_string();
        let args = [
            "loadtest",
            "worker",
            "--supervised",
            "--metrics-listen",
            ANY,
            "--concurrency",
            &concurrency,
        ];
        let mut worker = self.start("worker", &args).await?;
        runs.listen_to(n, worker.take_stdout());
        Ok(worker)
    }

    /// Starts the platform, and connects accounts on it.
    ///
    /// # Errors
    /// It does not start, or the stores refuse.
    pub(crate) async fn platform(&self, accounts: u32) -> anyhow::Result<(Platform, Vec<Uuid>)> {
        let journal = self.folder.path().join("journal.ndjson");
        let path = journal.to_str().context("a temporary folder with a plain name")?;
        let args =
            ["sandbox", "--supervised", "--listen", ANY, "--memory", ROOM, "--journal", path];
        let process = self.start("sandbox", &args).await?;
        let platform = Platform::new(process, journal)?;
        let accounts = platform.connect(&self.node.store, accounts).await?;
        Ok((platform, accounts))
    }

    async fn start(&self, role: &'static str, args: &[&str]) -> anyhow::Result<Child> {
        Child::start(role, args, &self.vars, self.log_of(role)).await
    }

    fn log_of(&self, role: &str) -> PathBuf {
        self.folder.path().join(format!("{role}-{:08x}.log", rand::random::<u32>()))
    }
}

/// The environment of every process of a place.
fn vars(place: &Place) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", place.database.expose_secret().to_owned()),
        ("REDIS_URL", place.redis.expose_secret().to_owned()),
        ("POSTWORKS_KEYS", KEYS.to_owned()),
        ("POSTWORKS_ALLOW_LOOPBACK", "1".to_owned()),
        // Who may ask, and how often, and when it is too much, is not what is measured.
        ("POSTWORKS_AUTH", "off".to_owned()),
        ("POSTWORKS_RATE_LIMIT", "off".to_owned()),
        ("POSTWORKS__ADMISSION__DEPTH", "0".to_owned()),
        ("POSTWORKS__ADMISSION__OLDEST", String::new()),
        // It counts its jobs: none comes by itself.
        ("POSTWORKS__RETENTION__CLEANUP", String::new()),
        ("POSTWORKS__SYNC__EVERY", "0s".to_owned()),
        ("POSTWORKS__BROKER__PREFIX", place.prefix.clone()),
        ("POSTWORKS__LEDGER__POOL_SIZE", CONNECTIONS.to_string()),
        ("POSTWORKS_LOG", "warn".to_owned()),
    ]
}

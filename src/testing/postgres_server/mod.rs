//! A real PostgreSQL server of a test's own, on a unix socket in a folder of its own.
//!
//! It starts in about 0.2 s: `initdb` and the migrations run once, into a template below the
//! build folder that later servers copy. Each test may have its own server, so it may stop and
//! kill it as it likes.

mod find;
mod run;
mod template;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use tempfile::TempDir;

use super::interrupts::Interrupts;
use crate::ledger::{Db, PostgresOptions};
use run::Running;

/// The role that owns everything.
const USER: &str = "postworks";

/// A private PostgreSQL server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct PostgresServer {
    running: Mutex<Option<Running>>,
    settings: &'static [&'static str],
    interrupts: Interrupts,
    databases: AtomicU32,
    folder: Folder,
}

/// Settings of a server whose machine will not lose power before the test is over. Commits are
/// still handed to the system before they are answered: with `synchronous_commit=off` a killed
/// server would lose them.
const FAST: &[&str] = &["fsync=off", "synchronous_commit=on", "full_page_writes=off"];

/// Settings of a server that is measured: it waits for the disk, and has the memory that even a
/// small server of that purpose gets.
const DURABLE: &[&str] =
    &["fsync=on", "synchronous_commit=on", "shared_buffers=256MB", "max_wal_size=4GB"];

/// The same, for as many connections as a load test opens.
const MEASURED: &[&str] = &[
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "max_connections=200",
];

/// Bytes that a server has written.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// To its write-ahead log, since it was made.
    pub log: u64,
    /// To the files of all databases, as they are now.
    pub data: u64,
}

impl PostgresServer {
    /// Starts a server that never waits for the disk. It survives [`kill9`](Self::kill9) all the
    /// same: what it wrote is in the system's memory.
    pub async fn launch() -> Self {
        Self::launch_with(FAST).await
    }

    /// Whether this machine has the programs to start.
    pub fn is_installed() -> bool {
        ["initdb", "postgres"].iter().all(|name| find::installed(name).is_some())
    }

    /// Starts a server without tables that waits for the disk at every commit, and lets 200
    /// connect: for a load test, which leaves nothing behind, no template either, and hears interrupts
    /// from the terminal for it.
    pub async fn launch_bare() -> Self {
        let launch = || {
            run::sweep();
            let folder = Folder::make();
            let interrupts = Interrupts::Kept;
            template::init(&folder, &[], interrupts);
            let (running, databases) = (Mutex::new(None), AtomicU32::new(0));
            let server = Self { running, settings: MEASURED, interrupts, databases, folder };
            server.start();
            server
        };
        tokio::task::spawn_blocking(launch).await.expect("a private PostgreSQL server")
    }

    /// Starts a server that waits for the disk at every commit, to measure what that costs.
    pub async fn launch_durable() -> Self {
        Self::launch_with(DURABLE).await
    }

    async fn launch_with(settings: &'static [&'static str]) -> Self {
        run::sweep();
        let template = template::ready().await;
        let folder = Folder::make();
        template::copy(&template, &folder.data());
        let (running, databases) = (Mutex::new(None), AtomicU32::new(0));
        let server = Self { running, settings, interrupts: Interrupts::Heard, databases, folder };
        server.start();
        server
    }

    /// The address of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.folder.url(database)
    }

    /// Makes a database with all tables and no rows; answers its address.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut conn = sqlx::PgConnection::connect(&self.url("postgres"))
            .await
            .expect("connect to the private server");
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}", template::DATABASE);
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.expect("copy a database");
        conn.close().await.expect("close a connection");
        self.url(&name)
    }

    /// Makes a database with all tables and no rows, and opens it.
    pub async fn db(&self) -> Db {
        let url = self.database().await;
        Db::connect_postgres(&url, &PostgresOptions::default()).expect("a correct address")
    }

    /// Its version, as in `17.2`.
    pub async fn version(&self) -> String {
        let mut conn = sqlx::PgConnection::connect(&self.url("postgres"))
            .await
            .expect("connect to the private server");
        let version = sqlx::query_scalar("SHOW server_version").fetch_one(&mut conn).await;
        version.expect("the server tells its version")
    }

    /// What it has written so far.
    pub async fn written(&self) -> Written {
        let mut conn = sqlx::PgConnection::connect(&self.url("postgres"))
            .await
            .expect("connect to the private server");
        let (log, data): (i64, i64) = sqlx::query_as(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, \
             (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint",
        )
        .fetch_one(&mut conn)
        .await
        .expect("the server tells what it has written");
        Written { log: log.unsigned_abs(), data: data.unsigned_abs() }
    }

    /// Starts it after [`stop`](Self::stop) or [`kill9`](Self::kill9); returns when it answers.
    pub fn start(&self) {
        let mut running = self.running.lock().expect("no test panicked in here");
        assert!(running.is_none(), "the server runs already");
        let (data, socket) = (self.folder.data(), self.folder.path());
        *running = Some(Running::start(&data, socket, self.settings, self.interrupts));
    }

    /// Stops it as an operator would: sessions are ended, nothing is lost.
    pub fn stop(&self) {
        self.end(Signal::SIGINT);
    }

    /// Kills it without any warning.
    pub fn kill9(&self) {
        self.end(Signal::SIGKILL);
    }

    /// Stops the processes of it where they are: it answers nobody, and closes nothing.
    pub fn freeze(&self) {
        self.tell(Signal::SIGSTOP);
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.tell(Signal::SIGCONT);
    }

    /// Kills one session's process without any warning; the server then ends all the others.
    pub fn kill_session(&self, pid: i32) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill a session of our own server");
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its processes now: the server's own, then those of its sessions.
    pub fn pids(&self) -> Vec<i32> {
        let running = self.running.lock().expect("no test panicked in here");
        running.as_ref().map(Running::pids).unwrap_or_default()
    }

    /// Makes a file or folder its own.
    pub fn give(&self, path: &Path) {
        run::give(path);
    }

    fn tell(&self, signal: Signal) {
        let running = self.running.lock().expect("no test panicked in here");
        running.as_ref().expect("the server runs").tell(signal);
    }

    /// Stops and starts it.
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    fn end(&self, how: Signal) {
        let running = self.running.lock().expect("no test panicked in here").take();
        running.expect("the server runs").end(how);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // At once and without writing anything: the folder is about to go.
        if let Ok(Some(mut running)) = self.running.get_mut().map(Option::take) {
            if std::thread::panicking() {
                eprintln!("{}", running.last_words());
            }
            running.end(Signal::SIGQUIT);
        }
    }
}

/// The folder of one server: its data and its socket.
#[derive(Debug)]
struct Folder {
    dir: TempDir,
    /// Held as long as the folder is used; see [`run::sweep`].
    _owner: std::fs::File,
}

impl Folder {
    fn make() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new()
            .prefix(run::FOLDER_PREFIX)
            // A sweep must not find the folder before its lock is held.
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(run::base())
            .expect("make a folder for a private server");
        let owner = run::own(dir.path());
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
            .expect("let the server into its folder");
        run::give(dir.path());
        Self { dir, _owner: owner }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost/{database}?host={}", self.dir.path().display())
    }
}

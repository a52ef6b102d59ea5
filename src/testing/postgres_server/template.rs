//! The data folder that every private server starts from, with the tables of today's migrations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use sqlx::Connection;

use super::run::{self, Running};
use super::{FAST, Folder, USER};
use crate::ledger::{Db, PostgresOptions};
use crate::testing::interrupts::Interrupts;

/// The database that new ones are copied from.
pub(super) const DATABASE: &str = "postworks_template";

/// The template's folder. Made by the first test after a build that changed the migrations;
/// whoever comes at the same time makes one as well, and the first to finish wins.
pub(super) async fn ready() -> PathBuf {
    let cache = cache();
    let template = cache.join(format!("postgres-{:016x}", key()));
    if !template.is_dir() {
        let folder = Folder::make();
        build(&folder).await;
        std::fs::create_dir_all(&cache).expect("make the cache's folder");
        let fresh = tempfile::tempdir_in(&cache).expect("make a folder in the cache");
        let built = fresh.path().join("data");
        copy_as_is(&folder.data(), &built);
        if std::fs::rename(&built, &template).is_err() {
            assert!(template.is_dir(), "cannot write to {}", cache.display());
        }
    }
    template
}

/// Copies a template to where a server of ours may use it.
pub(super) fn copy(template: &Path, data: &Path) {
    use std::os::unix::fs::PermissionsExt;
    copy_as_is(template, data);
    let mut left = vec![data.to_owned()];
    while let Some(folder) = left.pop() {
        // The server refuses a folder that others may read.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))
            .expect("close a folder to others");
        run::give(&folder);
        for entry in std::fs::read_dir(&folder).expect("read a folder").flatten() {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else {
                run::give(&entry.path());
            }
        }
    }
}

fn copy_as_is(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("make a folder");
    for entry in std::fs::read_dir(from).expect("read a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_as_is(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("copy a file");
        }
    }
}

/// Makes a data folder with no tables.
pub(super) fn init(folder: &Folder, flags: &[&str], interrupts: Interrupts) {
    let mut command = run::command("initdb");
    interrupts.tell(&mut command);
    let out = command
        .arg("-D")
        .arg(folder.data())
        .args(["-U", USER, "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"])
        .args(flags)
        .output()
        .expect("run initdb");
    assert!(out.status.success(), "initdb failed: {}", String::from_utf8_lossy(&out.stderr));
}

async fn build(folder: &Folder) {
    // Small segments: a new server copies 28 MB instead of 43.
    init(folder, &["--wal-segsize=1"], Interrupts::Heard);
    let server = Running::start(&folder.data(), folder.path(), FAST, Interrupts::Heard);
    let mut conn =
        sqlx::PgConnection::connect(&folder.url("postgres")).await.expect("connect to the server");
    let create = format!("CREATE DATABASE {DATABASE}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut conn).await.expect("make a database");
    conn.close().await.expect("close a connection");
    let db = Db::connect_postgres(&folder.url(DATABASE), &PostgresOptions::default())
        .expect("a correct address");
    db.migrate().await.expect("apply the migrations");
    db.close().await;
    server.end(Signal::SIGINT);
}

/// What a template depends on: the server's version and the migrations.
fn key() -> u64 {
    let mut hash = DefaultHasher::new();
    let version = run::command("postgres").arg("--version").output().expect("run postgres");
    version.stdout.hash(&mut hash);
    crate::ledger::postgres_migrations().for_each(|migration| {
        migration.version.hash(&mut hash);
        migration.checksum.hash(&mut hash);
    });
    hash.finish()
}

/// A folder below the build's, so that cleaning the build cleans it too.
fn cache() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let build = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    build.map_or_else(std::env::temp_dir, |build| build.join("tmp"))
}

//! The database that every blog starts from: installing takes three seconds, copying a tenth of one.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use super::running::{Place, Running, STOPPED};
use super::{free_port, scripts};

/// Where the package has WordPress.
const PACKAGE: &str = "/usr/share/wordpress";
/// The file with the administrator's password, which no copy needs.
pub(super) const PASSWORD: &str = "admin-password";
/// What a template depends on, besides the versions.
const SOURCES: [&str; 3] = [
    include_str!("../../../tests/servers/wordpress/config.php"),
    include_str!("../../../tests/servers/wordpress/install.php"),
    include_str!("../../../tests/servers/wordpress/database.cnf"),
];

/// The template's folder. Made by the first test after a change; whoever comes at the same time makes
/// one as well, and the first to finish wins.
pub(super) async fn ready() -> PathBuf {
    let version = Path::new(PACKAGE).join("wp-includes/version.php");
    let version = fs::read(version);
    let version = version.expect("WordPress is not installed: run `make setup-platforms`");
    let mut hash = DefaultHasher::new();
    (version, SOURCES).hash(&mut hash);
    let cache = cache();
    let template = cache.join(format!("wordpress-{:016x}", hash.finish()));
    if !template.is_dir() {
        fs::create_dir_all(&cache).expect("make the cache's folder");
        let fresh = tempfile::tempdir_in(&cache).expect("make a folder in the cache");
        let built = fresh.path().join("built");
        build(&built).await;
        if fs::rename(&built, &template).is_err() {
            assert!(template.is_dir(), "cannot write to {}", cache.display());
        }
    }
    template
}

/// Copies a database to where a blog may use it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("read a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copy a file");
        }
    }
}

async fn build(into: &Path) {
    // Not in the cache: a socket's path has 107 bytes at most.
    let data = TempDir::new().expect("a temporary folder");
    let place = Place { data: data.path().to_owned(), path: String::new(), port: free_port() };
    fs::create_dir_all(place.content()).expect("a folder of our own");
    let user = place.command("id").arg("-un").output().expect("run id");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let made = place
        .command("mariadb-install-db")
        .arg(format!("--defaults-file={}", scripts().join("database.cnf").display()))
        .arg(format!("--user={user}"))
        .arg(format!("--datadir={}", place.database().display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .output();
    success(&made.expect("MariaDB is not installed: run `make setup-platforms`"));
    let mut running = Running::start(&place).await;
    let installed = place.command("php").arg("install.php").output().expect("run php");
    success(&installed);
    running.hear(&[STOPPED]).await;
    running.kill();
    copy(&place.database(), into);
    fs::write(into.join(PASSWORD), &installed.stdout).expect("a file of our own");
}

fn success(out: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}{}", said(&out.stdout), said(&out.stderr));
}

/// A folder below the build's, so that cleaning the build cleans it too.
fn cache() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let build = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    build.map_or_else(std::env::temp_dir, |build| build.join("tmp"))
}

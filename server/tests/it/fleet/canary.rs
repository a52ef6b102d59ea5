//! Secrets must be nowhere but with whom they belong: looked for wherever a fleet wrote anything.

use std::path::Path;
use std::process::Command;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

use super::Fleet;

/// The forms of every secret there is in a fleet, as `grep -E` takes them.
const SECRETS: [&str; 7] = [
    // What the sandbox gives: access and refresh tokens.
    "sbx_[ar]t_[0-9a-f]{32}",
    // Access tokens of Bluesky, and our own: the headers of JSON Web Tokens that stand there.
    "ey(J0eXAiOi|JhbGciOi)[A-Za-z0-9_-]+[.]ey[A-Za-z0-9_-]+[.]",
    // What the OpenID provider gives: tokens and codes.
    "oidc_tk_[A-Za-z0-9_-]{43}",
    // What people sign in to Bluesky with: `postworks_workers::testing::pds`.
    "password of [a-z]+[.]test",
    // What proves to a provider that it is us: `postworks_workers::testing::oidc::CLIENT_SECRET`.
    "s3cret/[+] 100% ours",
    // Our API keys and refresh tokens.
    "pwr?_[0-9a-f]{32}_[0-9a-f]{64}",
    // The key that seals the others, from [`super::KEYS`].
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

/// The files in which a secret can be read: of PostgreSQL the tables and the log of all that was
/// ever written to them, of Redis the append-only file and all that it holds now, and whatever
/// processes logged to `logs`. What PostgreSQL packs (values above 2 kB) is not looked into.
pub(crate) fn secrets_told(
    redis: &RedisServer,
    postgres: &PostgresServer,
    logs: &Path,
) -> Vec<String> {
    if redis.is_running() {
        redis.command("CONFIG SET rdbcompression no");
        redis.command("SAVE");
    }
    let mut grep = Command::new("grep");
    // Bytes, not letters: tables are no text.
    grep.env("LC_ALL", "C").args(["-r", "-s", "-l", "-a", "-E", &SECRETS.join("|")]);
    let found = grep.args([postgres.folder(), redis.folder(), logs]).output().expect("grep");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // A test that failed has something else to say.
        if !std::thread::panicking() {
            let told = secrets_told(&self.redis, &self.postgres, self.folder.path());
            assert!(told.is_empty(), "a secret can be read in {told:?}");
        }
    }
}

//! The user of `config/redis.conf`: it may do what we do, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postworks::broker::redis::RedisOptions;
use postworks::finding::{Finding, Status};
use postworks::testing::broker::{Harness, worker};
use postworks::testing::redis_server::RedisServer;

const LOGIN: &str = "?user=postworks&pass=change-me";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A broker on a Redis that includes the file, as its user.
pub(super) fn restricted() -> Harness {
    let path = file("config/redis.conf");
    let on = Harness::redis_on(RedisServer::start_with(&["--include", path.to_str().unwrap()]));
    let clock = Arc::clone(&on.clock);
    let url = format!("{}{LOGIN}", on.server.as_ref().unwrap().url());
    let options = RedisOptions::new(url, worker("harness")).with_skew(move || clock.ahead_ms());
    on.reached_by(options)
}

fn server(on: &Harness) -> &RedisServer {
    on.server.as_ref().unwrap()
}

fn wrong(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|found| found.status != Status::Ok).collect()
}

#[tokio::test]
async fn a_redis_as_we_recommend_it_has_no_fault() {
    let on = restricted();
    assert_eq!(wrong(&on.broker.examine().await.unwrap()), Vec::<&Finding>::new());
    for forbidden in ["FLUSHALL", "KEYS", "CONFIG GET requirepass", "GET other"] {
        let line = format!("ACL DRYRUN postworks {forbidden}");
        let answer = server(&on).command(&line);
        assert!(answer.contains("no permissions") || answer.starts_with('-'), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_missing_permission_is_found_before_it_is_needed() {
    let on = restricted();
    server(&on).command("ACL SETUSER postworks -zrange -client|list");
    let findings = on.broker.examine().await.unwrap();
    let [found] = wrong(&findings)[..] else { panic!("{findings:?}") };
    assert_eq!((found.check, found.status), ("redis permissions", Status::Fail));
    let advice = found.advice.as_ref().unwrap();
    assert!(advice.starts_with("ACL SETUSER <user> +client|list +zrange;"), "{advice}");
}

#[tokio::test]
async fn what_a_server_does_to_jobs_is_found() {
    let on = Harness::redis();
    server(&on).command("CONFIG SET maxmemory-policy allkeys-lru");
    server(&on).command("REPLICAOF 127.0.0.1 1");
    let findings = on.broker.examine().await.unwrap();
    let wrong: Vec<_> = wrong(&findings).iter().map(|found| (found.check, found.status)).collect();
    let expected = [
        ("redis role", Status::Fail),
        ("redis eviction", Status::Fail),
        ("redis persistence", Status::Warn),
    ];
    assert_eq!(wrong, expected);
}

/// Whoever adds a command to a script adds it to `permits.lua` and to the rule as well.
#[test]
fn the_rule_and_the_check_know_every_command_that_scripts_call() {
    let scripts = file("src/broker/redis/scripts");
    let mut called = BTreeSet::new();
    for entry in std::fs::read_dir(&scripts).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for part in text.split("redis.call('").chain(text.split("write('")).skip(1) {
            let name: String = part.chars().take_while(char::is_ascii_uppercase).collect();
            called.insert(name.to_lowercase());
        }
    }
    called.remove("");
    assert!(called.len() > 15, "{called:?}");
    let permits = std::fs::read_to_string(scripts.join("permits.lua")).unwrap();
    let config = std::fs::read_to_string(file("config/redis.conf")).unwrap();
    let rule = config.lines().find(|line| line.starts_with("user ")).unwrap();
    let rule: BTreeSet<&str> = rule.split(' ').filter_map(|part| part.strip_prefix('+')).collect();
    for name in called {
        assert!(rule.contains(name.as_str()), "config/redis.conf lacks +{name}");
        assert!(permits.contains(&format!("{{ '{name}'")), "permits.lua lacks {name}");
    }
}

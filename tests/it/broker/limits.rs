//! A Redis at its limits: each is told as what it is, and passes without a trace.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Error, Settled, Then};
use postworks::testing::broker::{Harness, LEASE, PATIENCE, fresh, queue, worker};
use postworks::testing::redis_server::RedisServer;

/// One connection to a server that may take no other.
struct Desk(UnixStream);

impl Desk {
    fn at(server: &RedisServer) -> Self {
        let stream = UnixStream::connect(server.folder().join("redis.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends a command whose answer is a line.
    fn says(&mut self, line: &str, answer: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        assert_eq!(String::from_utf8_lossy(&said).trim_end(), answer, "{line}");
    }
}

fn server(on: &Harness) -> &RedisServer {
    on.server.as_ref().unwrap()
}

/// A broker of its own on the harness' server.
fn another(on: &Harness, user: &str) -> RedisBroker {
    let url = format!("{}{user}", server(on).url());
    RedisBroker::connect(RedisOptions::new(url, worker("other"))).unwrap()
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, Error>, words: &str) {
    let error = answer.unwrap_err();
    let told = format!("{error:?}");
    assert!(matches!(error, Error::Unavailable(_)) && told.contains(words), "{told}");
}

/// Every kind of call: a script, several scripts at once, plain commands, a wait.
async fn every_call_is_unavailable(on: &Harness, words: &str) {
    let queues = [on.queue.clone()];
    let push = fresh(on.job(Duration::ZERO), on.now());
    assert_unavailable(on.broker.push(&on.queue, &[push]).await, words);
    assert_unavailable(on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await, words);
    assert_unavailable(on.broker.depth(&queues).await, words);
    assert_unavailable(on.broker.stirs(&queues).await, words);
    assert_unavailable(on.broker.vanished(&queues).await, words);
    assert_unavailable(on.broker.elect("test", LEASE).await, words);
    assert_unavailable(on.broker.wait(&queues, PATIENCE).await, words);
}

/// Waits for an answer as callers do, and returns what the call said until then.
async fn until_it_answers(broker: &dyn Broker) -> Vec<String> {
    let (start, mut said) = (Instant::now(), Vec::new());
    while let Err(error) = broker.depth(&[queue("connector_sync.test")]).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        said.push(format!("{error:?}"));
        assert!(start.elapsed() < PATIENCE);
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    said
}

#[tokio::test]
async fn a_redis_that_is_busy_with_somebodys_script_is_unavailable_until_it_ends() {
    let on = Harness::redis();
    on.open().await;
    on.push_due(1).await;
    server(&on).command("CONFIG SET busy-reply-threshold 1");
    let mut desk = Desk::at(server(&on));
    desk.0.write_all(b"EVAL \"while true do end\" 0\r\n").unwrap();
    let start = Instant::now();
    while !server(&on).command("PING").starts_with("-BUSY") {
        assert!(start.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    every_call_is_unavailable(&on, "BUSY").await;
    assert_unavailable(another(&on, "").ping().await, "BUSY");
    assert!(!server(&on).command("SCRIPT KILL").starts_with('-'));
    until_it_answers(on.broker.as_ref()).await;
    on.claim_one("a").await;
}

#[tokio::test]
async fn a_redis_that_loads_its_file_is_unavailable_until_it_has() {
    let durable = ["--appendonly", "yes", "--save", "", "--key-load-delay", "500"];
    let mut on = Harness::redis_on(RedisServer::start_with(&durable));
    on.open().await;
    on.push_due(1).await;
    // It answers once in 1,024 commands that it loads.
    let script = "for i = 1, 8192 do redis.call('SET', i % 10, i) end";
    server(&on).command(&format!("EVAL \"{script}\" 0"));
    let loading = on.server.as_mut().unwrap();
    loading.kill9();
    loading.begin_to_resume();
    let said = until_it_answers(on.broker.as_ref()).await;
    assert!(said.iter().any(|said| said.contains("BusyLoading")), "{said:?}");
    assert!(said.len() < 2_000, "{} calls: nobody may spin", said.len());
    on.broker.open(&on.queue, 2).await.unwrap();
    on.claim_one("a").await;
}

#[tokio::test]
async fn a_replica_that_lost_its_master_is_unavailable() {
    let on = Harness::redis();
    on.open().await;
    on.push_due(1).await;
    server(&on).command("CONFIG SET replica-serve-stale-data no");
    server(&on).command("REPLICAOF 127.0.0.1 1");
    every_call_is_unavailable(&on, "").await;
    server(&on).command("REPLICAOF NO ONE");
    until_it_answers(on.broker.as_ref()).await;
    on.claim_one("a").await;
}

#[tokio::test]
async fn a_redis_with_no_connection_left_is_unavailable_to_newcomers_only() {
    let on = Harness::redis();
    on.open().await;
    server(&on).command("ACL SETUSER ann on >secret ~* +@all");
    let mut desk = Desk::at(server(&on));
    desk.says("CONFIG SET maxclients 2", "+OK");
    // Neither may it be taken for a wrong password.
    let newcomers = [another(&on, ""), another(&on, "?user=ann&pass=secret")];
    for newcomer in &newcomers {
        assert_unavailable(newcomer.ping().await, "");
    }
    on.push_due(1).await;
    on.claim_one("a").await;
    desk.says("CONFIG SET maxclients 100", "+OK");
    for newcomer in &newcomers {
        until_it_answers(newcomer).await;
    }
}

#[tokio::test]
async fn a_password_that_changes_is_a_refusal_that_heals_when_it_is_put_right() {
    let on = Harness::redis();
    let admin = |line: &str| assert!(!server(&on).command(line).starts_with('-'), "{line}");
    admin("ACL SETUSER ann on >secret ~* +@all");
    let broker = another(&on, "?user=ann&pass=secret");
    broker.ping().await.unwrap();
    admin("ACL SETUSER ann resetpass >other");
    admin("CLIENT KILL USER ann");
    let start = Instant::now();
    let refused = loop {
        match broker.ping().await.unwrap_err() {
            // The connection that broke.
            Error::Unavailable(_) => assert!(start.elapsed() < PATIENCE),
            other => break other,
        }
    };
    let told = format!("{refused:?}");
    assert!(matches!(refused, Error::Refused(_)), "{told}");
    assert!(told.contains("WRONGPASS") && told.contains("REDIS_URL"), "{told}");
    for _ in 0..20 {
        let error = broker.ping().await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "also between two attempts: {error:?}");
    }
    admin("ACL SETUSER ann >secret");
    let start = Instant::now();
    while broker.ping().await.is_err() {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("it goes on {:?} after the password was put right", start.elapsed());
}

#[tokio::test]
async fn what_a_user_may_not_do_is_named_with_the_rule_that_allows_it() {
    let on = Harness::redis();
    on.open().await;
    for (rule, words) in [
        ("-evalsha", "ACL SETUSER <user> +evalsha"),
        ("resetkeys ~other:*", "ACL SETUSER <user> ~PREFIX:*"),
        ("-zrange", "postworks doctor"),
    ] {
        server(&on).command(&format!("ACL SETUSER ann reset on >secret ~* +@all {rule}"));
        let broker = another(&on, "?user=ann&pass=secret");
        on.push_due(1).await;
        let refused = broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap_err();
        let told = format!("{refused:?}");
        assert!(matches!(refused, Error::Refused(_)) && told.contains(words), "{rule}: {told}");
    }
    assert_eq!(on.claim("a", 9).await.len(), 3, "nothing was half done");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_scripts_are_forgotten_under_load() {
    let on = Harness::redis();
    on.open().await;
    let mut desk = Desk::at(server(&on));
    let stop = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&stop);
    let flushing = std::thread::spawn(move || {
        let mut flushed = 0;
        while !until.load(Ordering::SeqCst) {
            desk.says("SCRIPT FLUSH", "+OK");
            flushed += 1;
        }
        flushed
    });
    let queues = [on.queue.clone(), queue("data_cleanup")];
    for _ in 0..200 {
        on.push_due(1).await;
        on.broker.depth(&queues).await.unwrap();
        on.broker.vanished(&queues).await.unwrap();
        let lease = on.claim_one("a").await.lease;
        assert_eq!(on.settle(&lease, Then::Gone).await, Settled::Done);
    }
    stop.store(true, Ordering::SeqCst);
    let flushed = flushing.join().unwrap();
    assert!(flushed > 200, "{flushed} times");
}

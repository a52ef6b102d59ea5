//! What only a Redis can do to us: garbage, full memory, forgotten scripts, lost keys.

use std::time::Duration;

use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{
    Broker, Error, Gate, Place, Presence, Pushed, Reap, Removed, Settled, Settlement, Tally, Then,
};
use postworks::job::DecodeError;
use postworks::testing::broker::{Harness, LEASE, envelope, fresh, queue, worker};
use postworks::testing::redis_server::RedisServer;

const PARTS: [&str; 9] =
    ["jobs", "ready", "delayed", "leases", "wake", "boot", "gate", "quarantine", "window"];

fn command(on: &Harness, line: &str) -> String {
    on.server.as_ref().unwrap().command(line)
}

fn key(on: &Harness, part: &str) -> String {
    format!("postworks:{{{}}}:{part}", on.queue)
}

#[tokio::test]
async fn garbage_is_delivered_as_garbage_not_as_a_crash() {
    let on = Harness::redis();
    on.open().await;
    let good = on.push(envelope(on.now(), 0)).await;
    let header = "00000000010000000000000000001";
    let garbage = [
        "garbage".to_owned(),
        "\"\"".to_owned(),
        "\"\\xff\\xfe\\x00\"".to_owned(),
        header.to_owned(),
        format!("{header}{{}}"),
        format!("{header}null"),
        format!("\"{header}{}\"", r#"{\"v\":99}"#),
        format!("{header}{}", "[".repeat(5_000)),
    ];
    for (number, value) in garbage.iter().enumerate() {
        let id = format!("{number:032x}");
        command(&on, &format!("HSET {} {id} {value}", key(&on, "jobs")));
        command(&on, &format!("ZADD {} {number} {id}", key(&on, "ready")));
    }
    let deliveries = on.claim("a", 100).await;
    assert_eq!(deliveries.len(), garbage.len() + 1);
    for delivery in &deliveries {
        assert_eq!(delivery.envelope.is_err(), delivery.lease.id != good);
    }
    // It can be given back, be orphaned, be put again in good shape, and end.
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let then = match number % 3 {
            0 => Then::Gone,
            1 => Then::Back,
            _ => Then::Again(Box::new(on.job(Duration::ZERO))),
        };
        assert_eq!(on.settle(&delivery.lease, then).await, Settled::Done);
    }
    assert_eq!(on.claim("b", 100).await.len(), 6);
    let gone = on.broker.reap(&on.queue, Reap::Worker(&worker("b"))).await.unwrap();
    assert_eq!(gone.len(), 6);
    assert_eq!(on.claim("c", 100).await.len(), 6);
}

#[tokio::test]
async fn an_envelope_under_another_jobs_id_is_garbage() {
    let on = Harness::redis();
    on.open().await;
    let id = on.push(on.job(Duration::ZERO)).await.to_string().replace('-', "");
    let jobs = key(&on, "jobs");
    let value = command(&on, &format!("HGET {jobs} {id}"));
    let value = value.lines().nth(1).unwrap().replace('"', "\\\"");
    command(&on, &format!("HSET {jobs} {:032x} \"{value}\"", 1));
    command(&on, &format!("ZADD {} 1 {:032x}", key(&on, "ready"), 1));
    let deliveries = on.claim("a", 10).await;
    assert!(matches!(deliveries[0].envelope, Err(DecodeError::Malformed(_))));
    assert!(deliveries[1].envelope.is_ok());
}

#[tokio::test]
async fn entries_that_hold_no_job_are_thrown_out() {
    let on = Harness::redis();
    on.open().await;
    on.push_due(2).await;
    let ready = key(&on, "ready");
    command(&on, &format!("ZADD {ready} 1 nonsense 2 {:032x} -inf {:032X}", 7, 171));
    command(&on, &format!("ZADD {} 1 {:032x} 2 x", key(&on, "delayed"), 8));
    command(&on, &format!("HSET {} nonsense value {:032X} value", key(&on, "jobs"), 171));
    command(&on, &format!("ZADD {} 1 x 2 a|b|c", key(&on, "leases")));
    assert_eq!(on.claim("a", 10).await.len(), 2);
    assert!(on.claim("a", 10).await.is_empty());
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    assert_eq!(command(&on, &format!("HLEN {}", key(&on, "jobs"))), ":2");
    assert_eq!(command(&on, &format!("ZCARD {}", key(&on, "leases"))), ":2");
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_thrown_out_and_the_queue_is_to_be_filled_again() {
    let on = Harness::redis();
    let other = queue("data_cleanup");
    on.broker.open(&other, 1).await.unwrap();
    for part in PARTS {
        on.open().await;
        on.push_due(3).await;
        let lease = on.claim("a", 1).await.remove(0).lease;
        let broken = key(&on, part);
        for call in 0..8 {
            on.broker.open(&on.queue, call + 2).await.unwrap();
            command(&on, &format!("DEL {broken}"));
            // A set: none of the keys is one.
            command(&on, &format!("SADD {broken} garbage"));
            let push = fresh(on.job(Duration::ZERO), on.now());
            let settlement = Settlement { lease: lease.clone(), then: Then::Back };
            let leases = std::slice::from_ref(&lease);
            let answer = match call {
                0 => on.broker.push(&on.queue, &[push]).await.map(drop),
                1 => on.broker.settle(&on.queue, &[settlement]).await.map(drop),
                2 => on.broker.renew(&on.queue, leases, LEASE).await.map(drop),
                3 => on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.map(drop),
                4 => on.broker.remove(&on.queue, lease.id).await.map(drop),
                5 => on.broker.find(&on.queue, &[lease.id]).await.map(drop),
                6 => on.broker.depth(std::slice::from_ref(&on.queue)).await.map(drop),
                _ => Ok(()),
            };
            // Looking changes nothing.
            assert!(answer.is_ok() || call == 6, "{part} {call}: {answer:?}");
            let claimed = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await;
            assert!(matches!(claimed, Err(Error::NeedsGeneration { .. })), "{part}: {claimed:?}");
        }
        assert_ne!(command(&on, &format!("TYPE {broken}")), "+set", "{part}");
        on.broker.claim(&other, &worker("a"), 1, LEASE).await.unwrap();
        on.broker.open(&on.queue, 10).await.unwrap();
        on.push_due(1).await;
        assert!(!on.claim("b", 100).await.is_empty(), "{part}");
        for part in PARTS {
            command(&on, &format!("DEL {}", key(&on, part)));
        }
    }
}

#[tokio::test]
async fn a_job_lost_with_a_deleted_set_comes_back_when_it_is_pushed_again() {
    let on = Harness::redis();
    on.open().await;
    for part in ["jobs", "ready", "delayed", "leases"] {
        let jobs = [on.job(Duration::ZERO), on.job(Duration::ZERO), on.job(LEASE * 6)];
        let ids = jobs.each_ref().map(|job| job.id);
        let pushes = jobs.map(|job| fresh(job, on.now()));
        on.broker.push(&on.queue, &pushes).await.unwrap();
        on.claim("a", 1).await;
        command(&on, &format!("DEL {}", key(&on, part)));
        let places = on.broker.find(&on.queue, &ids).await.unwrap();
        let lost = places.iter().filter(|place| place.is_none()).count();
        assert_eq!(lost, if part == "jobs" { 3 } else { 1 }, "{part}");
        let pushed = on.broker.push(&on.queue, &pushes).await.unwrap();
        let added = pushed.iter().filter(|pushed| **pushed == Pushed::Added).count();
        assert_eq!(added, lost, "{part}");
        command(&on, "FLUSHALL");
        on.open().await;
    }
}

#[tokio::test]
async fn a_job_in_no_place_can_be_removed() {
    let on = Harness::redis();
    let id = on.push(on.job(Duration::ZERO)).await;
    command(&on, &format!("DEL {}", key(&on, "ready")));
    assert_eq!(on.broker.remove(&on.queue, id).await.unwrap(), Removed::Absent);
    assert_eq!(command(&on, &format!("EXISTS {}", key(&on, "jobs"))), ":0");
}

#[tokio::test]
async fn nothing_per_job_is_left_in_redis() {
    let on = Harness::redis();
    on.open().await;
    on.push_due(100).await;
    on.push(on.job(LEASE)).await;
    on.advance(LEASE * 2);
    while let Some(delivery) = on.claim("a", 1).await.pop() {
        assert_eq!(on.settle(&delivery.lease, Then::Gone).await, Settled::Done);
    }
    on.must_be_woken().await;
    let left = command(&on, "KEYS *");
    assert!(left.starts_with("*1\r\n") && left.ends_with(&key(&on, "boot")), "{left}");
}

#[tokio::test]
async fn scripts_survive_script_flush() {
    let on = Harness::redis();
    let flush = || command(&on, "SCRIPT FLUSH");
    flush();
    on.open().await;
    flush();
    let id = on.push(on.job(Duration::ZERO)).await;
    flush();
    let lease = on.claim_one("a").await.lease;
    flush();
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap().len(), 1);
    flush();
    let queues = [on.queue.clone(), queue("data_cleanup")];
    assert_eq!(on.broker.depth(&queues).await.unwrap()[0].unwrap().running, 1);
    flush();
    assert_eq!(on.broker.renew(&on.queue, &[lease], LEASE).await.unwrap().held, [true]);
    flush();
    assert_eq!(on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap(), [id]);
    flush();
    let lease = on.claim_one("a").await.lease;
    flush();
    assert_eq!(on.settle(&lease, Then::Back).await, Settled::Done);
    flush();
    assert_eq!(on.broker.remove(&on.queue, id).await.unwrap(), Removed::Removed);
}

#[tokio::test]
async fn workers_drain_at_maxmemory_while_pushes_are_refused() {
    let on = Harness::redis();
    on.open().await;
    let ids = on.push_due(6).await;
    command(&on, "CONFIG SET maxmemory 1");
    let push = fresh(on.job(Duration::ZERO), on.now());
    let refused = on.broker.push(&on.queue, std::slice::from_ref(&push)).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");

    let leases: Vec<_> = on.claim("a", 4).await.into_iter().map(|d| d.lease).collect();
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE * 2).await.unwrap().held, [true; 4]);
    assert_eq!(on.settle(&leases[0], Then::Gone).await, Settled::Done);
    assert_eq!(on.settle(&leases[1], Then::Back).await, Settled::Done);
    let again = Then::Again(Box::new(on.job(LEASE)));
    assert_eq!(on.settle(&leases[2], again).await, Settled::Done);
    let gone = on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    assert_eq!(gone, [leases[3].id]);
    assert_eq!(on.broker.remove(&on.queue, ids[5]).await.unwrap(), Removed::Removed);
    let place = on.broker.find(&on.queue, &[ids[4]]).await.unwrap();
    assert_eq!(place, [Some(Place::Ready)]);
    assert_eq!(
        on.broker.depth(std::slice::from_ref(&on.queue)).await.unwrap()[0].unwrap().ready,
        3
    );
    on.broker.open(&on.queue, 2).await.unwrap();
    on.must_be_woken().await;
    assert!(on.broker.elect("reaper", LEASE).await.unwrap(), "chores go on as well");

    command(&on, "CONFIG SET maxmemory 0");
    assert_eq!(on.broker.push(&on.queue, &[push]).await.unwrap(), [Pushed::Added]);
}

#[tokio::test]
async fn a_gate_of_a_wrong_type_is_thrown_out_and_stops_nobody() {
    let on = Harness::redis();
    on.open().await;
    for part in ["gate", "calls"] {
        on.push_due(1).await;
        command(&on, &format!("SET {} nonsense", key(&on, part)));
        on.broker.observe(&on.queue, Tally { calls: 1, ..Tally::default() }).await.unwrap();
        on.claim_one("a").await;
    }
    command(&on, &format!("HSET {} epoch x open y shut z revision -1", key(&on, "gate")));
    let (gates, _) = on.broker.gates(std::slice::from_ref(&on.queue)).await.unwrap();
    assert_eq!(gates, [Some(Gate::default())]);
    on.push_due(1).await;
    on.claim_one("a").await;
}

#[tokio::test]
async fn a_roster_keeps_nobody_for_ever_and_gives_way_to_nothing() {
    let on = Harness::redis();
    let present = Presence { role: "worker".to_owned(), ..Presence::default() };
    command(&on, "SET postworks:roster nonsense");
    assert_eq!(on.broker.roster().await.unwrap(), []);
    for (name, count) in [("a", 1), ("b", 2)] {
        on.broker.announce(&worker(name), &present, LEASE).await.unwrap();
        assert_eq!(on.broker.roster().await.unwrap().len(), count);
    }
    command(&on, "HSET postworks:roster someone nonsense");
    assert_eq!(on.broker.roster().await.unwrap().len(), 2);
    on.advance(LEASE * 2);
    on.broker.announce(&worker("a"), &present, LEASE).await.unwrap();
    on.broker.announce(&worker("c"), &present, LEASE).await.unwrap();
    assert!(command(&on, "HLEN postworks:roster").starts_with(":2"));
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_once() {
    for url in ["", "localhost", "http://localhost", "redis://", "redis://host:port"] {
        let refused = RedisBroker::connect(RedisOptions::new(url, worker("a")));
        assert!(matches!(refused, Err(Error::Refused(_))), "{url}: {refused:?}");
    }
    let url = "redis://localhost";
    let prefix = RedisOptions::new(url, worker("a")).with_prefix("{a}");
    assert!(matches!(RedisBroker::connect(prefix), Err(Error::Refused(_))));
    let name = RedisOptions::new(url, worker("a b"));
    assert!(matches!(RedisBroker::connect(name), Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = RedisServer::start();
    server.command("ACL SETUSER someone on >secret +@all ~*");
    server.command("ACL SETUSER default off");
    for user in ["someone:hunter2@", "nobody:hunter2@", ""] {
        let socket = server.url();
        let socket = socket.trim_start_matches("unix://");
        let (name, password) = user.trim_end_matches('@').split_once(':').unwrap_or(("", ""));
        let url = format!("unix://{socket}?user={name}&pass={password}");
        let url = if user.is_empty() { server.url() } else { url };
        let broker = RedisBroker::connect(RedisOptions::new(url, worker("a"))).unwrap();
        let refused = broker.ping().await.unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{user}: {refused:?}");
        assert!(!format!("{refused:?} {broker:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_server_tells_what_it_is() {
    let server = RedisServer::start_durable();
    let broker = RedisBroker::connect(RedisOptions::new(server.url(), worker("a"))).unwrap();
    let facts = broker.server_facts().await.unwrap().remove(0);
    assert!(facts.version.split('.').next().unwrap().parse::<u32>().unwrap() >= 7, "{facts:?}");
    assert_eq!(facts.maxmemory_policy, "noeviction");
    assert_eq!(facts.role, "master");
    assert_eq!(facts.run_id.len(), 40);
    assert!(facts.appendonly);
    assert_eq!(facts.save.as_deref(), Some(""));
}

#[tokio::test]
async fn an_office_is_kept_by_who_has_it_and_falls_to_another_when_his_term_is_over() {
    let on = Harness::redis();
    let broker = |name| {
        let url = on.server.as_ref().unwrap().url();
        RedisBroker::connect(RedisOptions::new(url, worker(name))).unwrap()
    };
    let (first, second) = (broker("first"), broker("second"));
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
    for _ in 0..3 {
        assert!(first.keep_office("a", long).await.unwrap());
        assert!(!second.keep_office("a", long).await.unwrap());
    }
    assert!(second.keep_office("b", long).await.unwrap(), "another office");
    // Its holder asks for a short term, and never again.
    assert!(first.keep_office("a", short).await.unwrap());
    while !second.keep_office("a", long).await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert!(!first.keep_office("a", long).await.unwrap());
    // Somebody else's key is in nobody's way.
    command(&on, "DEL postworks:chore:a");
    command(&on, "LPUSH postworks:chore:a x");
    assert!(first.keep_office("a", long).await.unwrap());
}

//! Redis Cluster: queues on several nodes are one broker, and a node harms only its own.

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Error, Gate, Place, Presence, Settled, Settlement, Then};
use postworks::clock::{Clock as _, SystemClock};
use postworks::finding::{Finding, Status};
use postworks::job::Queue;
use postworks::testing::broker::{
    Harness, LEASE, PATIENCE, TERM, envelope, fresh, needs_generation, worker,
};
use postworks::testing::cluster::ClusterServers;
use postworks::testing::redis_server::RedisServer;
use tokio::task::block_in_place;
use uuid::Uuid;

/// Promises that are looked at side by side.
const SIDE_BY_SIDE: usize = 6;

pub(super) fn broker(servers: &ClusterServers, name: &str) -> RedisBroker {
    RedisBroker::connect(RedisOptions::new(servers.url(), worker(name))).unwrap()
}

/// Opens a queue of which the ledger has nothing.
pub(super) async fn open(broker: &dyn Broker, queue: &Queue, generation: u32) {
    broker.open(queue, generation).await.unwrap();
    if let Some(refill) = broker.begin_refill(queue, TERM).await.unwrap() {
        broker.end_refill(queue, &refill, None).await.unwrap();
    }
}

/// Pushes jobs that are due.
pub(super) async fn push(broker: &dyn Broker, queue: &Queue, count: usize) -> Result<(), Error> {
    let now = SystemClock.now();
    let jobs: Vec<_> = (0..count).map(|_| fresh(envelope(now, 0), now)).collect();
    broker.push(queue, &jobs).await.map(drop)
}

pub(super) async fn claim(broker: &dyn Broker, queue: &Queue) -> Result<usize, Error> {
    let claimed = broker.claim(queue, &worker("a"), 100, LEASE).await?;
    Ok(claimed.deliveries.len())
}

/// All of them, with the user of `config/redis.conf`: it takes seconds until a Cluster serves, so
/// they share one, under prefixes of their own, and their queues lie on all of its nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_all_promises_to_a_restricted_user() {
    let config = format!("{}/config/redis.conf", env!("CARGO_MANIFEST_DIR"));
    let settings = ["--include", &config, "--appendonly", "no", "--save", ""];
    let servers = block_in_place(|| ClusterServers::start_with(&settings));
    let url = servers.url().replace("://", "://postworks:change-me@");
    let queues = servers.queues();
    let mut number = 0;
    let promises = postworks::broker_promises!(
        together || {
            number += 1;
            let queue = queues[number % queues.len()].clone();
            Harness::cluster(&url, &format!("postworks:{number}"), queue)
        }
    );
    let looks = promises.into_iter().map(|(name, promise)| async move {
        AssertUnwindSafe(promise).catch_unwind().await.err().map(|_| name)
    });
    let broken: Vec<Option<&str>> =
        stream::iter(looks).buffer_unordered(SIDE_BY_SIDE).collect().await;
    assert!(broken.len() > 60, "{}", broken.len());
    let broken: Vec<&str> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_on_several_nodes_are_one_broker() {
    let servers = block_in_place(ClusterServers::start);
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    assert!(on.stirs(&queues).await.unwrap(), "none was opened");
    for queue in &queues {
        let refused = claim(&on, queue).await.unwrap_err();
        assert!(needs_generation(&refused), "{refused:?}");
        on.open(queue, 1).await.unwrap();
    }
    assert!(on.has_gaps(&queues).await.unwrap());
    for queue in &queues {
        open(&on, queue, 1).await;
        // By the opening.
        on.wait(std::slice::from_ref(queue), PATIENCE).await.unwrap();
    }
    assert!(!on.has_gaps(&queues).await.unwrap());
    assert!(!on.stirs(&queues).await.unwrap());
    assert!(!on.leased(&queues).await.unwrap());
    assert_eq!(on.cutoffs(&queues).await.unwrap(), [None; 3]);

    for (number, queue) in queues.iter().enumerate() {
        // A waiter for all of them learns of a job in any.
        let (woken, pushed) =
            tokio::join!(on.wait(&queues, PATIENCE), push(&on, queue, number + 1));
        pushed.unwrap();
        assert_eq!(woken.unwrap().as_ref(), Some(queue));
    }
    let depths = on.depth(&queues).await.unwrap();
    let ready: Vec<u64> = depths.iter().map(|depth| depth.unwrap().ready).collect();
    assert_eq!(ready, [1, 2, 3]);
    assert!(on.stirs(&queues).await.unwrap());
    assert_eq!(claim(&on, &queues[2]).await.unwrap(), 3);
    assert!(on.leased(&queues).await.unwrap() && !on.leased(&queues[..2]).await.unwrap());
    on.shut(&queues[1], SystemClock.now().after(LEASE)).await.unwrap();
    let (gates, _) = on.gates(&queues).await.unwrap();
    let shut: Vec<bool> = gates.iter().map(|gate| gate.unwrap().shut_until.is_some()).collect();
    assert_eq!(shut, [false, true, false]);

    let accounts: Vec<Uuid> = (0..5).map(Uuid::from_u128).collect();
    on.block(accounts[3], SystemClock.now().after(LEASE)).await.unwrap();
    let blocked = on.blocked(&accounts).await.unwrap();
    assert_eq!(blocked.iter().position(Option::is_some), Some(3));
    let present = Presence { role: "worker".to_owned(), ..Presence::default() };
    on.announce(&worker("a"), &present, LEASE).await.unwrap();
    assert_eq!(on.roster().await.unwrap(), [present]);
    let used = on.server_use().await.unwrap().unwrap();
    assert!(used.memory_used > 0 && used.clients >= 3, "{used:?}");
    let off = on.pulse().await.unwrap().now.as_millis() - SystemClock.now().as_millis();
    assert!(off.abs() < 1_000, "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_vanished_when_no_node_sees_it_any_more() {
    let servers = block_in_place(ClusterServers::start);
    let (on, queues) = (broker(&servers, "reaper"), servers.queues());
    let other = broker(&servers, "b");
    other.serves(&queues);
    for queue in &queues {
        open(&on, queue, 1).await;
        push(&on, queue, 1).await.unwrap();
        let claimed = other.claim(queue, &worker("b"), 1, LEASE).await.unwrap();
        assert_eq!(claimed.deliveries.len(), 1);
    }
    assert_eq!(on.served(&queues).await.unwrap(), [1, 1, 1], "one worker, however often connected");
    assert!(on.vanished(&queues).await.unwrap().is_empty());
    // Two nodes lose it, as after a short cut of the network.
    for server in &servers.servers[..2] {
        cut(server, "postworks:b:");
        assert!(on.vanished(&queues).await.unwrap().is_empty());
    }
    assert!(on.connected().await.unwrap().contains(&worker("b")));
    drop(other);
    let start = Instant::now();
    while on.vanished(&queues).await.unwrap() != [worker("b")].into() {
        assert!(start.elapsed() < PATIENCE, "it is gone");
        tokio::task::yield_now().await;
    }
    assert!(!on.connected().await.unwrap().contains(&worker("b")));
}

/// Cuts the connections whose name starts so.
fn cut(server: &RedisServer, name: &str) {
    let list = server.command("CLIENT LIST");
    let named = list.lines().filter(|line| line.contains(&format!(" name={name}")));
    let id =
        |line: &str| line.split(' ').find_map(|field| field.strip_prefix("id=").map(str::to_owned));
    for id in named.filter_map(id) {
        assert_eq!(server.command(&format!("CLIENT KILL ID {id}")), ":1");
    }
    assert!(!server.command("CLIENT LIST").contains(&format!(" name={name}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_harms_only_its_own_queues() {
    let mut servers = block_in_place(ClusterServers::start);
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    for queue in &queues {
        open(&on, queue, 1).await;
        push(&on, queue, 3).await.unwrap();
        on.wait(std::slice::from_ref(queue), PATIENCE).await.unwrap();
    }
    servers.servers[0].kill9();
    let away = claim(&on, &queues[0]).await.unwrap_err();
    assert!(matches!(away, Error::NodeAway(_)) && !away.is_outage(), "{away:?}");
    let away = push(&on, &queues[0], 1).await.unwrap_err();
    assert!(matches!(away, Error::NodeAway(_)), "{away:?}");

    for queue in &queues[1..] {
        assert_eq!(claim(&on, queue).await.unwrap(), 3);
    }
    // What spans all queues is told of those that are there.
    assert!(on.leased(&queues).await.unwrap());
    assert!(!on.stirs(&queues).await.unwrap());
    assert!(!on.has_gaps(&queues).await.unwrap());
    assert_eq!(on.cutoffs(&queues).await.unwrap(), [None; 3]);
    assert!(on.vanished(&queues).await.unwrap().is_empty());
    assert!(on.connected().await.unwrap().contains(&worker("a")));
    on.ping().await.unwrap();
    on.pulse().await.unwrap();
    let depths = on.depth(&queues).await.unwrap();
    assert_eq!(depths[0], None);
    assert!(depths[1..].iter().all(|depth| depth.unwrap().running == 3), "{depths:?}");
    let (gates, now) = on.gates(&queues).await.unwrap();
    assert_eq!(gates, [None, Some(Gate::default()), Some(Gate::default())]);
    let off = now.as_millis() - SystemClock.now().as_millis();
    assert!(off.abs() < 1_000, "{off}");
    let away = on.depth(&queues[..1]).await.unwrap_err();
    assert!(matches!(away, Error::NodeAway(_)), "{away:?}");
    // No chore stands still, wherever its office lies.
    for chore in 0..20 {
        assert!(on.elect(&format!("chore{chore}"), PATIENCE).await.unwrap());
        assert!(!on.elect(&format!("chore{chore}"), PATIENCE).await.unwrap());
    }
    // Nor does a waiter sleep while a node that is there has work.
    for _ in 0..3 {
        let (woken, pushed) = tokio::join!(on.wait(&queues, PATIENCE), push(&on, &queues[1], 1));
        pushed.unwrap();
        assert_eq!(woken.unwrap().as_ref(), Some(&queues[1]));
        assert_eq!(claim(&on, &queues[1]).await.unwrap(), 1);
    }

    servers.servers[1].kill9();
    servers.servers[2].kill9();
    let start = Instant::now();
    loop {
        // Each node's loss is noticed by whoever asks it.
        let errors = [claim(&on, &queues[1]).await, claim(&on, &queues[2]).await];
        if errors.iter().all(|error| matches!(error, Err(Error::Unavailable(_)))) {
            break;
        }
        assert!(errors.iter().all(Result::is_err) && start.elapsed() < PATIENCE, "{errors:?}");
    }
    assert!(on.ping().await.unwrap_err().is_outage());
    assert!(on.wait(&queues, PATIENCE).await.unwrap_err().is_outage());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_again_and_again_for_a_node_that_hangs() {
    let servers = block_in_place(ClusterServers::start);
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    for queue in &queues {
        open(&on, queue, 1).await;
    }
    servers.servers[0].freeze();
    // A probe is told that the broker is there, before anybody has found out that one node hangs.
    tokio::time::timeout(Duration::from_secs(1), on.ping()).await.unwrap().unwrap();
    claim(&on, &queues[0]).await.unwrap_err();
    let start = Instant::now();
    for _ in 0..100 {
        let away = claim(&on, &queues[0]).await.unwrap_err();
        assert!(matches!(away, Error::NodeAway(_)), "{away:?}");
        claim(&on, &queues[1]).await.unwrap();
    }
    // An answer that does not come is waited for two seconds.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    servers.servers[0].thaw();
    let start = Instant::now();
    while let Err(error) = claim(&on, &queues[0]).await {
        assert!(matches!(error, Error::NodeAway(_)), "{error:?}");
        assert!(start.elapsed() < PATIENCE);
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_how_each_node_is() {
    let mut servers = block_in_place(ClusterServers::start);
    let on = broker(&servers, "a");
    let wrong = |findings: &[Finding]| -> Vec<(&str, String)> {
        let wrong = findings.iter().filter(|found| found.status != Status::Ok);
        wrong.map(|found| (found.check, found.detail.clone())).collect()
    };
    let of_node = |findings: &[Finding], number: usize, check: &str| {
        let node = format!("127.0.0.1:{}: ", servers.port(number));
        let mut told = findings.iter().filter(|found| found.check == check);
        told.find(|found| found.detail.starts_with(&node)).cloned()
    };
    let findings = on.examine().await.unwrap();
    for number in 0..3 {
        let found = of_node(&findings, number, "redis cluster").unwrap();
        assert!(found.detail.ends_with("one of 3 nodes; it has 0 replicas"), "{found:?}");
    }
    // Nothing is kept on disk here.
    assert!(wrong(&findings).iter().all(|(check, _)| *check == "redis persistence"));
    assert_eq!(on.server_facts().await.unwrap().len(), 3);

    servers.servers[1].command("CONFIG SET maxmemory-policy allkeys-lru");
    servers.servers[2].command("CONFIG SET cluster-require-full-coverage yes");
    let findings = on.examine().await.unwrap();
    let eviction = of_node(&findings, 1, "redis eviction").unwrap();
    let coverage = of_node(&findings, 2, "redis cluster").unwrap();
    assert_eq!((eviction.status, coverage.status), (Status::Fail, Status::Warn));
    assert_eq!(of_node(&findings, 0, "redis eviction").unwrap().status, Status::Ok);

    let port = servers.port(0);
    servers.servers[0].kill9();
    let findings = on.examine().await.unwrap();
    let away = findings.iter().find(|found| found.check == "redis node").unwrap();
    assert!(away.detail.contains(&format!("127.0.0.1:{port} cannot be asked")), "{away:?}");
    assert_eq!(on.server_facts().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_the_wrong_kind_is_answered_with_the_right_one() {
    let servers = block_in_place(ClusterServers::start);
    let at = |url: String| RedisBroker::connect(RedisOptions::new(url, worker("a"))).unwrap();
    let alone = at(format!("redis://127.0.0.1:{}", servers.port(0)));
    let refused = claim(&alone, &servers.queues()[1]).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("REDIS_URL=redis+cluster://"), "{refused}");
    let findings = alone.examine().await.unwrap();
    let found = findings.iter().find(|found| found.check == "redis cluster").unwrap();
    assert!(found.unfit, "{found:?}");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _single = block_in_place(|| RedisServer::start_with(&["--port", &port.to_string()]));
    let refused = at(format!("redis+cluster://127.0.0.1:{port}")).ping().await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("REDIS_URL=redis://"), "{refused}");
    // One of several hosts is enough.
    let dead = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", servers.port(2));
    open(&at(dead), &servers.queues()[0], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_one_node_says_nothing_on_another() {
    let servers = block_in_place(ClusterServers::start);
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    for queue in &queues[..2] {
        open(&on, queue, 1).await;
        push(&on, queue, 1).await.unwrap();
    }
    let claimed = on.claim(&queues[0], &worker("a"), 1, LEASE).await.unwrap();
    let lease = claimed.deliveries[0].lease.clone();
    let gone = [Settlement { lease: lease.clone(), then: Then::Gone }];
    assert_eq!(on.settle(&queues[1], &gone).await.unwrap(), [Settled::Stale]);
    assert_eq!(on.find(&queues[1], &[lease.id]).await.unwrap(), [None]);
    let running = Some(Place::Running(worker("a")));
    assert_eq!(on.find(&queues[0], &[lease.id]).await.unwrap(), [running]);
    assert_eq!(on.settle(&queues[0], &gone).await.unwrap(), [Settled::Done]);
}

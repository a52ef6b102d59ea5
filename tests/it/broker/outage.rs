//! A Redis that stops, restarts, is wiped, or was never there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Error, Reap, Reasserted, Reassertion, Settled, Then};
use postworks::testing::broker::{Harness, LEASE, PATIENCE, needs_generation, queue, worker};
use postworks::testing::redis_server::RedisServer;

/// Repeats a call until it succeeds, as every caller does.
async fn until_it_answers(broker: &dyn Broker) {
    let start = Instant::now();
    while let Err(error) = broker.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(start.elapsed() < PATIENCE);
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn refused(on: &Harness) -> Option<u32> {
    let error = on.broker.claim(&on.queue, &worker("a"), 9, LEASE).await.unwrap_err();
    match error {
        Error::NeedsGeneration { held, .. } => held,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_a_restart_claims_are_refused_until_a_new_generation_is_opened() {
    // With `everysec` a busy disk keeps what was answered waiting for up to two seconds, and a kill takes
    // that along.
    let always = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut on = Harness::redis_on(RedisServer::start_with(&always));
    on.open().await;
    on.push_due(2).await;
    let old = on.claim("a", 1).await.remove(0).lease;
    for (crash, generation) in [(false, 2), (true, 3)] {
        let server = on.server.as_mut().unwrap();
        if crash {
            server.kill9();
            server.resume();
        } else {
            server.restart();
        }
        until_it_answers(&*on.broker).await;
        assert_eq!(refused(&on).await, Some(generation - 1));
        let too_low = on.broker.open(&on.queue, generation - 1).await.unwrap_err();
        assert!(needs_generation(&too_low));
        assert!(refused(&on).await.is_some());
        on.broker.open(&on.queue, generation).await.unwrap();
        let survivor = on.claim_one("b").await;
        assert!(survivor.flagged);
        assert!(survivor.lease.token.rank() > old.token.rank());
        assert_eq!(on.settle(&survivor.lease, Then::Back).await, Settled::Done);
    }
    assert_eq!(on.settle(&old, Then::Gone).await, Settled::Done, "its lease survived");
}

#[tokio::test]
async fn after_a_wipe_old_leases_are_stale_and_any_generation_opens() {
    let on = Harness::redis();
    on.broker.open(&on.queue, 5).await.unwrap();
    let job = on.job(Duration::ZERO);
    on.push(job.clone()).await;
    let zombie = on.claim_one("a").await.lease;
    on.server.as_ref().unwrap().command("FLUSHALL");
    assert_eq!(refused(&on).await, None);
    on.push(job).await;
    on.broker.open(&on.queue, 6).await.unwrap();
    let delivery = on.claim_one("a").await;
    assert!(delivery.flagged, "it was pushed before the queue was opened");
    assert_eq!(on.settle(&zombie, Then::Gone).await, Settled::Stale);
    assert_eq!(on.settle(&delivery.lease, Then::Gone).await, Settled::Done);
}

#[tokio::test]
async fn a_lease_that_a_rollback_brought_back_harms_nobody() {
    let settings = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut on = Harness::redis_on(RedisServer::start_with(&settings));
    on.open().await;
    on.push_due(1).await;
    let zombie = on.claim_one("a").await.lease;
    let copy = on.server.as_ref().unwrap().copy_of_disk();
    on.broker.reap(&on.queue, Reap::Worker(&zombie.worker)).await.unwrap();
    let holder = on.claim_one("b").await;
    on.server.as_mut().unwrap().roll_back(&copy);
    until_it_answers(&*on.broker).await;
    assert_eq!(refused(&on).await, Some(1));
    on.broker.open(&on.queue, 2).await.unwrap();

    let leases = [zombie.clone(), holder.lease.clone()];
    let renewed = on.broker.renew(&on.queue, &leases, LEASE).await.unwrap();
    assert_eq!((renewed.generation, renewed.held), (Some(2), vec![true, false]));
    let envelope = holder.envelope.as_ref().unwrap();
    let job = Reassertion { lease: &holder.lease, envelope };
    let answer = on.broker.reassert(&on.queue, &[job], LEASE).await.unwrap();
    assert_eq!(answer, [Reasserted::Held], "the older lease makes way");
    let renewed = on.broker.renew(&on.queue, &leases, LEASE).await.unwrap();
    assert_eq!(renewed.held, [false, true]);
    for then in [Then::Gone, Then::Back] {
        assert_eq!(on.settle(&zombie, then).await, Settled::Stale);
    }
    assert!(on.claim("c", 1).await.is_empty());
    assert_eq!(on.settle(&holder.lease, Then::Gone).await, Settled::Done);
}

#[tokio::test]
async fn an_outage_is_an_error_within_bounded_time_and_heals() {
    let mut on = Harness::redis();
    on.open().await;
    on.must_be_woken().await;
    on.server.as_mut().unwrap().kill9();
    let queues = [on.queue.clone()];
    let start = Instant::now();
    for _ in 0..4 {
        let error = on.broker.wait(&queues, Duration::from_secs(600)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        let error = on.broker.ping().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    // Four pauses of at least 25, 50, 100 and 200 ms, each with jitter down to a half: no spin.
    assert!(start.elapsed() >= Duration::from_millis(180), "{:?}", start.elapsed());
    assert!(start.elapsed() < PATIENCE);
    on.server.as_mut().unwrap().resume();
    let start = Instant::now();
    until_it_answers(&*on.broker).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    on.open().await;
    on.must_be_woken().await;
}

#[tokio::test]
async fn a_waiter_learns_of_an_outage_while_it_waits() {
    let mut on = Harness::redis();
    on.open().await;
    on.must_be_woken().await;
    let broker = Arc::clone(&on.broker);
    let queues = [on.queue.clone()];
    let waiting = tokio::spawn(async move { broker.wait(&queues, Duration::from_secs(600)).await });
    until_somebody_blocks(&on).await;
    on.server.as_mut().unwrap().kill9();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_token_for_a_waiter_that_gave_up_goes_to_another_process() {
    let on = Harness::redis();
    on.open().await;
    on.must_be_woken().await;
    let queues = [on.queue.clone()];
    let given_up = on.broker.wait(&queues, Duration::from_secs(600));
    tokio::select! {
        biased;
        ended = given_up => drop(ended.unwrap()),
        () = until_somebody_blocks(&on) => {}
    }
    // The first process' blocking call is older, and gets the token; it must pass it on.
    let other = on.broker.dedicated().await.unwrap();
    on.push_due(1).await;
    let woken = other.wait(&queues, Duration::from_secs(600));
    tokio::time::timeout(PATIENCE, woken).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wait_that_is_repeated_uses_one_connection() {
    let on = Harness::redis();
    on.open().await;
    on.must_be_woken().await;
    for _ in 0..20 {
        on.broker.wait(std::slice::from_ref(&on.queue), Duration::from_millis(1)).await.unwrap();
    }
    let list = on.server.as_ref().unwrap().command("CLIENT LIST");
    assert_eq!(list.matches("name=postworks:harness").count(), 2, "{list}");
}

#[tokio::test]
async fn a_connection_carries_the_workers_name_also_after_a_reconnect() {
    let mut on = Harness::redis();
    let other = worker("other");
    let url = on.server.as_ref().unwrap().url();
    let second = RedisBroker::connect(RedisOptions::new(url, other.clone())).unwrap();
    second.ping().await.unwrap();
    let both = [worker("harness"), other.clone()].into();
    assert_eq!(on.broker.connected().await.unwrap(), both);
    drop(second);
    let start = Instant::now();
    while on.broker.connected().await.unwrap().contains(&other) {
        assert!(start.elapsed() < PATIENCE, "a worker that is gone disappears");
    }
    on.server.as_mut().unwrap().restart();
    until_it_answers(&*on.broker).await;
    assert_eq!(on.broker.connected().await.unwrap(), [worker("harness")].into());
}

#[tokio::test]
async fn a_broker_may_be_made_before_its_redis_runs() {
    let mut server = RedisServer::start();
    server.stop();
    let broker = RedisBroker::connect(RedisOptions::new(server.url(), worker("a"))).unwrap();
    assert!(matches!(broker.ping().await, Err(Error::Unavailable(_))));
    server.resume();
    until_it_answers(&broker).await;
    broker.open(&queue("connector_sync"), 1).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_hangs_is_given_up_within_seconds() {
    let on = Harness::redis();
    on.open().await;
    on.server.as_ref().unwrap().freeze();
    let start = Instant::now();
    let error = on.broker.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    on.server.as_ref().unwrap().thaw();
    until_it_answers(&*on.broker).await;
}

#[tokio::test]
async fn a_read_only_redis_is_unavailable() {
    let on = Harness::redis();
    on.open().await;
    let server = on.server.as_ref().unwrap();
    server.command("REPLICAOF 127.0.0.1 1");
    let error = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    server.command("REPLICAOF NO ONE");
    until_it_answers(&*on.broker).await;
    on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap();
}

async fn until_somebody_blocks(on: &Harness) {
    let server = on.server.as_ref().unwrap();
    let start = Instant::now();
    while !server.command("CLIENT LIST").contains("cmd=blpop") {
        assert!(start.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}

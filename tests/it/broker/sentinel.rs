//! A Redis behind sentinels: the master is found, also after another server became it.

use std::time::{Duration, Instant};

use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Error};
use postworks::clock::{Clock as _, SystemClock};
use postworks::testing::broker::{LEASE, PATIENCE, envelope, fresh, queue, worker};
use postworks::testing::sentinel::SentinelServers;
use tokio::task::block_in_place;

fn broker(url: String) -> RedisBroker {
    RedisBroker::connect(RedisOptions::new(url, worker("a"))).unwrap()
}

/// Pushes a job, as often as it takes; answers how long that was.
async fn until_it_takes_a_job(broker: &RedisBroker) -> Duration {
    let (queue, start) = (queue("connector_sync.test"), Instant::now());
    loop {
        let push = fresh(envelope(SystemClock.now(), 0), SystemClock.now());
        match broker.push(&queue, &[push]).await {
            Ok(_) => return start.elapsed(),
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error:?}"),
        }
        assert!(start.elapsed() < PATIENCE);
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_is_replaced_and_its_return_changes_nothing() {
    let mut redis = block_in_place(SentinelServers::start);
    let (broker, queue) = (broker(redis.url()), queue("connector_sync.test"));
    broker.open(&queue, 1).await.unwrap();
    until_it_takes_a_job(&broker).await;
    assert_eq!(broker.connected().await.unwrap(), [worker("a")].into());

    redis.servers[0].kill9();
    let took = until_it_takes_a_job(&broker).await;
    println!("a push is taken {took:?} after the master was killed");
    block_in_place(|| redis.until_master_is(1));
    let refused = broker.claim(&queue, &worker("a"), 1, LEASE).await.unwrap_err();
    assert!(matches!(refused, Error::NeedsGeneration { .. }), "another server: {refused:?}");
    broker.open(&queue, 2).await.unwrap();
    assert!(!broker.claim(&queue, &worker("a"), 9, LEASE).await.unwrap().deliveries.is_empty());
    assert_eq!(broker.connected().await.unwrap(), [worker("a")].into(), "it has its name again");

    // It comes back in the belief that it is the master.
    block_in_place(|| redis.servers[0].resume());
    let fresh = RedisBroker::connect(RedisOptions::new(redis.url(), worker("b"))).unwrap();
    fresh.ping().await.unwrap();
    let names = redis.servers[0].command("CLIENT LIST");
    assert!(!names.contains("name=postworks:"), "nobody may go to the old master: {names}");
    block_in_place(|| redis.until_replica_is(0));
    until_it_takes_a_job(&fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_and_wakes_up_demoted_is_left() {
    let redis = block_in_place(SentinelServers::start);
    let broker = broker(redis.url());
    until_it_takes_a_job(&broker).await;
    redis.servers[0].freeze();
    let took = until_it_takes_a_job(&broker).await;
    println!("a push is taken {took:?} after the master hung");
    block_in_place(|| redis.until_master_is(1));
    redis.servers[0].thaw();
    block_in_place(|| redis.until_replica_is(0));
    until_it_takes_a_job(&broker).await;
    assert!(redis.servers[1].command("CLIENT LIST").contains("name=postworks:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_demoted_in_good_order_is_left_also_by_who_waits_there() {
    let mut redis = block_in_place(SentinelServers::start);
    let (broker, queues) = (broker(redis.url()), [queue("connector_sync.test")]);
    until_it_takes_a_job(&broker).await;
    broker.wait(&queues, PATIENCE).await.unwrap();
    let waiting = async {
        let start = Instant::now();
        loop {
            match broker.wait(&queues, PATIENCE).await {
                Ok(Some(queue)) => return queue,
                Ok(None) => {}
                Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error:?}"),
            }
            assert!(start.elapsed() < PATIENCE, "nobody is woken");
        }
    };
    let failing_over = async {
        let answer = redis.sentinel(0).command("SENTINEL FAILOVER main");
        assert_eq!(answer, "+OK");
        block_in_place(|| redis.until_master_is(1));
        block_in_place(|| redis.until_replica_is(0));
        until_it_takes_a_job(&broker).await;
    };
    let (woken, ()) = tokio::join!(waiting, failing_over);
    assert_eq!(woken, queues[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_are_away_or_hang_do_not_matter_while_one_answers() {
    let mut redis = block_in_place(SentinelServers::start);
    redis.sentinel(0).freeze();
    redis.sentinel(1).kill9();
    let start = Instant::now();
    broker(redis.url()).ping().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    redis.sentinel(2).kill9();
    let alone = broker(redis.url()).ping().await.unwrap_err();
    assert!(matches!(alone, Error::Unavailable(_)), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_or_password_is_told_apart() {
    let mut redis = block_in_place(SentinelServers::start);
    let other = redis.url().replace("/main", "/other");
    let unknown = broker(other).ping().await.unwrap_err();
    let told = format!("{unknown:?}");
    assert!(matches!(unknown, Error::Unavailable(_)) && told.contains("other"), "{told}");

    for number in 0..3 {
        redis.sentinel(number).command("CONFIG SET requirepass secret");
        redis.sentinel(number).command("ACL SETUSER default resetpass >secret");
    }
    let refused = broker(redis.url()).ping().await.unwrap_err();
    let told = format!("{refused:?}");
    assert!(matches!(refused, Error::Refused(_)), "{told}");
    assert!(told.contains("sentinel_password"), "{told}");
    broker(format!("{}?sentinel_password=secret", redis.url())).ping().await.unwrap();

    redis.servers[0].command("ACL SETUSER default resetpass >other");
    let own = format!("{}?sentinel_password=secret", redis.url());
    let refused = broker(own.clone()).ping().await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert!(format!("{refused:?}").contains("NOAUTH"), "{refused:?}");
    broker(own.replace("://", "://:other@")).ping().await.unwrap();
}

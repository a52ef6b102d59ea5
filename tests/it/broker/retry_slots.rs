//! Random takings of slots for retries give the same times on both brokers.

use std::sync::Arc;
use std::time::Duration;

use postworks::broker::Broker;
use postworks::broker::memory::MemoryBroker;
use postworks::clock::{Clock, ShiftedClock};
use postworks::testing::broker::{queue, redis_broker, worker};
use postworks::testing::redis_server::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Times are whole ticks, so that it does not matter that one broker is asked after the other.
const TICK: Duration = Duration::from_secs(600);

#[test]
fn both_brokers_give_the_same_slots() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let case = std::sync::atomic::AtomicU32::new(0);
    // Ticks that pass, slots taken, and how many ticks these are apart.
    let steps = prop::collection::vec((0..4_u32, 1..5_u32, 1..4_u32), 1..40);
    let mut runner = TestRunner::new(Config::with_cases(32));
    let outcome = runner.run(&steps, |steps| {
        let clock = Arc::new(ShiftedClock::default());
        let start = clock.now();
        let n = case.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let queue = queue(&format!("connector_sync.case_{n}"));
        let model = MemoryBroker::new(Arc::clone(&clock) as _);
        runtime.block_on(async {
            let redis = redis_broker(&server, &clock, &worker("a"));
            for (ticks, count, apart) in steps {
                clock.advance(TICK * ticks);
                let per_second = 1.0 / (TICK * apart).as_secs_f64();
                let ticks = async |broker: &dyn Broker| {
                    let slot = broker.reserve_retries(&queue, count, per_second).await.unwrap();
                    (slot.since(start).as_secs_f64() / TICK.as_secs_f64()).round()
                };
                let (expected, got) = (ticks(&model).await, ticks(&redis).await);
                prop_assert_eq!(expected, got);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

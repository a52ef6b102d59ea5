//! Random calls within random quotas are told the same by both brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::broker::{Broker, Call, Room, Scope};
use postworks::clock::{Clock, ShiftedClock};
use postworks::job::{Flow, Timestamp};
use postworks::testing::broker::{queue, redis_broker, worker};
use postworks::testing::redis_server::RedisServer;
use proptest::prelude::*;
use uuid::Uuid;

/// Time goes on in whole ticks, so that it does not matter that one broker is asked after the
/// other...
const TICK: Duration = Duration::from_secs(10_000_000);
/// ...and the quotas are so much longer than some ticks that no two of them ever have room at the
/// same time by another reason than having been asked together.
const LONGER: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(1_000), Duration::from_secs(100_000)];
/// Times that are closer are the same.
const NEAR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Step {
    Advance(u32),
    Block(u8, u32),
    Ask { calls: Vec<Asked>, looks: bool },
}

#[derive(Debug, Clone)]
struct Asked {
    account: Option<u8>,
    /// Whether it counts for the app's, its account's and its endpoint's quota.
    counts: [bool; 3],
    urgent: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let call = (prop::option::weighted(0.9, 0..2_u8), any::<[bool; 3]>(), any::<bool>())
        .prop_map(|(account, counts, urgent)| Asked { account, counts, urgent });
    prop_oneof![
        3 => (0..4_u32).prop_map(Step::Advance),
        1 => (0..2_u8, 1..20_u32).prop_map(|(account, days)| Step::Block(account, days)),
        6 => (prop::collection::vec(call, 0..6), prop::bool::weighted(0.2))
            .prop_map(|(calls, looks)| Step::Ask { calls, looks }),
    ]
}

fn flows() -> impl Strategy<Value = [Flow; 3]> {
    prop::array::uniform3((1..4_u32, 1..4_u32, 0..4_u32)).prop_map(|flows| {
        let mut longer = LONGER.into_iter();
        flows.map(|(ticks, ordinary, kept)| {
            let apart = TICK * ticks + longer.next().unwrap();
            let apart_us = u64::try_from(apart.as_micros()).unwrap();
            Flow { apart_us, ordinary, urgent: ordinary + kept }
        })
    })
}

fn account(case: u32, number: u8) -> Uuid {
    Uuid::from_u128(u128::from(case) << 8 | u128::from(number))
}

fn call(case: u32, asked: &Asked, flows: &[Flow; 3]) -> Call {
    let account = asked.account.map(|number| account(case, number));
    let endpoint = Scope::Endpoint(queue(&format!("connector_sync.case_{case}")));
    let scopes =
        [Some(Scope::App(format!("case_{case}"))), account.map(Scope::Account), Some(endpoint)];
    let quotas = scopes.into_iter().zip(flows).zip(asked.counts);
    let quotas =
        quotas.filter_map(|((scope, flow), counts)| Some((scope.filter(|_| counts)?, *flow)));
    Call { account, quotas: quotas.collect(), urgent: asked.urgent }
}

fn same(one: Room, other: Room) -> bool {
    let near = |one: Timestamp, other: Timestamp| one.since(other).max(other.since(one)) < NEAR;
    match (one, other) {
        (Room::Granted, Room::Granted) => true,
        (Room::Blocked(one), Room::Blocked(other)) => near(one, other),
        (Room::Full { until, quota }, Room::Full { until: other, quota: same }) => {
            quota == same && near(until, other)
        }
        _ => false,
    }
}

async fn take(
    step: Step,
    case: u32,
    flows: &[Flow; 3],
    clock: &ShiftedClock,
    brokers: [&dyn Broker; 2],
) -> Result<(), TestCaseError> {
    match step {
        Step::Advance(ticks) => clock.advance(TICK * ticks),
        Step::Block(number, days) => {
            let until = clock.now().after(Duration::from_secs(86_400) * days);
            for broker in brokers {
                broker.block(account(case, number), until).await.unwrap();
            }
        }
        Step::Ask { calls, looks } => {
            let calls: Vec<Call> = calls.iter().map(|asked| call(case, asked, flows)).collect();
            let mut answers = Vec::new();
            for broker in brokers {
                let asking =
                    if looks { broker.look_for_room(&calls) } else { broker.take_room(&calls) };
                answers.push(asking.await.unwrap());
            }
            let alike = answers[0].iter().zip(&answers[1]).all(|(one, other)| same(*one, *other));
            prop_assert!(alike && answers[0].len() == answers[1].len(), "{:#?}", answers);
        }
    }
    Ok(())
}

#[test]
fn both_brokers_give_the_same_room() {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = RedisServer::start();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    proptest!(config, |(flows in flows(), steps in prop::collection::vec(step(), 1..50))| {
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        let clock = Arc::new(ShiftedClock::default());
        let model = MemoryBroker::new(Arc::clone(&clock) as _);
        runtime.block_on(async {
            let redis = redis_broker(&server, &clock, &worker("a"));
            for step in steps {
                take(step, case, &flows, &clock, [&model, &redis]).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    });
}

#[tokio::test]
async fn what_is_known_of_a_quota_goes_by_itself_and_garbage_in_its_place_is_overwritten() {
    let server = RedisServer::start();
    let clock = Arc::new(ShiftedClock::default());
    let redis = redis_broker(&server, &clock, &worker("a"));
    let flow = Flow { apart_us: 60_000_000, ordinary: 1, urgent: 1 };
    let call = Call {
        account: None,
        quotas: vec![(Scope::App("bluesky".to_owned()), flow)],
        urgent: false,
    };
    let calls = [call.clone(), call];
    let key = "postworks:{accounts}:quota:app:bluesky";
    let many = "9".repeat(40);
    for write in [
        format!("SADD {key} garbage"),
        format!("SET {key} garbage"),
        format!("SET {key} \"{many} {many} {many} {many} {many}\""),
        format!("DEL {key}"),
    ] {
        server.command(&format!("DEL {key}"));
        assert!(!server.command(&write).starts_with('-'), "{write}");
        let rooms = redis.take_room(&calls).await.unwrap();
        if !write.contains(&many) {
            assert_eq!(rooms[0], Room::Granted, "after {write}");
        }
        let now = clock.now();
        for room in rooms.into_iter().filter(|room| *room != Room::Granted) {
            let Room::Full { until, .. } = room else { panic!("{room:?}") };
            assert!(until.since(now) <= Duration::from_secs(600), "{until} after {write}");
        }
        let lasts: u64 =
            server.command(&format!("PTTL {key}")).trim_matches(':').trim().parse().unwrap();
        assert!((1_000..1_200_000).contains(&lasts), "{lasts} ms after {write}");
    }
}

//! What is promised of platforms' limits: they hold for every worker.

use std::time::Duration;

use uuid::Uuid;

use super::super::{Harness, queue};
use super::SECOND;
use crate::broker::{Call, Room, Scope};
use crate::job::{Flow, Timestamp};

/// Slots so far apart that a busy machine does not matter.
const APART: Duration = Duration::from_secs(60);

fn per_second() -> f64 {
    1.0 / APART.as_secs_f64()
}

/// What one worker learnt of an account's window, all others know.
pub async fn a_blocked_account_is_blocked_until_then_and_no_other_is(on: Harness) {
    let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(on.broker.blocked(&[]).await.unwrap(), []);
    let until = on.now().after(600 * SECOND);
    on.broker.block(ann, until).await.unwrap();
    assert_eq!(on.broker.blocked(&[bob, ann, bob]).await.unwrap(), [None, Some(until), None]);
    on.advance(601 * SECOND);
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [None]);
}

/// Of several answers the one that asks for the longest wait counts, in whatever order they come.
pub async fn a_longer_block_is_never_shortened(on: Harness) {
    let ann = Uuid::from_u128(1);
    let (sooner, later) = (on.now().after(60 * SECOND), on.now().after(600 * SECOND));
    for until in [sooner, later, sooner, Timestamp::from_millis(1)] {
        on.broker.block(ann, until).await.unwrap();
    }
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [Some(later)]);
}

/// A time that has passed blocks nobody.
pub async fn a_block_that_is_over_blocks_nobody(on: Harness) {
    let ann = Uuid::from_u128(1);
    on.broker.block(ann, on.now().before(SECOND)).await.unwrap();
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [None]);
}

/// Whoever retries, the queue's slots are apart; a queue that was idle has one at once.
pub async fn slots_for_retries_are_apart_whoever_asks(on: Harness) {
    let other = queue("data_cleanup");
    let start = on.now();
    let slot = async |of: &_, count| {
        on.broker.reserve_retries(of, count, per_second()).await.unwrap().since(start)
    };
    let near = |slot: Duration, ticks: u32| {
        let error = slot.abs_diff(APART * ticks);
        assert!(error < APART / 2, "{slot:?} is not slot {ticks}");
    };
    near(slot(&on.queue, 3).await, 0);
    near(slot(&on.queue, 1).await, 3);
    near(slot(&other, 1).await, 0);
    on.advance(APART * 2);
    near(slot(&on.queue, 1).await, 4);
    on.advance(APART * 20);
    near(slot(&on.queue, 2).await, 22);
    near(slot(&on.queue, 1).await, 24);
}

/// Three ordinary calls at one stroke, five urgent ones, and one more each time that passes.
const FLOW: Flow = Flow { apart_us: 60_000_000, ordinary: 3, urgent: 5 };

fn call(quotas: &[Scope]) -> Call {
    let quotas = quotas.iter().map(|scope| (scope.clone(), FLOW)).collect();
    Call { account: None, quotas, urgent: false }
}

fn app() -> Scope {
    Scope::App("bluesky".to_owned())
}

fn account(number: u128) -> Scope {
    Scope::Account(Uuid::from_u128(number))
}

async fn ask(on: &Harness, calls: &[Call]) -> Vec<Room> {
    on.broker.take_room(calls).await.unwrap()
}

/// How many times the distance of two calls until these are to ask again.
fn waits(on: &Harness, rooms: &[Room]) -> Vec<Option<u32>> {
    let apart = APART.as_secs_f64();
    let waits = rooms.iter().map(|room| match room {
        Room::Full { until, .. } => {
            let ticks = until.since(on.now()).as_secs_f64() / apart;
            (1..100).find(|tick| (f64::from(*tick) - ticks).abs() < 0.5)
        }
        Room::Granted | Room::Blocked(_) => None,
    });
    waits.collect()
}

/// Calls up to the quota are made, the others come back one after the other, and room that nobody
/// took is there again.
pub async fn calls_beyond_a_quota_come_back_one_after_the_other(on: Harness) {
    assert_eq!(ask(&on, &[]).await, []);
    let calls = vec![call(&[app()]); 6];
    let rooms = ask(&on, &calls).await;
    assert_eq!(rooms[..3], [Room::Granted; 3]);
    assert_eq!(waits(&on, &rooms), [None, None, None, Some(1), Some(2), Some(3)]);
    on.advance(APART);
    let rooms = ask(&on, &calls[..2]).await;
    assert_eq!(rooms[0], Room::Granted);
    assert_eq!(waits(&on, &rooms), [None, Some(1)], "room for the next comes free then");
    on.advance(APART * 50);
    assert_eq!(ask(&on, &calls[..3]).await, [Room::Granted; 3]);
}

/// A call that one of its quotas has no room for takes none of the others'.
pub async fn a_call_takes_room_in_all_of_its_quotas_or_in_none(on: Harness) {
    let (ann, bob) = (account(1), account(2));
    let anns = vec![call(&[app(), ann.clone()]); 2];
    assert_eq!(ask(&on, &anns).await, [Room::Granted; 2]);
    assert_eq!(ask(&on, &[call(std::slice::from_ref(&ann))]).await, [Room::Granted]);
    // Her own quota is used up, and the app's would let one more pass.
    let rooms = ask(&on, &anns).await;
    assert!(rooms.iter().all(|room| matches!(room, Room::Full { quota: 1, .. })), "{rooms:?}");
    let endpoint = Scope::Endpoint(on.queue.clone());
    let bobs = call(&[app(), bob, endpoint]);
    let rooms = ask(&on, &[bobs.clone(), bobs]).await;
    assert_eq!(rooms[0], Room::Granted);
    assert!(matches!(rooms[1], Room::Full { quota: 0, .. }), "{rooms:?}");
}

/// What is kept for urgent calls is there for them, whatever the others ask for.
pub async fn urgent_calls_find_the_room_that_is_kept_for_them(on: Harness) {
    let ordinary = call(&[app()]);
    let urgent = Call { urgent: true, ..ordinary.clone() };
    let rooms = ask(&on, &vec![ordinary.clone(); 20]).await;
    assert_eq!(rooms.iter().filter(|room| **room == Room::Granted).count(), 3);
    let calls = [ordinary.clone(), urgent.clone(), urgent.clone(), urgent.clone(), urgent.clone()];
    let rooms = ask(&on, &calls).await;
    assert_eq!(rooms[1..3], [Room::Granted; 2]);
    assert_eq!(waits(&on, &rooms[3..]), [Some(1), Some(2)]);
    on.advance(APART);
    let rooms = ask(&on, &[ordinary, urgent]).await;
    assert_eq!(waits(&on, &rooms), [Some(2), None], "what comes free is the urgent one's first");
}

/// A blocked account's call uses up nothing, and is told of the block rather than of a quota.
pub async fn a_blocked_accounts_call_counts_for_no_quota(on: Harness) {
    let ann = Uuid::from_u128(1);
    let until = on.now().after(600 * SECOND);
    on.broker.block(ann, until).await.unwrap();
    let anns = Call { account: Some(ann), ..call(&[app(), Scope::Account(ann)]) };
    assert_eq!(ask(&on, &vec![anns.clone(); 9]).await, [Room::Blocked(until); 9]);
    assert_eq!(ask(&on, &vec![call(&[app()]); 3]).await, [Room::Granted; 3]);
    let bob = Call { account: Some(Uuid::from_u128(2)), ..call(&[]) };
    assert_eq!(ask(&on, &[anns, bob]).await, [Room::Blocked(until), Room::Granted]);
}

/// To look for room takes none.
pub async fn a_look_for_room_takes_none(on: Harness) {
    let calls = vec![call(&[app(), account(1)]); 3];
    for _ in 0..3 {
        let look = vec![calls[0].clone(); 5];
        assert_eq!(on.broker.look_for_room(&look).await.unwrap(), [Room::Granted; 5]);
    }
    assert_eq!(ask(&on, &calls).await, [Room::Granted; 3]);
    let rooms = on.broker.look_for_room(&calls).await.unwrap();
    assert_eq!(waits(&on, &rooms), [Some(1); 3]);
}

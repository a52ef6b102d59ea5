//! What is promised of gates: who holds jobs back, and for how long.

use std::time::Duration;

use super::super::{Harness, LEASE, worker};
use super::SECOND;
use crate::broker::{Breaker, Claimed, PROBE_TERM, PROBES, Phase, Position, RAMP_STEP, Tally};
use crate::job::Hold;

const PAUSED: Hold = Hold { revision: 1, paused: true, forced_open: false };

async fn claim(on: &Harness, limit: usize) -> Claimed {
    on.broker.claim(&on.queue, &worker("a"), limit, LEASE).await.unwrap()
}

async fn opened(on: &Harness, span: Duration) {
    let phase = Phase::Opened { until: on.now().after(span) };
    let breaker = Breaker { phase, cooldown: span, rate: 100, ..Breaker::default() };
    let epoch = gate(on).await.breaker.epoch;
    assert!(on.broker.switch(&on.queue, epoch, breaker).await.unwrap());
}

async fn gate(on: &Harness) -> crate::broker::Gate {
    let (gates, _) = on.broker.gates(std::slice::from_ref(&on.queue)).await.unwrap();
    gates[0].unwrap()
}

/// A paused queue hands out nothing, whoever asks, and goes on at once when it is resumed.
pub async fn a_paused_queue_hands_out_nothing_until_it_is_resumed(on: Harness) {
    on.open().await;
    on.push_due(2).await;
    for hold in [PAUSED, Hold { paused: false, forced_open: true, ..PAUSED }] {
        on.broker.hold(&on.queue, hold).await.unwrap();
        on.must_be_woken().await;
        let claimed = claim(&on, 10).await;
        assert!(claimed.deliveries.is_empty() && !claimed.more && claimed.next_due.is_none());
        assert_eq!(gate(&on).await.hold, hold);
        on.broker.hold(&on.queue, Hold { revision: 1, ..Hold::default() }).await.unwrap();
        on.must_be_woken().await;
        assert_eq!(claim(&on, 1).await.deliveries.len(), 1);
    }
}

/// Two people's wishes may arrive in any order; the later one holds.
pub async fn an_older_wish_does_not_undo_a_newer_one(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    on.broker.hold(&on.queue, Hold { revision: 8, ..PAUSED }).await.unwrap();
    on.broker.hold(&on.queue, Hold { revision: 7, ..Hold::default() }).await.unwrap();
    assert!(claim(&on, 1).await.deliveries.is_empty());
}

/// Nothing is claimed before a platform's window opens, and a shorter wait shortens none.
pub async fn a_shut_queue_opens_in_time_and_never_earlier(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let until = on.now().after(60 * SECOND);
    on.broker.shut(&on.queue, until).await.unwrap();
    on.broker.shut(&on.queue, on.now().after(SECOND)).await.unwrap();
    let claimed = claim(&on, 1).await;
    assert!(claimed.deliveries.is_empty() && !claimed.more);
    assert_eq!(claimed.next_due, Some(until), "whoever asks learns when to ask again");
    on.advance(61 * SECOND);
    assert_eq!(claim(&on, 1).await.deliveries.len(), 1);
}

/// An open breaker lets nothing pass; after its time three calls of the whole fleet, and three
/// more when those have not come back for long.
pub async fn a_breaker_lets_three_probes_pass_in_the_whole_fleet(on: Harness) {
    on.open().await;
    on.push_due(20).await;
    opened(&on, 30 * SECOND).await;
    assert!(claim(&on, 10).await.deliveries.is_empty());
    assert_eq!(gate(&on).await.position(on.now()), Position::Open);
    on.advance(31 * SECOND);
    assert_eq!(gate(&on).await.position(on.now()), Position::HalfOpen);
    let first = claim(&on, 2).await;
    assert_eq!(first.deliveries.len(), 2);
    assert!(first.first_probes && first.epoch == 1, "{first:?}");
    let others = on.broker.claim(&on.queue, &worker("b"), 10, LEASE).await.unwrap();
    assert_eq!(others.deliveries.len(), 1);
    assert!(!others.more && !others.first_probes, "{others:?}");
    let due = others.next_due.expect("a time to ask again");
    assert!(due > on.now() && due <= on.now().after(PROBE_TERM));
    assert!(claim(&on, 10).await.deliveries.is_empty());
    on.advance(PROBE_TERM + SECOND);
    assert_eq!(claim(&on, 10).await.deliveries.len(), PROBES as usize);
}

/// A breaker that closes lets a tenth of the earlier calls pass, then half of them, then all.
pub async fn a_closing_breaker_lets_more_pass_step_by_step(on: Harness) {
    on.open().await;
    on.push_due(500).await;
    let since = on.now();
    let breaker = Breaker { phase: Phase::Closing { since }, rate: 100, ..Breaker::default() };
    assert!(on.broker.switch(&on.queue, 0, breaker).await.unwrap());
    on.advance(RAMP_STEP);
    let tenth = claim(&on, 500).await.deliveries.len();
    // A tenth of a second's calls, and one more for each hundredth of the next that has passed.
    assert!((11..=30).contains(&tenth), "{tenth}");
    on.advance(RAMP_STEP);
    assert_eq!(gate(&on).await.position(on.now()), Position::Closed);
    assert_eq!(claim(&on, 500).await.deliveries.len(), 500 - tenth);
}

/// Only calls whose jobs were claimed since the breaker's last change say how it fares now.
pub async fn calls_count_in_their_own_epoch_and_for_ten_seconds(on: Harness) {
    on.open().await;
    let tally = |epoch, calls, bad| Tally { epoch, calls, bad };
    let seen = async |tally| {
        let seen = on.broker.observe(&on.queue, tally).await.unwrap();
        (seen.calls, seen.bad)
    };
    assert_eq!(seen(tally(0, 10, 3)).await, (10, 3));
    assert_eq!(seen(tally(1, 99, 99)).await, (10, 3));
    on.advance(5 * SECOND);
    assert_eq!(seen(tally(0, 10, 10)).await, (20, 13));
    on.advance(6 * SECOND);
    assert_eq!(seen(Tally::default()).await, (10, 10), "the first are too old");
    opened(&on, SECOND).await;
    assert_eq!(seen(tally(0, 5, 5)).await, (0, 0), "they began before it opened");
    assert_eq!(seen(tally(1, 1, 0)).await, (1, 0));
    on.advance(60 * SECOND);
    assert_eq!(seen(tally(1, 1, 1)).await, (2, 1), "probes count until it changes");
}

/// Of several workers that see the same calls, one changes the breaker.
pub async fn of_two_changes_of_a_breaker_in_one_epoch_one_counts(on: Harness) {
    on.open().await;
    on.must_be_woken().await; // by the opening
    opened(&on, SECOND).await;
    on.must_be_woken().await;
    let closed = Breaker::default();
    assert!(!on.broker.switch(&on.queue, 0, closed).await.unwrap());
    assert!(on.broker.switch(&on.queue, 1, closed).await.unwrap());
    let breaker = gate(&on).await.breaker;
    assert_eq!((breaker.epoch, breaker.phase), (2, Phase::Closed));
}

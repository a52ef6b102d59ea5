//! Promises about what people want of queues.

use uuid::Uuid;

use super::{at, job};
use crate::job::JobId;
use crate::ledger::{AuditEntry, AuditFilter, Held, Holder, Ledger, QueueHold, SqlLedger, Wish};

fn ann(n: u64) -> Holder {
    Holder { at: at(n), by: "cli:ann@desk".to_owned(), why: Some("at night".to_owned()) }
}

fn note(n: u64, action: &str) -> AuditEntry {
    AuditEntry {
        id: JobId::at(at(n), [0; 10]).as_uuid(),
        at: at(n),
        actor: "cli:ann@desk".to_owned(),
        action: action.to_owned(),
        subject: "post_publication.bluesky".to_owned(),
        detail: None,
        why: None,
        count: 1,
    }
}

async fn wish(ledger: &SqlLedger, n: u64, what: Held, holder: Option<Holder>) -> QueueHold {
    let wish = Wish { queue: job().queue, what, holder };
    ledger.wish(&wish, &note(n, "a.wish")).await.expect("wish")
}

/// A queue is paused and its breaker opened by different people, and either ends without the
/// other. Each change has a greater number than the one before, and is noted.
pub async fn what_is_wanted_of_a_queue_is_kept_until_somebody_wants_otherwise(ledger: &SqlLedger) {
    assert_eq!(ledger.queue_holds().await.expect("holds"), []);
    let paused = wish(ledger, 1, Held::Paused, Some(ann(1))).await;
    assert_eq!((paused.revision, &paused.paused, &paused.forced_open), (1, &Some(ann(1)), &None));
    assert!(paused.for_broker().paused && !paused.for_broker().forced_open);
    let both = wish(ledger, 2, Held::BreakerOpen, Some(Holder { why: None, ..ann(2) })).await;
    assert_eq!((both.revision, both.paused.is_some()), (2, true));
    let one = wish(ledger, 3, Held::Paused, None).await;
    assert_eq!((one.revision, &one.paused), (3, &None));
    assert_eq!(one.forced_open, Some(Holder { why: None, ..ann(2) }));
    assert_eq!(ledger.queue_holds().await.expect("holds"), [one]);
    let noted = ledger.audits(&AuditFilter { limit: 10, ..AuditFilter::default() }).await;
    let ids: Vec<Uuid> = noted.expect("audit").iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [3, 2, 1].map(|n| note(n, "").id));
}

/// What the broker was told of late says nothing about what was wanted since.
pub async fn a_wish_is_told_until_the_broker_has_the_last_one(ledger: &SqlLedger) {
    let queue = job().queue;
    let applied = async || {
        ledger
            .queue_holds()
            .await
            .expect("holds")
            .iter()
            .map(|hold| hold.applied)
            .collect::<Vec<_>>()
    };
    let first = wish(ledger, 1, Held::Paused, Some(ann(1))).await;
    let second = wish(ledger, 2, Held::Paused, None).await;
    ledger.hold_applied(&queue, first.revision).await.expect("applied");
    assert_eq!(applied().await, [false]);
    ledger.hold_applied(&queue, second.revision).await.expect("applied");
    assert_eq!(applied().await, [true]);
    wish(ledger, 3, Held::Paused, Some(ann(3))).await;
    assert_eq!(applied().await, [false]);
}

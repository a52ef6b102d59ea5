//! Promises about lists.

use super::{NOW, all, at, completed, created, dead, job, settled, token};
use crate::job::{Category, JobId, Kind, NewJob, Queue, State};
use crate::ledger::{DeadFilter, JobFilter, Ledger, SqlLedger};

async fn listed(ledger: &SqlLedger, filter: JobFilter) -> Vec<JobId> {
    let rows = ledger.jobs(&filter, at(1)).await.expect("list");
    rows.iter().map(|row| row.job.id).collect()
}

/// Newest first, page by page, nothing twice; each filter alone and together.
pub async fn jobs_are_listed_newest_first_page_by_page(ledger: &SqlLedger) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(ledger, job()).await);
    }
    let later = created(ledger, NewJob { run_at: at(60), ..job() }).await;
    let kind = Kind::parse("data_cleanup").expect("a name");
    let other = NewJob { queue: Queue::of_kind(&kind), kind: kind.clone(), ..job() };
    let other = created(ledger, other).await;
    settled(ledger, completed(ids[2], token(1))).await;

    let page = JobFilter { limit: 4, ..JobFilter::default() };
    let first = listed(ledger, page.clone()).await;
    assert_eq!(first, [other, later, ids[4], ids[3]]);
    let second = listed(ledger, JobFilter { before: Some(ids[3]), ..page.clone() }).await;
    assert_eq!(second, [ids[2], ids[1], ids[0]]);

    let of = |state| JobFilter { state: Some(state), limit: 9, ..JobFilter::default() };
    assert_eq!(listed(ledger, of(State::Delayed)).await, [later]);
    assert_eq!(listed(ledger, of(State::Completed)).await, [ids[2]]);
    assert_eq!(listed(ledger, of(State::Ready)).await, [other, ids[4], ids[3], ids[1], ids[0]]);
    for empty in [State::Running, State::Parked, State::Dead, State::Cancelled] {
        assert!(listed(ledger, of(empty)).await.is_empty(), "{empty}");
    }
    let queue = Some(Queue::of_kind(&kind));
    let narrow = JobFilter { kind: Some(kind), queue, before: None, ..of(State::Ready) };
    assert_eq!(listed(ledger, narrow).await, [other]);
}

/// An operator sees causes, not a list of thousands: same cause, same fingerprint.
pub async fn dead_letters_are_grouped_counted_and_filtered(ledger: &SqlLedger) {
    let mut ids = Vec::new();
    for message in ["post 1 failed", "post 22 failed", "no route"] {
        let id = created(ledger, job()).await;
        settled(ledger, dead(id, token(1), message)).await;
        ids.push(id);
    }
    let letters = ledger.dead_letters(&all()).await.expect("list");
    assert_eq!(
        letters.iter().map(|letter| letter.id).collect::<Vec<_>>(),
        [ids[2], ids[1], ids[0]]
    );
    assert_eq!(letters[1].fingerprint, letters[2].fingerprint);
    assert_ne!(letters[0].fingerprint, letters[1].fingerprint);
    assert_eq!((letters[0].attempts, letters[0].created_at), (3, NOW));
    assert_eq!(letters[0].died_at, at(2));

    let count =
        |filter: DeadFilter| async move { ledger.dead_letters(&filter).await.expect("list").len() };
    let fingerprint = Some(letters[1].fingerprint.clone());
    assert_eq!(count(DeadFilter { fingerprint, ..all() }).await, 2);
    assert_eq!(count(DeadFilter { ids: vec![ids[0], job().id], ..all() }).await, 1);
    assert_eq!(count(DeadFilter { before: Some(ids[1]), ..all() }).await, 1);
    assert_eq!(count(DeadFilter { category: Some(Category::Auth), ..all() }).await, 0);
    let queue = Some(job().queue);
    assert_eq!(count(DeadFilter { queue, kind: Some(job().kind), limit: 2, ..all() }).await, 2);

    let counts = ledger.dead_counts().await.expect("count");
    assert_eq!(counts.len(), 1);
    assert_eq!((counts[0].category, counts[0].count), (Category::PlatformApi, 3));
    assert_eq!(counts[0].queue, job().queue);
}

//! Promises about the record of what people did.

use std::time::Duration;

use uuid::Uuid;

use super::{NOW, all, at, created, dead, job, put_back, settled, token};
use crate::job::{JobId, Timestamp};
use crate::ledger::{AuditEntry, AuditFilter, Cancel, DeadFilter, Ledger, PutBack, SqlLedger};

fn entry(n: u64, action: &str) -> AuditEntry {
    AuditEntry {
        id: id(n),
        at: at(n),
        actor: "cli:ann@desk".to_owned(),
        action: action.to_owned(),
        subject: "post_publication.bluesky".to_owned(),
        detail: Some(r#"{"matched":3}"#.to_owned()),
        why: Some("the platform is back".to_owned()),
        count: 3,
    }
}

fn id(n: u64) -> Uuid {
    JobId::at(at(n), [0; 10]).as_uuid()
}

fn page() -> AuditFilter {
    AuditFilter { limit: 10, ..AuditFilter::default() }
}

async fn noted(ledger: &SqlLedger, filter: AuditFilter) -> Vec<AuditEntry> {
    ledger.audits(&filter).await.expect("list")
}

/// Who, what, to what, why and how many, word for word; newest first, page by page.
pub async fn what_an_operator_did_is_kept_word_for_word(ledger: &SqlLedger) {
    let plain = AuditEntry { detail: None, why: None, ..entry(1, "queue.pause") };
    let other = AuditEntry { actor: "api".to_owned(), ..entry(2, "job.cancel") };
    let last = AuditEntry { subject: "everything \0".to_owned(), ..entry(3, "dlq.retry") };
    for entry in [&other, &last, &plain] {
        ledger.audit(entry).await.expect("note");
        ledger.audit(&AuditEntry { count: 9, ..entry.clone() }).await.expect("note again");
    }
    let last = AuditEntry { subject: "everything \u{fffd}".to_owned(), ..last };
    let (all, count) = (noted(ledger, page()).await, 3);
    assert_eq!(all, [last.clone(), other.clone(), plain.clone()]);
    assert_eq!(all.len(), count, "an entry that is repeated is there once");

    let first = noted(ledger, AuditFilter { limit: 2, ..page() }).await;
    assert_eq!(first, [last.clone(), other.clone()]);
    let next = AuditFilter { before: Some(other.id), ..page() };
    assert_eq!(noted(ledger, next).await, std::slice::from_ref(&plain));

    let word = |word: &str| Some(word.to_owned());
    for (filter, found) in [
        (AuditFilter { actor: word("api"), ..page() }, vec![other.clone()]),
        (AuditFilter { action: word("queue.pause"), ..page() }, vec![plain.clone()]),
        (AuditFilter { subject: word("nothing"), ..page() }, vec![]),
        (AuditFilter { since: Some(at(2)), ..page() }, vec![last, other.clone()]),
        (AuditFilter { until: Some(at(2)), ..page() }, vec![plain]),
        (AuditFilter { since: Some(at(2)), until: Some(at(3)), ..page() }, vec![other]),
    ] {
        assert_eq!(noted(ledger, filter.clone()).await, found, "{filter:?}");
    }
}

/// A cancellation is noted if and only if it cancelled something.
pub async fn a_cancellation_and_its_audit_are_one(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    let first = AuditEntry { count: 1, ..entry(1, "job.cancel") };
    let marked = ledger.cancel(id, at(1), Some(&first)).await.expect("cancel");
    assert_eq!(marked, Cancel::Marked { queue: job().queue });
    for nothing in [id, JobId::at(Timestamp::from_millis(0), [9; 10])] {
        let note = entry(2, "job.cancel");
        let left = ledger.cancel(nothing, at(2), Some(&note)).await.expect("cancel");
        assert!(!matches!(left, Cancel::Marked { .. }));
    }
    assert_eq!(noted(ledger, page()).await, [first]);
}

/// The entry of an action in several steps counts what its steps put back, neither more nor less.
pub async fn a_redrive_in_steps_has_one_audit_that_adds_up(ledger: &SqlLedger) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = created(ledger, job()).await;
        settled(ledger, dead(id, token(1), "broke")).await;
        ids.push(id);
    }
    let note = entry(1, "dlq.retry");
    let how = PutBack { note: Some(&note), ..put_back(NOW, Duration::from_secs(60)) };
    let step = |ids: &[JobId]| DeadFilter { ids: ids.to_vec(), ..all() };
    for ids in [&ids[..2], &ids[..3], &ids[3..], &ids[..]] {
        ledger.redrive(&step(ids), how).await.expect("redrive");
    }
    assert_eq!(noted(ledger, page()).await, [AuditEntry { count: 5, ..note }]);
}

//! Live jobs in the order of their turns, as a broker's window is filled.

use std::time::Duration;

use super::{NOW, at, completed, created, job, settled, token, waits};
use crate::job::{JobId, NewJob, Queue, Timestamp, Turn};
use crate::ledger::{Backlog, Ledger, Page, Span, SqlLedger};
use crate::on_tx;

fn span(queue: &Queue, now: Timestamp) -> Span<'_> {
    let due_before = now.after(Duration::from_secs(3_600));
    Span { queue, from: Turn::FIRST, until: None, now, due_before }
}

fn turn(job: &NewJob, now: Timestamp) -> Turn {
    Turn::of(job.id, job.run_at, job.priority_s, now)
}

/// Reads a span page by page.
async fn walk(ledger: &SqlLedger, span: Span<'_>, limit: u32) -> Vec<JobId> {
    let mut ids = Vec::new();
    let mut from = Some(span.from);
    while let Some(at) = from {
        let page = ledger.jobs_in_turn(Span { from: at, ..span }, limit).await.expect("read");
        assert!(page.jobs.len() <= limit as usize);
        ids.extend(page.jobs.iter().map(|job| job.id));
        from = page.next;
    }
    ids
}

/// Due jobs by due time less head start, then those not due yet by due time; ids part the rest.
pub async fn live_jobs_are_read_in_the_order_of_their_turns(ledger: &SqlLedger) {
    let now = at(1_000);
    let mut jobs = Vec::new();
    for n in 0..60_u64 {
        let run_at = at([1_000, 990, 1_000, 1_060, 400, 1_060][n as usize % 6]);
        let priority_s = [0, 0, 500, 0, 3_600][n as usize % 5];
        jobs.push(NewJob { run_at, priority_s, ..job() });
    }
    for job in &jobs {
        created(ledger, job.clone()).await;
    }
    let tried = NewJob { created_at: NOW, ..job() };
    created(ledger, tried.clone()).await;
    settled(ledger, waits(tried.id, token(1), at(1_060))).await;
    jobs.push(NewJob { run_at: at(1_060), ..tried });
    let ended = created(ledger, job()).await;
    settled(ledger, completed(ended, token(1))).await;
    created(ledger, NewJob { run_at: at(5_000), ..job() }).await;
    created(ledger, NewJob { queue: Queue::parse("other").expect("a name"), ..job() }).await;

    jobs.sort_by_key(|job| turn(job, now));
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let queue = jobs[0].queue.clone();
    let all = span(&queue, now);
    for limit in [1, 7, 61, 1_000] {
        assert_eq!(walk(ledger, all, limit).await, ids, "{limit} a page");
    }
    for (from, until) in [(0, 5), (3, 40), (38, 50), (45, 60), (60, 60)] {
        let part =
            Span { from: turn(&jobs[from], now), until: Some(turn(&jobs[until], now)), ..all };
        assert_eq!(walk(ledger, part, 4).await, ids[from..until], "{from} to {until}");
        let after = ledger.turn_after(Span { until: None, ..part }, until - from).await;
        assert_eq!(after.expect("read"), part.until);
    }
    assert_eq!(ledger.turn_after(all, 61).await.expect("read"), None);
    let backlog = ledger.backlog(&queue, now, all.due_before).await.expect("count");
    assert_eq!(backlog, Backlog { due: 40, later: 21 });
}

/// A scheduled job's head start counts from the moment it falls due.
pub async fn those_that_overtake_are_found_when_they_fall_due(ledger: &SqlLedger) {
    let urgent = |run_at| NewJob { run_at, priority_s: 3_600, ..job() };
    let first = created(ledger, urgent(at(95))).await;
    let second = created(ledger, urgent(at(100))).await;
    created(ledger, urgent(at(101))).await;
    created(ledger, urgent(at(89))).await;
    created(ledger, NewJob { run_at: at(95), ..job() }).await;
    created(ledger, NewJob { run_at: at(95), priority_s: 1, ..job() }).await;
    let queue = job().queue;
    let until = Some(Turn { at_ms: at(50).as_millis(), id: Turn::FIRST.id });
    let wanted = Span { until, ..span(&queue, at(100)) };
    let page = ledger.jobs_overtaking(wanted, at(90), 10).await.expect("read");
    assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [first, second]);
    let page = ledger.jobs_overtaking(wanted, at(90), 1).await.expect("read");
    let rest = Span { from: page.next.expect("one more"), ..wanted };
    let page = ledger.jobs_overtaking(rest, at(90), 10).await.expect("read");
    assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [second]);
}

/// Somebody wrote into the table by hand. The job is reported, and the others are read.
pub async fn a_row_nobody_can_read_does_not_hide_the_others(ledger: &SqlLedger) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(ledger, job()).await);
    }
    let mut tx = ledger.db().begin().await.expect("begin");
    for id in [ids[1], ids[4]] {
        on_tx!(&mut tx, conn => {
            sqlx::query("UPDATE jobs SET kind_version = -1 WHERE id = $1")
                .bind(id.as_uuid())
                .execute(conn)
                .await
                .map(|_| ())
        })
        .expect("update");
    }
    tx.commit().await.expect("commit");
    fn told<At>(page: &Page<At>) -> (Vec<JobId>, Vec<JobId>) {
        let unreadable = page.unreadable.iter().map(|(id, _)| *id);
        (page.jobs.iter().map(|job| job.id).collect(), unreadable.collect())
    }
    let page = ledger.open_jobs(None, at(9), at(9), 2).await.expect("read");
    assert_eq!(told(&page), (vec![ids[0]], vec![ids[1]]));
    let page = ledger.open_jobs(page.next, at(9), at(9), 3).await.expect("read");
    assert_eq!(told(&page), (vec![ids[2], ids[3]], vec![ids[4]]));
    assert!(ledger.open_jobs(page.next, at(9), at(9), 3).await.expect("read").jobs.is_empty());
    let queue = job().queue;
    let page = ledger.jobs_in_turn(span(&queue, at(9)), 10).await.expect("read");
    assert_eq!(told(&page), (vec![ids[0], ids[2], ids[3]], vec![ids[1], ids[4]]));
}

//! Records outcomes. A verdict counts once, whoever repeats it, and never against a later claim.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::batch::{self, AttemptRow, LetterRow, SettledRow};
use super::parked;
use super::stored::{Fence, nonsense, number, plain};
use crate::job::{Category, Kind, NewJob, Reason};
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::{Db, Error, Next, Settled, Tx, Verdict};

/// Records verdicts in one transaction. If the database finds one of them absurd, each gets a
/// transaction of its own, so that it spoils no other.
pub(super) async fn settle(db: &Db, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error> {
    if verdicts.is_empty() {
        return Ok(Vec::new());
    }
    match together(db, verdicts).await {
        Err(Error::Protocol(_)) => singly(db, verdicts).await,
        other => other,
    }
}

async fn singly(db: &Db, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error> {
    let mut answers = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        match together(db, std::slice::from_ref(verdict)).await {
            Ok(settled) => answers.extend(settled),
            Err(Error::Protocol(error)) => answers.push(bury(db, verdict, &error).await?),
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// A verdict that the database cannot take must not leave the job as it was: it would run again
/// and again, and no attempt would count. It dies as our bug, without what may be absurd.
async fn bury(db: &Db, verdict: &Verdict, error: &sqlx::Error) -> Result<Settled, Error> {
    tracing::error!(job.id = %verdict.id, %error, "the ledger refused a verdict; the job is dead");
    let (at, failed_attempts, job) = match &verdict.then {
        Next::Completed { at } | Next::Cancelled { at } => (*at, 0, None),
        Next::Waits { until, failed_attempts } => (*until, *failed_attempts, None),
        Next::Parked { until, .. } => (*until, 0, None),
        Next::Dead { at, failed_attempts, job, .. } => (*at, *failed_attempts, job.clone()),
    };
    let at = verdict.failed.as_ref().map_or(at, |failed| failed.ended_at);
    let message = format!("the ledger refused how this job ended: {error}");
    let reason = Reason { category: Category::Bug, class: "bug".to_owned(), message };
    let then = Next::Dead { at, reason, failed_attempts, job };
    let dead = Verdict { id: verdict.id, token: verdict.token, then, failed: None };
    match together(db, std::slice::from_ref(&dead)).await {
        Ok(_) => {}
        Err(Error::Protocol(error)) => {
            tracing::error!(job.id = %verdict.id, %error, "and it refused the job's death");
        }
        Err(error) => return Err(error),
    }
    // The caller's verdict did not count.
    Ok(Settled::Stale)
}

async fn together(db: &Db, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error> {
    let mut tx = db.begin().await?;
    let mut answers = vec![Settled::Stale; verdicts.len()];
    let mut waited_on = false;
    let mut left: Vec<usize> = (0..verdicts.len()).collect();
    // One round, unless a call holds two verdicts of one job: these follow each other.
    while !left.is_empty() {
        let mut seen = HashSet::with_capacity(left.len());
        let (now, later): (Vec<usize>, Vec<usize>) =
            left.into_iter().partition(|&at| seen.insert(verdicts[at].id));
        waited_on |= round(&mut tx, verdicts, now, &mut answers).await?;
        left = later;
    }
    tx.commit().await?;
    if waited_on {
        db.ends().notify_one();
    }
    Ok(answers)
}

/// Records the verdicts at these places; no two are of the same job. Answers whether others wait for
/// any of these.
async fn round(
    tx: &mut Tx,
    verdicts: &[Verdict],
    mut places: Vec<usize>,
    answers: &mut [Settled],
) -> Result<bool, Error> {
    let unrecorded: Vec<&NewJob> =
        places.iter().filter_map(|&at| unrecorded(&verdicts[at])).collect();
    if !unrecorded.is_empty() {
        batch::insert(&mut tx.session(), &unrecorded).await?;
    }
    // Two batches that share jobs must lock them in the same order.
    places.sort_by_key(|&at| verdicts[at].id);
    let rows: Vec<SettledRow> = places.iter().map(|&at| row(&verdicts[at])).collect();
    #[cfg(feature = "faults")]
    super::planted::tear_down_fence(tx, &rows).await?;
    let written: HashMap<Uuid, bool> = batch::settle(tx, &rows).await?.into_iter().collect();

    let (counted, refused): (Vec<usize>, Vec<usize>) =
        places.into_iter().partition(|&at| written.contains_key(&verdicts[at].id.as_uuid()));
    for &at in &counted {
        answers[at] = Settled::Done;
    }
    let counted: Vec<&Verdict> = counted.into_iter().map(|at| &verdicts[at]).collect();
    parked::keep(tx, &counted).await?;
    insert_attempts(tx, &counted).await?;
    insert_letters(tx, &counted).await?;

    if !refused.is_empty() {
        let ids: Vec<Uuid> = refused.iter().map(|&at| verdicts[at].id.as_uuid()).collect();
        let fences: HashMap<Uuid, Fence> =
            batch::fences(tx, &ids).await?.into_iter().map(|fence| (fence.id, fence)).collect();
        #[cfg(feature = "faults")]
        super::planted::count_again(tx, &rows, &fences).await?;
        for at in refused {
            answers[at] = why_refused(&verdicts[at], fences.get(&verdicts[at].id.as_uuid()));
        }
    }
    Ok(written.into_values().any(|waited_on| waited_on))
}

/// The job of a death that the ledger may not have a row of.
fn unrecorded(verdict: &Verdict) -> Option<&NewJob> {
    match &verdict.then {
        Next::Dead { job, .. } => job.as_deref(),
        _ => None,
    }
}

fn row(verdict: &Verdict) -> SettledRow {
    let blank = SettledRow {
        id: verdict.id.as_uuid(),
        token: verdict.token.rank(),
        state: "open",
        finished_at: None,
        run_at: None,
        failed_attempts: None,
        parked_for: None,
    };
    match &verdict.then {
        Next::Completed { at } => {
            SettledRow { state: "completed", finished_at: Some(at.as_millis()), ..blank }
        }
        Next::Cancelled { at } => {
            SettledRow { state: "cancelled", finished_at: Some(at.as_millis()), ..blank }
        }
        Next::Dead { at, failed_attempts, .. } => SettledRow {
            state: "dead",
            finished_at: Some(at.as_millis()),
            failed_attempts: Some(number(*failed_attempts)),
            ..blank
        },
        Next::Waits { until, failed_attempts } => SettledRow {
            run_at: Some(until.as_millis()),
            failed_attempts: Some(number(*failed_attempts)),
            ..blank
        },
        Next::Parked { until, why, .. } => SettledRow {
            state: "parked",
            run_at: Some(until.as_millis()),
            parked_for: Some(why),
            ..blank
        },
    }
}

fn why_refused(verdict: &Verdict, fence: Option<&Fence>) -> Settled {
    match fence {
        Some(fence) if is_moved(verdict, fence) => Settled::Moved,
        // This very verdict was recorded before, and its answer lost. What happened to the job
        // since (put back, released) is not undone.
        Some(fence) if fence.settled && fence.token == Some(verdict.token.rank()) => Settled::Done,
        Some(fence) if fence.state == "cancelled" => Settled::Cancelled,
        _ => Settled::Stale,
    }
}

/// Whether a person took the job from this verdict's claim, and nobody has claimed it since.
fn is_moved(verdict: &Verdict, fence: &Fence) -> bool {
    let rank = Some(verdict.token.rank());
    fence.moved_token == rank && fence.token == rank && fence.state == "open"
}

async fn insert_attempts(tx: &mut Tx, counted: &[&Verdict]) -> Result<(), Error> {
    let rows: Vec<AttemptRow> = counted
        .iter()
        .filter_map(|verdict| {
            let failed = verdict.failed.as_ref()?;
            Some(AttemptRow {
                job_id: verdict.id.as_uuid(),
                token: verdict.token.rank(),
                n: number(failed.n),
                started_at: failed.started_at.as_millis(),
                ended_at: failed.ended_at.as_millis(),
                outcome: plain(&failed.outcome),
                error: plain(&failed.error),
                worker: plain(failed.worker.as_str()),
            })
        })
        .collect();
    if rows.is_empty() { Ok(()) } else { batch::insert_attempts(tx, &rows).await }
}

async fn insert_letters(tx: &mut Tx, counted: &[&Verdict]) -> Result<(), Error> {
    let dead: Vec<Uuid> = counted
        .iter()
        .filter(|verdict| matches!(verdict.then, Next::Dead { .. }))
        .map(|verdict| verdict.id.as_uuid())
        .collect();
    if dead.is_empty() {
        return Ok(());
    }
    let about: HashMap<Uuid, (String, Option<Uuid>)> = batch::about(tx, &dead)
        .await?
        .into_iter()
        .map(|(id, kind, account)| (id, (kind, account)))
        .collect();
    let mut rows = Vec::with_capacity(dead.len());
    for verdict in counted {
        let Next::Dead { at, reason, failed_attempts, .. } = &verdict.then else { continue };
        let Some((kind, account)) = about.get(&verdict.id.as_uuid()) else { continue };
        let kind = Kind::parse(kind).map_err(nonsense)?;
        rows.push(LetterRow {
            job_id: verdict.id.as_uuid(),
            category: reason.category.as_str(),
            class: plain(&reason.class),
            message: plain(&reason.message),
            fingerprint: fingerprint(&kind, *account, reason),
            attempts: number(*failed_attempts),
            died_at: at.as_millis(),
        });
    }
    batch::insert_letters(tx, &rows).await
}

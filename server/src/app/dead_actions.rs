//! What an operator does with dead letters: put back, put back with other arguments, discard.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::job::{FieldError, JobId, Kind};
use postworks::ledger::{AuditEntry, DeadFilter, DeadLetter, Edited, PutBack};
use postworks::telemetry::metrics::DLQ_ACTIONS;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dead_choice::{check_all, described};
use super::dead_letters::no_letter;
use super::fates::{Fate, Underway};
use super::types::{DeadDiscard, DeadEdit, DeadRetry, Discarded, EnqueueJob, Plan, Planned};
use super::{App, Error};

/// Letters looked at or changed in one step.
pub(super) const STEP: u32 = 500;
/// So many jobs are put back at once, without a look at how the first of them fare.
const AT_ONCE_MAX: u64 = 1_000;
/// Most jobs of a canary.
pub(super) const CANARY_MAX: u32 = 1_000;
/// Most jobs a second.
pub(super) const RATE_MAX: u32 = 10_000;
/// How long a job of a kind that is unknown by now is of use again.
const RENEWED: Duration = Duration::from_secs(24 * 3600);

impl App {
    /// Puts dead letters back, or says what would happen.
    ///
    /// What was perhaps done is put back only if its id is named, and only if it would not die
    /// again of not knowing; what something newer made needless, only if its id is named. What was
    /// surely done is completed. More than `AT_ONCE_MAX` jobs, a
    /// canary or a rate make it a redrive in the background.
    pub async fn dlq_retry(&self, retry: &DeadRetry) -> Result<Planned, Error> {
        in_range("/canary", retry.canary, CANARY_MAX)?;
        in_range("/rate", retry.rate, RATE_MAX)?;
        if !retry.dry_run {
            check_all(&retry.filter, retry.all)?;
        }
        let filter = self.dead_filter("/filter", &retry.filter, STEP).await?;
        let note = self.note("dlq.retry", described(&retry.filter), retry.reason.as_deref())?;
        let plan = self.plan(filter.clone()).await?;
        if retry.dry_run {
            return Ok(Planned { plan, redrive: None });
        }
        let watched = retry.canary.or(retry.rate).is_some();
        if plan.runnable + plan.done > 0 && (watched || plan.runnable > AT_ONCE_MAX) {
            let redrive = self.start_redrive(retry, &filter, plan, &note).await?;
            return Ok(Planned { plan, redrive: Some(redrive) });
        }
        let put_back = self.put_back(filter, &note).await?;
        Ok(Planned { plan: Plan { cost: plan.cost, ..put_back }, redrive: None })
    }

    /// What would become of everything that fits.
    async fn plan(&self, mut filter: DeadFilter) -> Result<Plan, Error> {
        let named = !filter.ids.is_empty();
        let (mut plan, mut underway) = (Plan::default(), Underway::default());
        while let Some(letters) = self.next_letters(&mut filter).await? {
            plan.matched += count(letters.len());
            let mut runnable = Vec::new();
            let fates = self.fates(&letters, named, &mut underway).await?;
            for (letter, fate) in letters.iter().zip(fates) {
                match fate {
                    Fate::Done(_) => plan.done += 1,
                    Fate::Runs => runnable.push(letter),
                    Fate::Left => plan.unknown += 1,
                    Fate::Superseded => plan.superseded += 1,
                }
            }
            plan.runnable += count(runnable.len());
            if let Some(cost) = self.cost_of(&runnable).await? {
                plan.cost = Some(plan.cost.unwrap_or_default().and(cost));
            }
        }
        Ok(plan)
    }

    async fn put_back(&self, mut filter: DeadFilter, note: &AuditEntry) -> Result<Plan, Error> {
        let named = !filter.ids.is_empty();
        let mut plan = Plan::default();
        while let Some(letters) = self.next_letters(&mut filter).await? {
            self.put_back_these(letters, named, None, note, &mut plan).await?;
        }
        Ok(plan)
    }

    /// The next letters that fit; `filter` moves on behind them.
    async fn next_letters(
        &self,
        filter: &mut DeadFilter,
    ) -> Result<Option<Vec<DeadLetter>>, Error> {
        let letters = self.ledger.dead_letters(filter).await?;
        let Some(last) = letters.last() else { return Ok(None) };
        filter.before = Some(last.id);
        Ok(Some(letters))
    }

    /// Puts back those of these letters that run, for a redrive if there is one, and completes
    /// those that are done; adds to `plan` what became of them.
    pub(super) async fn put_back_these(
        &self,
        letters: Vec<DeadLetter>,
        named: bool,
        redrive: Option<Uuid>,
        note: &AuditEntry,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        plan.matched += count(letters.len());
        let mut by_kind: BTreeMap<Kind, Vec<JobId>> = BTreeMap::new();
        // What earlier steps put back lives, and is found as such.
        let fates = self.fates(&letters, named, &mut Underway::default()).await?;
        for (letter, fate) in letters.into_iter().zip(fates) {
            match fate {
                Fate::Done(publication) => {
                    plan.done += 1;
                    let store = &self.store;
                    store.complete_if_published(publication, letter.id, Some(note)).await?;
                }
                Fate::Runs => by_kind.entry(letter.kind).or_default().push(letter.id),
                Fate::Left => plan.unknown += 1,
                Fate::Superseded => plan.superseded += 1,
            }
        }
        for (kind, ids) in by_kind {
            let filter = DeadFilter { ids, limit: STEP, ..DeadFilter::default() };
            let how = PutBack {
                now: self.node.clock.now(),
                renewed_for: self.renewed_for(&kind),
                note: Some(note),
                redrive,
                edited: None,
            };
            let redriven = self.ledger.redrive(&filter, how).await?;
            plan.runnable += count(redriven.jobs.len());
            plan.superseded += count(redriven.superseded.len());
            DLQ_ACTIONS.count(&["retry"]).increment(count(redriven.jobs.len()));
            self.producer.dispatch_again(redriven.jobs);
        }
        Ok(())
    }

    fn renewed_for(&self, kind: &Kind) -> Duration {
        let spec = self.node.registry.catalog().get(kind.as_str());
        spec.map_or(RENEWED, |spec| spec.expires_after)
    }

    /// Ends dead jobs for good, or says which.
    pub async fn dlq_discard(&self, discard: &DeadDiscard) -> Result<Discarded, Error> {
        if !discard.dry_run {
            check_all(&discard.filter, discard.all)?;
        }
        let mut filter = self.dead_filter("/filter", &discard.filter, STEP).await?;
        let subject = described(&discard.filter);
        let note = self.note("dlq.discard", subject, discard.reason.as_deref())?;
        // Only what is dead by now: what dies while this goes on, nobody has seen.
        let later = note.at.after(Duration::from_millis(1));
        filter.died_before = Some(filter.died_before.map_or(later, |time| time.min(later)));
        let plan = self.plan(filter.clone()).await?;
        let mut discarded = 0;
        let mut goes_on = !discard.dry_run;
        while goes_on {
            let ended = self.ledger.discard(&filter, note.at, Some(&note)).await?;
            discarded += ended;
            DLQ_ACTIONS.count(&["discard"]).increment(ended);
            goes_on = ended >= u64::from(STEP);
        }
        Ok(Discarded { plan, discarded })
    }

    /// Puts a dead job back with other arguments, checked as those of a new job are.
    pub async fn dlq_edit(&self, id: JobId, edit: &DeadEdit) -> Result<Planned, Error> {
        let letter = self.dead_letter(id).await?;
        let old = letter.details.map(|details| details.args).ok_or_else(|| no_letter(id))?;
        let args = if edit.merge { merged(old.get(), edit.args.get())? } else { edit.args.clone() };
        let job = self.checked(EnqueueJob::new(letter.kind.as_str(), args)).await?;
        let mut note = self.note("dlq.edit", id.to_string(), edit.reason.as_deref())?;
        note.detail = Some(json!({ "old_args": old, "new_args": job.args }).to_string());
        let edited = Edited {
            args: job.args,
            kind_version: job.kind_version,
            queue: job.queue,
            account: job.account,
        };
        let filter = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
        let how = PutBack {
            now: note.at,
            renewed_for: self.renewed_for(&letter.kind),
            note: Some(&note),
            redrive: None,
            edited: Some(&edited),
        };
        let redriven = self.ledger.redrive(&filter, how).await?;
        DLQ_ACTIONS.count(&["retry"]).increment(count(redriven.jobs.len()));
        let plan = Plan {
            matched: 1,
            runnable: count(redriven.jobs.len()),
            superseded: count(redriven.superseded.len()),
            ..Plan::default()
        };
        self.producer.dispatch_again(redriven.jobs);
        Ok(Planned { plan, redrive: None })
    }
}

fn in_range(field: &str, number: Option<u32>, most: u32) -> Result<(), Error> {
    match number {
        Some(number) if !(1..=most).contains(&number) => {
            Err(Error::field(field, format!("must be 1 to {most}; leave it out for none")))
        }
        _ => Ok(()),
    }
}

/// The old arguments with the new ones over them.
fn merged(old: &str, new: &str) -> Result<Box<serde_json::value::RawValue>, Error> {
    let broken = |error: serde_json::Error| Error::Broken(Box::new(error));
    let mut args: Map<String, Value> = serde_json::from_str(old).map_err(broken)?;
    let changes: Map<String, Value> = serde_json::from_str(new)
        .map_err(|_| Error::Invalid(vec![FieldError::new("/args", "must be an object")]))?;
    args.extend(changes);
    serde_json::value::to_raw_value(&args).map_err(broken)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

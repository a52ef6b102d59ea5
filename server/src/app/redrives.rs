//! Redrives that go on in the background: beginning, watching and stopping them, and their steps.
//!
//! A redrive is a row in the ledger, so it survives the request and the process that began it.
//! Whoever carries it on takes a step: it claims the row by its version, looks how the jobs fared
//! that were put back before, and puts back as many more as that allows. A letter that it has put
//! back once is out of its reach for good, so that a step that is cut off, or taken twice, puts
//! nothing back twice.
//!
//! Each cause starts slowly: three jobs at first, and four more for each that ended otherwise than
//! by coming back. So a cause that is still broken shows it on three jobs and not on thousands,
//! and one that is repaired is through in a few steps.

use std::collections::{BTreeMap, HashMap};

use postworks::ledger::{AuditEntry, CauseCount, DeadFilter, DeadGroup, Redrive, RedriveState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::dead_actions::STEP;
use super::paging::Wanted;
use super::types::{CauseView, DeadChoice, DeadRetry, Page, PageQuery, Plan, RedriveView, Why};
use super::{App, Error};

/// A cause that came back so often is not put back any more.
const RETURNS_MAX: u64 = 3;
/// So many jobs of a cause are put back before any of them has ended.
const FIRST: u64 = 3;
/// So many more for each that ended otherwise than by coming back.
const MORE: u64 = 4;
/// Most causes that are looked at in one step.
const CAUSES_MAX: u32 = 1_000;

/// How far a redrive came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// Whether the canary is back, and well.
    cleared: bool,
    causes: BTreeMap<String, Cause>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Cause {
    /// The last letter that was looked at: the next one is older.
    before: Option<postworks::job::JobId>,
    /// Every letter was looked at.
    exhausted: bool,
    /// It came back too often.
    stopped: bool,
}

impl App {
    /// Begins a redrive; a chore carries it on.
    pub(super) async fn start_redrive(
        &self,
        retry: &DeadRetry,
        filter: &DeadFilter,
        plan: Plan,
        note: &AuditEntry,
    ) -> Result<RedriveView, Error> {
        // "2h ago" must mean the same at every step.
        let choice = DeadChoice {
            died_after: filter.died_after.map(|time| time.to_string()),
            died_before: filter.died_before.map(|time| time.to_string()),
            ..retry.filter.clone()
        };
        let broken = |error: serde_json::Error| Error::Broken(Box::new(error));
        let redrive = Redrive {
            id: note.id,
            tenant: self.tenant,
            actor: note.actor.clone(),
            subject: note.subject.clone(),
            why: note.why.clone(),
            filter: serde_json::to_string(&choice).map_err(broken)?,
            canary: retry.canary,
            rate: retry.rate,
            state: RedriveState::Running,
            progress: serde_json::to_string(&Progress::default()).map_err(broken)?,
            matched: plan.matched,
            put_back: 0,
            done: 0,
            unknown: 0,
            superseded: 0,
            started_at: note.at,
            step_at: note.at,
            ended_at: None,
            stopped_why: None,
            version: 0,
        };
        self.ledger.start_redrive(&redrive, note).await?;
        Ok(view(redrive, Vec::new()))
    }

    /// Lists redrives, newest first.
    pub async fn redrives(&self, query: &PageQuery) -> Result<Page<RedriveView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.ledger.redrives(false, wanted.before, wanted.probe()).await?;
        let views = found.into_iter().map(|redrive| view(redrive, Vec::new())).collect();
        Ok(wanted.page(views, |redrive: &RedriveView| redrive.id))
    }

    /// A redrive, and what became of the jobs it put back.
    pub async fn redrive(&self, id: Uuid) -> Result<RedriveView, Error> {
        let found = self.ledger.redrive_of(id).await?.ok_or_else(|| missing(id))?;
        Ok(view(found, self.ledger.redrive_causes(id).await?))
    }

    /// Stops a redrive. What it has put back stays so.
    pub async fn stop_redrive(&self, id: Uuid, why: &Why) -> Result<RedriveView, Error> {
        let note = self.note("redrive.stop", id.to_string(), why.reason.as_deref())?;
        let words = match &note.why {
            Some(why) => format!("stopped by {}: {why}", note.actor),
            None => format!("stopped by {}", note.actor),
        };
        if self.ledger.stop_redrive(id, &words, &note).await? {
            return self.redrive(id).await;
        }
        let ended = self.redrive(id).await?;
        Err(Error::Conflict(format!("redrive {id} has ended already: {}", ended.state.as_str())))
    }

    /// Takes a step of every redrive that runs; answers whether there are any.
    pub(super) async fn carry_on_redrives(&self) -> Result<bool, Error> {
        let running = self.node.ledger.redrives(true, None, super::paging::LIMIT_MAX).await?;
        let any = !running.is_empty();
        for redrive in running {
            // As far as its tenant sees: whoever carries it on sees all.
            self.for_tenant(redrive.tenant).carry_on(redrive).await?;
        }
        Ok(any)
    }

    async fn carry_on(&self, mut redrive: Redrive) -> Result<(), Error> {
        let now = self.node.clock.now();
        let waited = u64::try_from(now.since(redrive.step_at).as_millis()).unwrap_or(u64::MAX);
        let mut budget = redrive.rate.map_or(u64::MAX, |rate| {
            // At most a second's worth, however long nobody looked.
            u64::from(rate) * waited.min(1_000) / 1_000
        });
        if budget == 0 {
            return Ok(());
        }
        // Whoever moves the row on has the step, and its share of the rate.
        redrive.step_at = now;
        if !self.ledger.save_redrive(&redrive).await? {
            return Ok(());
        }
        redrive.version += 1;
        let broken = |error: serde_json::Error| Error::Broken(Box::new(error));
        let mut progress: Progress = serde_json::from_str(&redrive.progress).map_err(broken)?;
        let counts = self.ledger.redrive_causes(redrive.id).await?;
        redrive.put_back = counts.iter().map(|cause| cause.put_back).sum();
        if let Some(canary) = redrive.canary.filter(|_| !progress.cleared) {
            match look_at_canary(&redrive, canary, &counts) {
                Canary::Out(room) => budget = budget.min(room),
                Canary::Waits => budget = 0,
                Canary::Well => progress.cleared = true,
                Canary::Died(why) => {
                    end(&mut redrive, RedriveState::Stopped, Some(why), now);
                    self.ledger.save_redrive(&redrive).await?;
                    return Ok(());
                }
            }
        }
        let left = self.step(&mut redrive, &mut progress, &counts, budget).await?;
        redrive.progress = serde_json::to_string(&progress).map_err(broken)?;
        match left {
            Left::More => {}
            Left::Nothing => end(&mut redrive, RedriveState::Done, None, now),
            Left::Stopped(why) => end(&mut redrive, RedriveState::Stopped, Some(why), now),
        }
        self.ledger.save_redrive(&redrive).await?;
        Ok(())
    }

    /// Puts back as much as the causes and the budget allow; answers what is left to do.
    async fn step(
        &self,
        redrive: &mut Redrive,
        progress: &mut Progress,
        counts: &[CauseCount],
        mut budget: u64,
    ) -> Result<Left, Error> {
        let choice: DeadChoice = serde_json::from_str(&redrive.filter)
            .map_err(|error| Error::Broken(Box::new(error)))?;
        let mut filter = self.dead_filter("/filter", &choice, CAUSES_MAX).await?;
        filter.untouched_by = Some(redrive.id);
        // What dies later is none of its business, least of all what it put back itself.
        let later = redrive.started_at.after(std::time::Duration::from_millis(1));
        filter.died_before = Some(filter.died_before.map_or(later, |time| time.min(later)));
        let counts: HashMap<&str, &CauseCount> =
            counts.iter().map(|cause| (cause.fingerprint.as_str(), cause)).collect();
        let groups = self.ledger.dead_groups(&filter).await?;
        let mut pending = false;
        for group in &groups {
            let cause = progress.causes.entry(group.fingerprint.clone()).or_default();
            let count = counts.get(group.fingerprint.as_str());
            cause.stopped |= count.is_some_and(|count| count.returned >= RETURNS_MAX);
            if cause.stopped || cause.exhausted {
                continue;
            }
            let take = room(count.copied()).min(budget).min(u64::from(STEP));
            if take > 0 {
                let fitting = DeadFilter {
                    fingerprint: Some(group.fingerprint.clone()),
                    before: cause.before,
                    limit: u32::try_from(take).unwrap_or(STEP),
                    ..filter.clone()
                };
                budget -= self.put_back_some(redrive, cause, &fitting).await?;
            }
            pending |= !cause.exhausted;
        }
        Ok(if pending { Left::More } else { verdict(progress, &groups) })
    }

    /// Puts back letters of one cause; answers how many it looked at.
    async fn put_back_some(
        &self,
        redrive: &mut Redrive,
        cause: &mut Cause,
        filter: &DeadFilter,
    ) -> Result<u64, Error> {
        let letters = self.ledger.dead_letters(filter).await?;
        cause.exhausted = letters.len() < usize::try_from(filter.limit).unwrap_or(usize::MAX);
        cause.before = letters.last().map(|letter| letter.id).or(cause.before);
        let note = AuditEntry {
            id: redrive.id,
            at: redrive.started_at,
            actor: redrive.actor.clone(),
            action: "dlq.retry".to_owned(),
            subject: redrive.subject.clone(),
            detail: None,
            why: redrive.why.clone(),
            count: 1,
        };
        let (mut plan, named) = (Plan::default(), !filter.ids.is_empty());
        self.put_back_these(letters, named, Some(redrive.id), &note, &mut plan).await?;
        redrive.put_back += plan.runnable;
        redrive.done += plan.done;
        redrive.unknown += plan.unknown;
        redrive.superseded += plan.superseded;
        Ok(plan.matched)
    }
}

/// What a step left to do.
enum Left {
    More,
    Nothing,
    Stopped(String),
}

/// How the first jobs of a redrive fare.
enum Canary {
    /// So many more belong to it.
    Out(u64),
    /// All are out, and some have not ended.
    Waits,
    /// All have ended, none of them as before.
    Well,
    /// One died as before.
    Died(String),
}

fn look_at_canary(redrive: &Redrive, canary: u32, counts: &[CauseCount]) -> Canary {
    if let Some(cause) = counts.iter().find(|cause| cause.returned > 0) {
        let left = redrive.matched.saturating_sub(redrive.put_back);
        return Canary::Died(format!(
            "the canary died: of {} jobs put back, {} of cause {} died of it again; {left} were \
             left alone",
            redrive.put_back, cause.returned, cause.fingerprint
        ));
    }
    // Fewer may fit than the canary has room for: then these are all.
    let target = u64::from(canary).min(redrive.matched);
    let looked_at = redrive.put_back + redrive.done + redrive.unknown + redrive.superseded;
    if looked_at < target {
        return Canary::Out(target - looked_at);
    }
    if counts.iter().any(|cause| cause.underway > 0) { Canary::Waits } else { Canary::Well }
}

/// How many more jobs of a cause may be put back now.
fn room(count: Option<&CauseCount>) -> u64 {
    let Some(count) = count else { return FIRST };
    let well = count.put_back.saturating_sub(count.underway + count.returned);
    (FIRST + MORE * well).saturating_sub(count.put_back)
}

fn verdict(progress: &Progress, groups: &[DeadGroup]) -> Left {
    let stopped = groups
        .iter()
        .filter(|group| progress.causes.get(&group.fingerprint).is_some_and(|cause| cause.stopped));
    let words: Vec<String> = stopped
        .map(|group| {
            format!(
                "cause {} came back {RETURNS_MAX} times, {} letters were left alone ({})",
                group.fingerprint, group.count, group.reason.message
            )
        })
        .collect();
    if words.is_empty() { Left::Nothing } else { Left::Stopped(words.join("; ")) }
}

fn end(
    redrive: &mut Redrive,
    state: RedriveState,
    why: Option<String>,
    now: postworks::job::Timestamp,
) {
    redrive.state = state;
    redrive.stopped_why = why;
    redrive.ended_at = Some(now);
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("there is no redrive {id}"))
}

fn view(redrive: Redrive, counts: Vec<CauseCount>) -> RedriveView {
    let causes = counts.into_iter().map(|count| CauseView {
        fingerprint: count.fingerprint,
        put_back: count.put_back,
        underway: count.underway,
        returned: count.returned,
    });
    RedriveView {
        id: redrive.id,
        state: redrive.state,
        actor: redrive.actor,
        subject: redrive.subject,
        why: redrive.why,
        canary: redrive.canary,
        rate: redrive.rate,
        matched: redrive.matched,
        put_back: redrive.put_back,
        done: redrive.done,
        unknown: redrive.unknown,
        superseded: redrive.superseded,
        causes: causes.collect(),
        started_at: redrive.started_at,
        ended_at: redrive.ended_at,
        stopped_why: redrive.stopped_why,
    }
}

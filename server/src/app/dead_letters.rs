//! Dead letters: showing them, and putting them back.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::job::{Category, JobId, Kind, Queue};
use postworks::ledger::{AuditEntry, DeadFilter, DeadLetter, PutBack};

use super::effects::Prospect;
use super::jobs::parse;
use super::paging::Wanted;
use super::types::{DeadChoice, DeadLetterView, DeadQuery, DeadRetry, Page, Plan, Planned};
use super::{App, Error};

/// Letters put back in one step.
const STEP: u32 = 500;
/// Most ids that a caller may name.
const IDS_MAX: usize = 1_000;
/// How long a job of a kind that is unknown by now is of use again.
const RENEWED: Duration = Duration::from_secs(24 * 3600);

impl App {
    /// Lists dead letters.
    pub async fn dead_letters(&self, query: &DeadQuery) -> Result<Page<DeadLetterView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let filter = DeadFilter {
            ids: Vec::new(),
            category: parse("/category", query.category.as_deref(), str::parse::<Category>)?,
            fingerprint: fingerprint("/fingerprint", query.fingerprint.as_deref())?,
            queue: parse("/queue", query.queue.as_deref(), Queue::parse)?,
            kind: query.kind.as_deref().map(|kind| self.kind(kind)).transpose()?,
            before: wanted.before.map(JobId::from_uuid),
            limit: wanted.probe(),
        };
        let letters = self.node.ledger.dead_letters(&filter).await?;
        let views = letters.into_iter().map(DeadLetterView::from).collect();
        Ok(wanted.page(views, |letter: &DeadLetterView| letter.id.as_uuid()))
    }

    /// A dead letter.
    pub async fn dead_letter(&self, id: JobId) -> Result<DeadLetterView, Error> {
        let filter = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
        let found = self.node.ledger.dead_letters(&filter).await?.into_iter().next();
        found
            .map(DeadLetterView::from)
            .ok_or_else(|| Error::NotFound(format!("there is no dead letter of job {id}")))
    }

    /// Puts dead letters back, or says what would happen.
    ///
    /// What was perhaps done is put back only if its id is named, and only if it would not die
    /// again of not knowing. What was surely done is completed.
    pub async fn dlq_retry(&self, retry: &DeadRetry) -> Result<Planned, Error> {
        let mut filter = self.dead_filter(&retry.filter)?;
        let named = !filter.ids.is_empty();
        let note = self.note("dlq.retry", described(&retry.filter), retry.reason.as_deref())?;
        let mut plan = Plan::default();
        loop {
            let letters = self.node.ledger.dead_letters(&filter).await?;
            let Some(last) = letters.last() else { break };
            filter.before = Some(last.id);
            plan.matched += count(letters.len());
            let (unknown, mut runnable): (Vec<DeadLetter>, Vec<DeadLetter>) = letters
                .into_iter()
                .partition(|letter| letter.reason.category == Category::UnknownOutcome);
            for letter in unknown {
                match self.prospect(letter.id).await? {
                    Prospect::Done(publication) => {
                        plan.done += 1;
                        if !retry.dry_run {
                            let store = &self.node.store;
                            store
                                .complete_if_published(publication, letter.id, Some(&note))
                                .await?;
                        }
                    }
                    Prospect::Clear => runnable.push(letter),
                    Prospect::Unclear if named => runnable.push(letter),
                    Prospect::Unclear | Prospect::Hopeless => plan.unknown += 1,
                }
            }
            if retry.dry_run {
                plan.runnable += count(runnable.len());
            } else {
                self.redrive(runnable, &note, &mut plan).await?;
            }
        }
        Ok(Planned { plan })
    }

    async fn redrive(
        &self,
        letters: Vec<DeadLetter>,
        note: &AuditEntry,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let mut by_kind: BTreeMap<Kind, Vec<JobId>> = BTreeMap::new();
        for letter in letters {
            by_kind.entry(letter.kind).or_default().push(letter.id);
        }
        for (kind, ids) in by_kind {
            let renewed = self
                .node
                .registry
                .catalog()
                .get(kind.as_str())
                .map_or(RENEWED, |spec| spec.expires_after);
            let filter = DeadFilter { ids, limit: STEP, ..DeadFilter::default() };
            let now = self.node.clock.now();
            let how = PutBack { now, renewed_for: renewed, note: Some(note) };
            let redriven = self.node.ledger.redrive(&filter, how).await?;
            plan.runnable += count(redriven.jobs.len());
            plan.superseded += count(redriven.superseded.len());
            self.node.producer.dispatch_again(redriven.jobs);
        }
        Ok(())
    }

    fn dead_filter(&self, choice: &DeadChoice) -> Result<DeadFilter, Error> {
        if choice.ids.len() > IDS_MAX {
            let message = format!("must be at most {IDS_MAX} ids");
            return Err(Error::field("/filter/ids", message));
        }
        let kind = choice.kind.as_ref().map(|kind| self.kind(kind.as_str())).transpose();
        let kind = kind.map_err(|error| match error {
            Error::Invalid(mut faults) => {
                faults.iter_mut().for_each(|fault| fault.field.insert_str(0, "/filter"));
                Error::Invalid(faults)
            }
            other => other,
        })?;
        Ok(DeadFilter {
            ids: choice.ids.clone(),
            category: choice.category,
            fingerprint: fingerprint("/filter/fingerprint", choice.fingerprint.as_deref())?,
            queue: choice.queue.clone(),
            kind,
            before: None,
            limit: STEP,
        })
    }
}

/// Anything else than what the lists show would find nothing, or be too much for the database.
fn fingerprint(field: &str, text: Option<&str>) -> Result<Option<String>, Error> {
    parse(field, text, |text| {
        let fits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { Ok(text.to_ascii_lowercase()) } else { Err("must be 16 hexadecimal digits") }
    })
}

/// The choice in one line, as the command line writes it.
fn described(choice: &DeadChoice) -> String {
    let mut words: Vec<String> = choice.ids.iter().map(ToString::to_string).collect();
    let mut name = |name: &str, value: Option<&str>| {
        words.extend(value.map(|value| format!("{name}={value}")));
    };
    name("category", choice.category.map(Category::as_str));
    name("fingerprint", choice.fingerprint.as_deref());
    name("queue", choice.queue.as_ref().map(Queue::as_str));
    name("kind", choice.kind.as_ref().map(Kind::as_str));
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            kind: letter.kind,
            queue: letter.queue,
            reason: letter.reason,
            fingerprint: letter.fingerprint,
            attempts: letter.attempts,
            created_at: letter.created_at,
            died_at: letter.died_at,
        }
    }
}

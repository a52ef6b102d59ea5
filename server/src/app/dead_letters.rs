//! Dead letters: showing, grouping and exporting them.

use postworks::job::{JobId, TraceParent};
use postworks::ledger::{AuditEntry, DeadFilter, DeadGroup, DeadLetter};
use postworks::telemetry::metrics::DLQ_ACTIONS;
use serde_json::value::RawValue;

use super::jobs::attempt_view;
use super::paging::Wanted;
use super::types::{DeadChoice, DeadDetails, DeadGroupView, DeadLetterView, DeadQuery, Page};
use super::{App, Error};

/// Letters of an export that are in memory at a time.
const EXPORT_STEP: u32 = 100;

impl App {
    /// Lists dead letters.
    pub async fn dead_letters(&self, query: &DeadQuery) -> Result<Page<DeadLetterView>, Error> {
        not_noted(query)?;
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let choice = self.choice_of(query)?;
        let mut filter = self.dead_filter("", &choice, wanted.probe()).await?;
        filter.before = wanted.before.map(JobId::from_uuid);
        let letters = self.ledger.dead_letters(&filter).await?;
        let views = letters.into_iter().map(DeadLetterView::from).collect();
        Ok(wanted.page(views, |letter: &DeadLetterView| letter.id.as_uuid()))
    }

    /// A dead letter with everything that is known of the job.
    pub async fn dead_letter(&self, id: JobId) -> Result<DeadLetterView, Error> {
        let filter = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
        let found = self.ledger.dead_letters(&filter).await?.into_iter().next();
        match found {
            Some(letter) => self.detailed(letter).await,
            None => Err(no_letter(id)),
        }
    }

    /// Groups dead letters by their cause, the most numerous first, at most 100 groups.
    pub async fn dead_groups(&self, query: &DeadQuery) -> Result<Page<DeadGroupView>, Error> {
        not_noted(query)?;
        let wanted = Wanted::read(query.limit, None)?;
        if query.cursor.is_some() {
            return Err(Error::field("/cursor", "groups have one page: narrow the filter"));
        }
        let filter = self.dead_filter("", &self.choice_of(query)?, wanted.limit).await?;
        let groups = self.ledger.dead_groups(&filter).await?;
        Ok(Page { items: groups.into_iter().map(DeadGroupView::from).collect(), next: None })
    }

    /// What an export is to hold, checked. It is noted before the first letter leaves, and each
    /// letter is counted before it does: exports carry arguments out of here.
    pub async fn export(&self, query: &DeadQuery) -> Result<Export, Error> {
        if query.limit.is_some() || query.cursor.is_some() {
            return Err(Error::field("/limit", "an export has no pages"));
        }
        let choice = self.choice_of(query)?;
        let filter = self.dead_filter("", &choice, EXPORT_STEP).await?;
        let subject = super::dead_choice::described(&DeadChoice { ids: Vec::new(), ..choice });
        let mut note = self.note("dlq.export", subject, query.reason.as_deref())?;
        note.count = 0;
        self.ledger.audit(&note).await?;
        Ok(Export { app: self.clone(), filter: Some(filter), note })
    }

    async fn detailed(&self, letter: DeadLetter) -> Result<DeadLetterView, Error> {
        let (id, ledger) = (letter.id, &self.ledger);
        let subject = self.subjects(std::slice::from_ref(&letter)).await?.remove(&id);
        let row = ledger.job(id).await?.ok_or_else(|| no_letter(id))?;
        let args =
            RawValue::from_string(row.job.args).map_err(|error| Error::Broken(Box::new(error)))?;
        let attempts = ledger.attempts(id).await?.into_iter().map(attempt_view).collect();
        let details = DeadDetails {
            args,
            account: row.job.account,
            unique_key: row.job.unique_key,
            trace_id: row.job.trace.map(TraceParent::trace_id),
            attempts,
            put_back: ledger.lineage(id).await?,
            superseded_by: subject.and_then(|subject| subject.superseded_by),
        };
        Ok(DeadLetterView { details: Some(details), ..letter.into() })
    }
}

/// An export that goes on, a few letters at a time.
pub struct Export {
    app: App,
    /// What is left; `None` at the end.
    filter: Option<DeadFilter>,
    /// Who exports.
    note: AuditEntry,
}

impl Export {
    /// The next lines, one a letter, newest first; `None` at the end.
    ///
    /// # Errors
    /// The ledger; the lines so far are good.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        let Some(filter) = &mut self.filter else { return Ok(None) };
        let letters = self.app.ledger.dead_letters(filter).await?;
        let Some(last) = letters.last() else {
            self.filter = None;
            return Ok(None);
        };
        filter.before = Some(last.id);
        let (mut lines, mut told) = (String::new(), 0);
        for letter in letters {
            match self.app.detailed(letter).await {
                Ok(view) => {
                    let line = serde_json::to_string(&view);
                    lines.push_str(&line.map_err(|error| Error::Broken(Box::new(error)))?);
                    lines.push('\n');
                    told += 1;
                }
                // It was deleted just now.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        DLQ_ACTIONS.count(&["export"]).increment(told);
        self.app.ledger.audit_step(&AuditEntry { count: told, ..self.note.clone() }).await?;
        Ok(Some(lines))
    }
}

/// A reason that nobody would ever read is a mistake.
fn not_noted(query: &DeadQuery) -> Result<(), Error> {
    match query.reason {
        Some(_) => Err(Error::field("/reason", "is for exports; a look is not noted")),
        None => Ok(()),
    }
}

pub(super) fn no_letter(id: JobId) -> Error {
    Error::NotFound(format!("there is no dead letter of job {id}"))
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
            details: None,
        }
    }
}

impl From<DeadGroup> for DeadGroupView {
    fn from(group: DeadGroup) -> Self {
        Self {
            fingerprint: group.fingerprint,
            count: group.count,
            kind: group.kind,
            category: group.reason.category,
            class: group.reason.class,
            message: group.reason.message,
            first_died_at: group.first_died_at,
            last_died_at: group.last_died_at,
            example: group.example,
        }
    }
}

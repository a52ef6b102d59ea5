//! Who did what, and why: notes operators' actions, and lists them.

use postworks::job::Timestamp;
use postworks::ledger::{AuditEntry, AuditFilter};
use serde_json::Value;

use super::jobs::parse;
use super::paging::Wanted;
use super::types::{AuditQuery, AuditView, Page};
use super::{App, Error};

/// Longest reason, in characters.
pub(super) const REASON_CHARS_MAX: usize = 1_000;
/// Longest subject, in bytes; what is longer is cut.
const SUBJECT_BYTES_MAX: usize = 1_000;

impl App {
    /// The entry of an action that is about to be done by whom this application acts for.
    ///
    /// # Errors
    /// The reason is empty or too long.
    pub(super) fn note(
        &self,
        action: &str,
        subject: impl Into<String>,
        reason: Option<&str>,
    ) -> Result<AuditEntry, Error> {
        let why = parse("/reason", reason, |text| match text.trim() {
            "" => Err("must not be empty; leave it out".to_owned()),
            _ if text.chars().count() > REASON_CHARS_MAX => {
                Err(format!("must be at most {REASON_CHARS_MAX} characters"))
            }
            words => storable(words),
        })?;
        let now = self.node.clock.now();
        let mut subject = subject.into();
        subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES_MAX));
        Ok(AuditEntry {
            id: self.ids.next(now, rand::random()).as_uuid(),
            at: now,
            actor: self.actor.to_string(),
            action: action.to_owned(),
            subject,
            detail: None,
            why,
            count: 1,
        })
    }

    /// Lists operators' actions, newest first.
    pub async fn audits(&self, query: &AuditQuery) -> Result<Page<AuditView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let now = self.node.clock.now();
        let time = |field, text: &Option<String>| parse(field, text.as_deref(), |t| moment(t, now));
        let filter = AuditFilter {
            actor: parse("/actor", query.actor.as_deref(), storable)?,
            action: parse("/action", query.action.as_deref(), storable)?,
            subject: parse("/subject", query.subject.as_deref(), storable)?,
            since: time("/since", &query.since)?,
            until: time("/until", &query.until)?,
            before: wanted.before,
            limit: wanted.probe(),
        };
        let entries = self.ledger.audits(&filter).await?;
        Ok(wanted.page(entries.into_iter().map(AuditView::from).collect(), |entry| entry.id))
    }
}

/// Text that a database takes.
fn storable(text: &str) -> Result<String, String> {
    match text.contains('\0') {
        true => Err("must not hold the character U+0000".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A point in time as people write it: RFC 3339, or how long ago it was.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    const FORM: &str = "must be an RFC 3339 time such as 2026-03-01T09:30:00Z, or how long ago, \
         as in 2h";
    let ago = || humantime::parse_duration(text).ok().map(|ago| now.before(ago));
    text.parse().ok().or_else(ago).ok_or(FORM)
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let detail = entry.detail.map_or(Value::Null, |text| {
            let object = serde_json::from_str(&text).ok().filter(Value::is_object);
            object.unwrap_or(Value::String(text))
        });
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail,
            why: entry.why,
            count: entry.count,
        }
    }
}

//! Which dead letters: reads what a caller names, and names what is wrong with it.

use postworks::job::{Category, FieldError, JobId, Queue, did_you_mean};
use postworks::ledger::DeadFilter;

use super::audit::moment;
use super::jobs::parse;
use super::types::{DeadChoice, DeadQuery};
use super::{App, Error};

/// Most ids that a caller may name.
pub(super) const IDS_MAX: usize = 1_000;

impl App {
    /// The choice that a list's query makes, its words read.
    pub(super) fn choice_of(&self, query: &DeadQuery) -> Result<DeadChoice, Error> {
        let kind = query.kind.as_deref().map(|kind| self.kind(kind)).transpose()?;
        Ok(DeadChoice {
            ids: Vec::new(),
            category: parse("/category", query.category.as_deref(), category)?,
            fingerprint: query.fingerprint.clone(),
            queue: parse("/queue", query.queue.as_deref(), Queue::parse)?,
            kind,
            account: parse("/account", query.account.as_deref(), |id| {
                id.parse().map_err(|_| "must be a connector's id, a UUID")
            })?,
            died_after: query.died_after.clone(),
            died_before: query.died_before.clone(),
        })
    }

    /// Checks a choice whose fields lie below `at`; answers at most `limit` letters' filter.
    pub(super) async fn dead_filter(
        &self,
        at: &str,
        choice: &DeadChoice,
        limit: u32,
    ) -> Result<DeadFilter, Error> {
        if choice.ids.len() > IDS_MAX {
            return Err(Error::field(
                format!("{at}/ids"),
                format!("must be at most {IDS_MAX} ids"),
            ));
        }
        let kind = choice.kind.as_ref().map(|kind| self.kind(kind.as_str())).transpose();
        let kind = kind.map_err(|error| below(at, error))?;
        if let Some(queue) = &choice.queue {
            self.check_queue(at, queue).await?;
        }
        let now = self.node.clock.now();
        let time = |name: &str, text: &Option<String>| {
            parse(&format!("{at}/{name}"), text.as_deref(), |text| moment(text, now))
        };
        let (died_after, died_before) =
            (time("died_after", &choice.died_after)?, time("died_before", &choice.died_before)?);
        if let (Some(after), Some(before)) = (died_after, died_before)
            && after >= before
        {
            let message = "must be later than died_after: nothing can be in between";
            return Err(Error::field(format!("{at}/died_before"), message));
        }
        Ok(DeadFilter {
            ids: choice.ids.clone(),
            category: choice.category,
            fingerprint: fingerprint(&format!("{at}/fingerprint"), choice.fingerprint.as_deref())?,
            queue: choice.queue.clone(),
            kind,
            account: choice.account,
            died_after,
            died_before,
            untouched_by: None,
            before: None,
            limit,
        })
    }

    /// A queue that nobody serves and no letter is of is a slip of the pen.
    async fn check_queue(&self, at: &str, queue: &Queue) -> Result<(), Error> {
        let mut known: Vec<Queue> = self.node.registry.queues().cloned().collect();
        if known.contains(queue) {
            return Ok(());
        }
        known.extend(self.ledger.dead_counts().await?.into_iter().map(|count| count.queue));
        if known.contains(queue) {
            return Ok(());
        }
        let hint = did_you_mean(queue.as_str(), known.iter().map(Queue::as_str));
        Err(Error::field(format!("{at}/queue"), format!("no such queue{hint}")))
    }
}

/// Whether a choice that names nothing may be meant.
///
/// # Errors
/// It names nothing and does not say that everything is meant, or says both.
pub(super) fn check_all(choice: &DeadChoice, all: bool) -> Result<(), Error> {
    let empty = *choice == DeadChoice::default();
    match (empty, all) {
        (true, false) => Err(Error::field(
            "/filter",
            "names nothing, which would be every dead letter: name some, or add \"all\": true",
        )),
        (false, true) => {
            Err(Error::field("/all", "is for an empty filter; leave out one of the two"))
        }
        _ => Ok(()),
    }
}

/// The choice in one line, as the command line writes it.
pub(super) fn described(choice: &DeadChoice) -> String {
    let mut words: Vec<String> = choice.ids.iter().map(JobId::to_string).collect();
    for (name, value) in [
        ("category", choice.category.map(|category| category.to_string())),
        ("fingerprint", choice.fingerprint.clone()),
        ("queue", choice.queue.as_ref().map(Queue::to_string)),
        ("kind", choice.kind.as_ref().map(ToString::to_string)),
        ("account", choice.account.map(|account| account.to_string())),
        ("died_after", choice.died_after.clone()),
        ("died_before", choice.died_before.clone()),
    ] {
        words.extend(value.map(|value| format!("{name}={value}")));
    }
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

/// A category's name, with the nearest one if there is none like it.
pub(crate) fn category(text: &str) -> Result<Category, String> {
    let known = Category::ALL.iter().map(|category| category.as_str());
    text.parse::<Category>().map_err(|error| {
        let hint = did_you_mean(text, known);
        if hint.contains("did you mean") {
            format!("no such category{hint}")
        } else {
            error.to_string()
        }
    })
}

fn below(at: &str, error: Error) -> Error {
    let moved = |fault: FieldError| FieldError::new(format!("{at}{}", fault.field), fault.message);
    match error {
        Error::Invalid(faults) => Error::Invalid(faults.into_iter().map(moved).collect()),
        other => other,
    }
}

/// Anything else than what the lists show would find nothing, or be too much for the database.
fn fingerprint(field: &str, text: Option<&str>) -> Result<Option<String>, Error> {
    parse(field, text, |text| {
        let fits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { Ok(text.to_ascii_lowercase()) } else { Err("must be 16 hexadecimal digits") }
    })
}

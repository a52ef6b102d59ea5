//! The jobs that a job waits for, as they are shown.

use postworks::job::State;
use postworks::ledger::{JobRow, ParentJob};

use super::types::{ParentView, WhyView};
use super::why::answer;
use super::{App, Error};

/// What such a job is parked for.
const PARENTS: &str = "parents";
/// Most parents that are named in a sentence.
const NAMED_MAX: usize = 5;

impl App {
    /// Whom a job waits for, if it waits for its parents.
    pub(super) async fn waits_for_parents(&self, row: &JobRow) -> Result<Option<WhyView>, Error> {
        if row.parked_for.as_deref() != Some(PARENTS) {
            return Ok(None);
        }
        let parents = self.ledger.parents(row.job.id).await?;
        let all = parents.len();
        let left: Vec<ParentJob> =
            parents.into_iter().filter(|parent| parent.outcome.is_none()).collect();
        let mut words: Vec<String> = left
            .iter()
            .take(NAMED_MAX)
            .map(|parent| format!("{} ({})", parent.id, parent.kind))
            .collect();
        if left.len() > NAMED_MAX {
            words.push(format!("{} more", left.len() - NAMED_MAX));
        }
        let detail = match left.len() {
            0 => "the last of its parents ended just now".to_owned(),
            count => format!("it waits for {count} of {all} parents: {}", words.join(", ")),
        };
        Ok(Some(answer(PARENTS, detail, None)))
    }
}

pub(super) fn parent_view(parent: ParentJob) -> ParentView {
    // A row that is gone ended long ago, and nobody was told how.
    let state = parent.outcome.or(parent.state).unwrap_or(State::Completed);
    ParentView { id: parent.id, kind: parent.kind, state, reason: parent.reason }
}

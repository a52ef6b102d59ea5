//! What the ledger is asked about claimed jobs before they run.

use std::collections::HashMap;

use super::admit::InHand;
use crate::clock::SharedClock;
use crate::job::{DecodeError, Envelope, JobId, Timestamp, Token};
use crate::ledger::{self, Ledger, Standing};

/// A question about claimed jobs. No job is in it twice: the answers are told apart by the jobs.
pub(super) struct Question {
    claims: Vec<(JobId, Token)>,
    /// Those whose bytes are no envelope.
    unreadable: Vec<JobId>,
    /// When the last of them fell due, as far as they say.
    due: Timestamp,
}

/// What the ledger says of a claimed job.
pub(super) struct Answer {
    /// `None` if its row makes no sense to this program.
    pub(super) standing: Option<Standing>,
    /// The record's envelope, if the broker's cannot be read and the job may run.
    pub(super) envelope: Option<Envelope>,
}

pub(super) type Answers = HashMap<JobId, Answer>;

impl Question {
    pub(super) fn about<'a>(jobs: impl Iterator<Item = &'a InHand> + Clone) -> Self {
        let deliveries = jobs.map(|(delivery, _)| delivery);
        let claims = deliveries.clone().map(|delivery| (delivery.lease.id, delivery.lease.token));
        let run_ats = deliveries.clone().filter_map(|delivery| delivery.envelope.as_ref().ok());
        // Bytes of a newer program stay: they are for a newer worker.
        let unreadable = deliveries.filter(|delivery| {
            matches!(delivery.envelope, Err(DecodeError::Malformed(_) | DecodeError::TooLong(_)))
        });
        Self {
            claims: claims.collect(),
            due: run_ats.map(|envelope| envelope.run_at).max().unwrap_or_default(),
            unreadable: unreadable.map(|delivery| delivery.lease.id).collect(),
        }
    }

    /// Asks the ledger, which stamps the claims of the jobs that may run.
    ///
    /// # Errors
    /// It cannot be reached; nothing was changed, ask again. What it has no sensible answer to
    /// keeps nobody else waiting.
    pub(super) async fn ask(
        &self,
        ledger: &dyn Ledger,
        clock: &SharedClock,
    ) -> Result<Answers, ledger::Error> {
        // What the broker handed out was due by its clock. A worker whose own is behind must not
        // send it back as not yet due, again and again.
        let now = clock.now().max(self.due);
        let standings = match ledger.stamp(&self.claims, now).await {
            Ok(standings) => standings.into_iter().map(Some).collect(),
            // One row spoils the answer for all.
            Err(ledger::Error::Protocol(_)) => self.ask_singly(ledger, now).await?,
            Err(error) => return Err(error),
        };
        crate::failpoint!(StampDone);
        let answer = |standing| Answer { standing, envelope: None };
        let ids = self.claims.iter().map(|(id, _)| *id);
        let mut answers: Answers = ids.zip(standings.into_iter().map(answer)).collect();
        for id in &self.unreadable {
            if let Some(answer) = answers.get_mut(id)
                && matches!(answer.standing, Some(Standing::Yours { .. }))
            {
                answer.envelope = recorded(ledger, *id).await?;
            }
        }
        Ok(answers)
    }

    async fn ask_singly(
        &self,
        ledger: &dyn Ledger,
        now: Timestamp,
    ) -> Result<Vec<Option<Standing>>, ledger::Error> {
        let mut standings = Vec::with_capacity(self.claims.len());
        for claim in &self.claims {
            match ledger.stamp(std::slice::from_ref(claim), now).await {
                Ok(answer) => standings.push(answer.into_iter().next()),
                Err(ledger::Error::Protocol(error)) => {
                    tracing::error!(
                        job.id = %claim.0, %error,
                        "the job's row makes no sense to this program; it is put off"
                    );
                    standings.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(standings)
    }
}

/// The record's envelope of a job; `None` if that cannot be read either.
async fn recorded(ledger: &dyn Ledger, id: JobId) -> Result<Option<Envelope>, ledger::Error> {
    match ledger.job(id).await {
        Err(ledger::Error::Protocol(_)) => Ok(None),
        row => Ok(row?.and_then(|row| Envelope::of(&row.job).ok())),
    }
}

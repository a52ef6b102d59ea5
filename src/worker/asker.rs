//! Asks the ledger about claimed jobs that may not run without it, beside the claiming.
//!
//! In the order of their claims, one question at a time; what is claimed meanwhile is in the next.
//! While an answer is under way the jobs keep places, as any claimed job does. A ledger that has not
//! answered for [`PATIENCE`] is away: then these jobs must not stand in the way of those that need
//! no answer. So they are set aside, where they take no place, and their leases are renewed. As many
//! may wait there as there are places; the others wait in the broker and come by again. The first
//! answer gives all that were set aside their places back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admit::{Admission, InHand};
use super::fetch::{Fetcher, RETRY_MAX, RETRY_MIN};
use super::inflight::InFlight;
use super::intake::Intake;
use super::question::{Answers, Question};
use crate::clock::SharedClock;
use crate::job::Timestamp;
use crate::ledger::{self, Ledger};

/// A ledger that does not answer for so long is away.
const PATIENCE: Duration = Duration::from_millis(500);
/// A job that may not wait here for a ledger that is away comes by again after this.
const PUT_OFF: Duration = Duration::from_secs(5);

/// Asks the ledger about claimed jobs.
pub(super) struct Asker {
    admission: Arc<Admission>,
    intake: Arc<Intake>,
    inflight: Arc<InFlight>,
    /// Asked about now.
    asked: Option<Asked>,
    /// To be asked about next.
    line: Vec<InHand>,
    /// Whether all of them are set aside.
    away: bool,
}

struct Asked {
    jobs: Vec<InHand>,
    answers: BoxFuture<'static, Answers>,
    since: Instant,
}

impl Asker {
    /// With nothing to ask.
    pub(super) fn new(admission: Arc<Admission>, intake: Arc<Intake>) -> Self {
        let inflight = Arc::clone(&intake.inflight);
        Self { admission, intake, inflight, asked: None, line: Vec::new(), away: false }
    }

    /// Asks about whatever is claimed until nobody claims any more.
    pub(super) async fn run(mut self, mut claimed: mpsc::UnboundedReceiver<Vec<InHand>>) {
        loop {
            while let Ok(jobs) = claimed.try_recv() {
                self.join(jobs);
            }
            self.ask_next();
            let late = self.asked.as_ref().map(|asked| asked.since + PATIENCE);
            let late = late.filter(|_| !self.away);
            tokio::select! {
                jobs = claimed.recv() => match jobs {
                    Some(jobs) => self.join(jobs),
                    None => break,
                },
                answers = answers(&mut self.asked) => self.answered(answers),
                () = until(late) => self.set_aside(),
            }
        }
        self.end().await;
    }

    fn join(&mut self, jobs: Vec<InHand>) {
        if self.away {
            jobs.iter().for_each(|(delivery, _)| self.inflight.set_aside(&delivery.queue));
        }
        self.line.extend(jobs);
    }

    fn ask_next(&mut self) {
        if self.asked.is_some() || self.line.is_empty() {
            return;
        }
        let jobs = next_batch(&mut self.line);
        let question = Question::about(jobs.iter());
        let Admission { ledger, clock, .. } = &*self.admission;
        let answers = ask(question, Arc::clone(ledger), Arc::clone(clock));
        self.asked = Some(Asked { jobs, answers: Box::pin(answers), since: Instant::now() });
    }

    fn answered(&mut self, answers: Answers) {
        let Some(asked) = self.asked.take() else { return };
        if std::mem::take(&mut self.away) {
            let waited = asked.jobs.iter().chain(&self.line);
            waited.for_each(|(delivery, _)| self.inflight.taken_up(&delivery.queue));
            tracing::info!("the ledger answers again");
        }
        self.intake.hand_on(self.admission.admit(asked.jobs, answers));
    }

    /// The ledger is away.
    fn set_aside(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        self.away = true;
        for jobs in [&mut asked.jobs, &mut self.line] {
            // Nothing else may be claimed while such a job is in hand. So it comes as any other,
            // until the ledger says again what it is.
            let alone = jobs.extract_if(.., |(delivery, _)| delivery.quarantined);
            alone.for_each(|(delivery, _)| self.intake.hand_back(delivery));
            jobs.iter().for_each(|(delivery, _)| self.inflight.set_aside(&delivery.queue));
        }
        if asked.jobs.is_empty() {
            self.asked = None;
            self.away = !self.line.is_empty();
        }
        let jobs = self.inflight.aside();
        tracing::info!(jobs, "the ledger does not answer; jobs that need it wait, others go on");
    }

    /// The worker drains: what is not answered soon goes back.
    async fn end(mut self) {
        let late = self.asked.as_ref().filter(|_| !self.away).map(|asked| asked.since + PATIENCE);
        if let Some(late) = late {
            let soon = tokio::time::timeout_at(late, answers(&mut self.asked)).await;
            soon.into_iter().for_each(|answers| self.answered(answers));
        }
        let asked = self.asked.map(|asked| asked.jobs).unwrap_or_default();
        for (delivery, _) in asked.into_iter().chain(self.line) {
            if self.away {
                self.inflight.taken_up(&delivery.queue);
            }
            self.intake.hand_back(delivery);
        }
    }
}

impl Fetcher {
    /// While the ledger is away, puts those jobs off that need it and have no room to wait here;
    /// answers the others. Before a job takes room in a quota, which it would waste. `now` is the
    /// broker's: by a clock that is behind they would be due at once, and before all others.
    pub(super) fn put_off_surplus(&self, mut held: Vec<InHand>, now: Timestamp) -> Vec<InHand> {
        let mut waiting = self.inflight.aside();
        if waiting == 0 {
            return held;
        }
        let surplus = held.extract_if(.., |(delivery, _)| {
            let asks = self.admission.needs_ledger(delivery);
            waiting += usize::from(asks);
            asks && waiting > self.aside_max
        });
        for (delivery, _) in surplus {
            self.inflight.set_aside(&delivery.queue);
            self.intake.put_off_aside(delivery, now.after(PUT_OFF));
        }
        held
    }
}

/// The jobs to be asked about at once. One that was claimed anew is not among them: the ledger
/// has to hear of its claims one after the other.
fn next_batch(line: &mut Vec<InHand>) -> Vec<InHand> {
    let mut ids = HashSet::new();
    let is_new = |(delivery, _): &&InHand| ids.insert(delivery.lease.id);
    let count = line.iter().take(ledger::BATCH_MAX).take_while(is_new).count();
    line.drain(..count).collect()
}

/// Asks until there is an answer.
async fn ask(question: Question, ledger: Arc<dyn Ledger>, clock: SharedClock) -> Answers {
    let mut retry = RETRY_MIN;
    loop {
        match question.ask(ledger.as_ref(), &clock).await {
            Ok(answers) => return answers,
            Err(error) if retry == RETRY_MIN => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot ask the ledger now; claimed jobs wait");
            }
            Err(_) => {}
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

async fn answers(asked: &mut Option<Asked>) -> Answers {
    match asked {
        Some(asked) => (&mut asked.answers).await,
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::job::JobId;
    use crate::worker::inflight::tests::delivery;

    fn claim(job: u8, sequence: u64) -> InHand {
        let mut delivery = delivery(sequence);
        delivery.lease.id = format!("0198f3a0-0000-7000-8000-0000000000{job:02}").parse().unwrap();
        (delivery, CancellationToken::new())
    }

    fn ids(batch: &[InHand]) -> Vec<(JobId, u64)> {
        let id = |(delivery, _): &InHand| (delivery.lease.id, delivery.lease.token.sequence);
        batch.iter().map(id).collect()
    }

    #[test]
    fn a_job_that_was_claimed_anew_is_asked_about_once_at_a_time_and_in_order() {
        let claims = || vec![claim(1, 1), claim(2, 1), claim(1, 2), claim(3, 2), claim(2, 3)];
        let mut line = claims();
        let expected = ids(&claims());
        assert_eq!(ids(&next_batch(&mut line)), expected[..2]);
        assert_eq!(ids(&next_batch(&mut line)), expected[2..]);
        assert!(line.is_empty());
    }
}

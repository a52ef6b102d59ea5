//! Asks the ledger about claimed jobs that may not run without it, beside the claiming.
//!
//! In the order of their claims, one question at a time; what is claimed meanwhile is in the next.
//! While an answer is under way the jobs keep places, as any claimed job does. If the ledger has not
//! answered for [`PATIENCE`], these jobs must not stand in the way of those that need no answer: they
//! are set aside, where they take no place, and their leases are renewed. As many may wait there as
//! there are places; the others keep theirs, and with that end the claims of a worker whose ledger is
//! only slow. Once it is surely away, the others wait in the broker and come by again. The first answer
//! gives all that were set aside their places back.

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

/// A ledger that does not answer for so long is slow.
const PATIENCE: Duration = Duration::from_millis(500);
/// One that does not answer for so long is away: longer than it waits for a row that is locked.
const AWAY: Duration = Duration::from_secs(3);
/// A job that may not wait here for a ledger that is away comes by again after this.
const PUT_OFF: Duration = Duration::from_secs(1);
/// A worker that had to put jobs off claims no others for so long.
const SURPLUS_REST: Duration = Duration::from_millis(250);

/// Asks the ledger about claimed jobs.
pub(super) struct Asker {
    admission: Arc<Admission>,
    intake: Arc<Intake>,
    inflight: Arc<InFlight>,
    /// May be set aside at once.
    aside_max: usize,
    /// Asked about now.
    asked: Option<Asked>,
    /// To be asked about next.
    line: Vec<Waiting>,
    ledger: Seems,
}

/// What the ledger seems to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seems {
    There,
    Slow,
    Away,
}

struct Waiting {
    job: InHand,
    /// It takes no place.
    aside: bool,
}

struct Asked {
    jobs: Vec<Waiting>,
    answers: BoxFuture<'static, Answers>,
    since: Instant,
}

impl Asker {
    /// With nothing to ask.
    pub(super) fn new(admission: Arc<Admission>, intake: Arc<Intake>, aside_max: usize) -> Self {
        let inflight = Arc::clone(&intake.inflight);
        let (asked, line, ledger) = (None, Vec::new(), Seems::There);
        Self { admission, intake, inflight, aside_max, asked, line, ledger }
    }

    /// Asks about whatever is claimed until nobody claims any more.
    pub(super) async fn run(mut self, mut claimed: mpsc::UnboundedReceiver<Vec<InHand>>) {
        loop {
            while let Ok(jobs) = claimed.try_recv() {
                self.join(jobs);
            }
            self.ask_next();
            let late = self.late();
            tokio::select! {
                biased;
                answers = answers(&mut self.asked) => self.answered(answers),
                () = until(late) => self.waited(),
                jobs = claimed.recv() => match jobs {
                    Some(jobs) => self.join(jobs),
                    None => break,
                },
            }
        }
        self.end().await;
    }

    /// When the ledger will seem to be worse than it does.
    fn late(&self) -> Option<Instant> {
        let since = self.asked.as_ref()?.since;
        match self.ledger {
            Seems::There => Some(since + PATIENCE),
            Seems::Slow => Some(since + AWAY),
            Seems::Away => None,
        }
    }

    fn join(&mut self, jobs: Vec<InHand>) {
        self.line.extend(jobs.into_iter().map(|job| Waiting { job, aside: false }));
        if self.ledger != Seems::There {
            self.make_room();
        }
    }

    fn ask_next(&mut self) {
        if self.asked.is_some() || self.line.is_empty() {
            return;
        }
        let jobs = next_batch(&mut self.line);
        let question = Question::about(jobs.iter().map(|waiting| &waiting.job));
        let Admission { ledger, clock, .. } = &*self.admission;
        let answers = ask(question, Arc::clone(ledger), Arc::clone(clock));
        self.asked = Some(Asked { jobs, answers: Box::pin(answers), since: Instant::now() });
    }

    fn answered(&mut self, answers: Answers) {
        let Some(asked) = self.asked.take() else { return };
        if std::mem::replace(&mut self.ledger, Seems::There) == Seems::Away {
            self.inflight.note_cut_off(false);
            tracing::info!("the ledger answers again");
        }
        let jobs = asked.jobs.into_iter().map(|waiting| self.taken_up(waiting)).collect();
        for waiting in self.line.iter_mut().filter(|waiting| waiting.aside) {
            waiting.aside = false;
            self.inflight.taken_up(&waiting.job.0.queue);
        }
        self.intake.hand_on(self.admission.admit(jobs, answers));
    }

    fn taken_up(&self, waiting: Waiting) -> InHand {
        let Waiting { job, aside } = waiting;
        if aside {
            self.inflight.taken_up(&job.0.queue);
        }
        job
    }

    /// The ledger has not answered for a while, or for long.
    fn waited(&mut self) {
        self.ledger = match self.ledger {
            Seems::There => Seems::Slow,
            Seems::Slow | Seems::Away => Seems::Away,
        };
        if self.ledger == Seems::Away {
            self.inflight.note_cut_off(true);
        }
        self.make_room();
        if self.ledger == Seems::Away {
            let jobs = self.inflight.aside();
            tracing::info!(
                jobs,
                "the ledger does not answer; jobs that need it wait, others go on"
            );
        }
    }

    /// Sets the first jobs aside. While the ledger is away no other keeps its place, and none waits
    /// that would have to be alone: nothing could be claimed as long as it is in hand. Such a job
    /// comes as any other, until the ledger says again what it is.
    fn make_room(&mut self) {
        let Self { admission, intake, inflight, aside_max, asked, line, ledger } = self;
        let is_away = *ledger == Seems::Away;
        let until = admission.clock.now().after(PUT_OFF);
        for jobs in asked.iter_mut().map(|asked| &mut asked.jobs).chain([line]) {
            for waiting in jobs.iter_mut().filter(|waiting| !waiting.aside) {
                let (delivery, _) = &waiting.job;
                waiting.aside = !delivery.quarantined && inflight.aside() < *aside_max;
                if waiting.aside {
                    inflight.set_aside(&delivery.queue);
                }
            }
            for waiting in jobs.extract_if(.., |waiting| is_away && !waiting.aside) {
                match waiting.job.0 {
                    alone if alone.quarantined => intake.hand_back(alone),
                    other => {
                        inflight.set_aside(&other.queue);
                        intake.put_off_aside(other, until);
                    }
                }
            }
        }
        if asked.as_ref().is_some_and(|asked| asked.jobs.is_empty()) {
            *asked = None;
        }
    }

    /// The worker drains: what is not answered soon goes back.
    async fn end(mut self) {
        let late = self.late().filter(|_| self.ledger == Seems::There);
        if let Some(late) = late {
            let soon = tokio::time::timeout_at(late, answers(&mut self.asked)).await;
            soon.into_iter().for_each(|answers| self.answered(answers));
        }
        let asked = self.asked.take().map(|asked| asked.jobs).unwrap_or_default();
        for waiting in asked.into_iter().chain(std::mem::take(&mut self.line)) {
            let (delivery, _) = self.taken_up(waiting);
            self.intake.hand_back(delivery);
        }
    }
}

impl Fetcher {
    /// While the ledger is away, puts those jobs off that need it and have no room to wait here;
    /// answers the others, and whether there were any such. Before a job takes room in a quota, which
    /// it would waste. `now` is the broker's: by a clock that is behind they would be due at once, and
    /// before all others.
    pub(super) fn put_off_surplus(
        &self,
        mut held: Vec<InHand>,
        now: Timestamp,
    ) -> (Vec<InHand>, bool) {
        if !self.inflight.is_cut_off() {
            return (held, false);
        }
        let mut waiting = self.inflight.aside();
        let surplus = held.extract_if(.., |(delivery, _)| {
            let asks = self.admission.needs_ledger(delivery);
            waiting += usize::from(asks);
            asks && waiting > self.aside_max
        });
        let surplus: Vec<InHand> = surplus.collect();
        let is_any = !surplus.is_empty();
        for (delivery, _) in surplus {
            self.inflight.set_aside(&delivery.queue);
            self.intake.put_off_aside(delivery, now.after(PUT_OFF));
        }
        (held, is_any)
    }

    /// A worker that is cut off alone would put off all that others could run, as fast as it can
    /// claim. So it takes its time; what needs no answer comes with what does.
    pub(super) async fn rest_after_surplus(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(SURPLUS_REST) => {}
        }
    }
}

/// The jobs to be asked about at once. One that was claimed anew is not among them: the ledger
/// has to hear of its claims one after the other.
fn next_batch(line: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut ids = HashSet::new();
    let is_new = |waiting: &&Waiting| ids.insert(waiting.job.0.lease.id);
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

    fn claim(job: u8, sequence: u64) -> Waiting {
        let mut delivery = delivery(sequence);
        delivery.lease.id = format!("0198f3a0-0000-7000-8000-0000000000{job:02}").parse().unwrap();
        Waiting { job: (delivery, CancellationToken::new()), aside: false }
    }

    fn ids(batch: &[Waiting]) -> Vec<(JobId, u64)> {
        let id = |waiting: &Waiting| {
            let lease = &waiting.job.0.lease;
            (lease.id, lease.token.sequence)
        };
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

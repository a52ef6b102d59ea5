//! The refiller: brings jobs from the ledger into the broker's windows, those whose turn comes
//! first, as the windows empty.
//!
//! What it does is told to the broker in three steps, so that no job falls between the two stores:
//!
//! 1. The cutoff is raised, so that every job committed from now on comes by its own push.
//! 2. The ledger is read up to the new cutoff, which shows every job committed before, and what
//!    it shows is pushed, flagged.
//! 3. The gap is moved up to the cutoff, or to wherever jobs that were put out again lowered it.
//!
//! A refiller that dies on the way leaves jobs in the window from the gap on, which the next one
//! finds held. Every node runs one; the broker lets one at a time begin. It is woken by claims
//! that find a window half empty, and looks by itself in case a wake-up was lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::report_unreadable;
use crate::broker::{self, Broker, Refill};
use crate::client::{PushCount, push_all};
use crate::clock::SharedClock;
use crate::job::{Queue, Timestamp, Turn};
use crate::ledger::{self, Ledger, Page, Span};
use crate::worker::{BROKER_HORIZON, Calls};

/// How often the refiller looks whether there is a gap; claims tell it sooner.
const LOOK: Duration = Duration::from_secs(30);
/// How often it looks after queues that have one.
const LOOK_AFTER_GAPS: Duration = Duration::from_secs(1);
/// Claims wake it no more often than this when there was nothing to do.
const BREATH: Duration = Duration::from_millis(50);
/// Jobs of one refill at most, so that it is over well within its term.
const ROUND_MAX: usize = 10_000;
/// When another refill may begin if one does not end: its node is dead.
const TERM: Duration = Duration::from_secs(10);
/// Jobs that fell due since the last look, or at first so long ago, are looked through for some
/// that overtake; what all looks missed, the relay finds.
const OVERTAKING: Duration = Duration::from_secs(60);
/// Looks overlap by so much, since the clocks of nodes and broker differ.
const OVERLAP: Duration = Duration::from_secs(5);
/// After an error.
const RETRY: Duration = Duration::from_millis(500);

/// Fills the windows.
pub struct Refiller {
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// Whose windows to fill.
    pub broker: Arc<dyn Broker>,
    /// Tells the time.
    pub clock: SharedClock,
    /// The queues to look after.
    pub queues: Vec<Queue>,
    /// Calls to fill windows.
    pub calls: Arc<Calls>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// How long nothing is done.
struct Pause {
    /// Whatever wakes us.
    at_least: Duration,
    /// If nothing does.
    at_most: Duration,
}

impl Pause {
    /// A broker that is back is opened by a worker, who calls: that is heeded at once. A ledger that
    /// is away keeps nobody from calling.
    fn after(error: &Error) -> Self {
        let at_least = match error {
            Error::Broker(_) => BREATH,
            Error::Ledger(_) => RETRY,
        };
        Self { at_least, at_most: RETRY }
    }
}

impl Refiller {
    /// Refills until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        let mut since = self.clock.now().before(OVERTAKING);
        loop {
            let now = self.clock.now();
            let pause = match self.look(since.max(now.before(OVERTAKING))).await {
                Ok(pause) => {
                    failing = false;
                    since = now.before(OVERLAP);
                    pause
                }
                Err(error) => {
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot fill the windows now; trying again");
                    }
                    failing = true;
                    Pause::after(&error)
                }
            };
            let woken = async {
                tokio::time::sleep(pause.at_least).await;
                self.calls.refill.notified().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = woken => {}
                () = tokio::time::sleep(pause.at_most) => {}
            }
        }
    }

    /// Fills every window that is low; answers when to look again.
    async fn look(&self, since: Timestamp) -> Result<Pause, Error> {
        if !self.broker.has_gaps(&self.queues).await? {
            return Ok(Pause { at_least: BREATH, at_most: LOOK });
        }
        let mut at_least = BREATH;
        for stuck in join_all(self.queues.iter().map(|queue| self.look_after(queue, since))).await {
            if stuck? {
                at_least = LOOK_AFTER_GAPS;
            }
        }
        if self.broker.elect("overtaking", LOOK_AFTER_GAPS.mul_f64(0.8)).await? {
            self.let_overtake(since).await?;
        }
        Ok(Pause { at_least, at_most: LOOK_AFTER_GAPS })
    }

    async fn look_after(&self, queue: &Queue, since: Timestamp) -> Result<bool, Error> {
        match self.fill_up(queue, since).await {
            // Broken keys of one queue must not keep the others' jobs from their workers.
            Err(Error::Broker(error)) if !error.is_outage() => {
                error.log_of(queue, "cannot fill the window of this queue");
                Ok(true)
            }
            other => other,
        }
    }

    /// Refills until the window is no longer low, or nothing is won by it; answers whether that
    /// was the reason.
    async fn fill_up(&self, queue: &Queue, since: Timestamp) -> Result<bool, Error> {
        let mut before = None;
        while let Some(refill) = self.broker.begin_refill(queue, TERM).await? {
            let from = refill.from;
            let stuck = before.replace(from) == Some(from);
            let filled =
                if stuck { Ok(Some(from)) } else { self.fill(queue, &refill, since).await };
            // Also after an error, so that the next one need not wait for the term to end.
            let until = filled.as_ref().copied().unwrap_or(Some(from));
            let ended = self.broker.end_refill(queue, &refill, until).await;
            filled?;
            ended?;
            if stuck {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Pushes the next jobs from the ledger; answers up to which turn everything was pushed,
    /// `None` for everything there is.
    async fn fill(
        &self,
        queue: &Queue,
        refill: &Refill,
        since: Timestamp,
    ) -> Result<Option<Turn>, Error> {
        if crate::planted!(ForgetRefill) {
            return Ok(None);
        }
        let now = self.clock.now();
        let due_before = now.after(BROKER_HORIZON);
        let mut span = Span { queue, from: refill.from, until: None, now, due_before };
        span.until = self.ledger.turn_after(span, refill.room.min(ROUND_MAX)).await?;
        if !self.broker.widen(queue, refill, span.until).await? {
            return Ok(Some(refill.from));
        }
        // Below the gap nothing is missing but what fell due since the last look: beyond the
        // gap, the ledger would not show it any more.
        self.push_overtaking(Span { from: Turn::FIRST, until: Some(refill.from), ..span }, since)
            .await?;
        let mut page = self.read(span).await?;
        let mut sum = PushCount::default();
        loop {
            let next = page.next.map(|from| Span { from, ..span });
            // The next page is read while this one is pushed.
            let read = async {
                match next {
                    Some(span) => self.read(span).await.map(Some),
                    None => Ok(None),
                }
            };
            let push = push_all(self.broker.as_ref(), &page.jobs, true);
            let (pushed, read) = tokio::join!(push, read);
            let pushed = pushed?;
            sum.added += pushed.added;
            sum.left += pushed.left;
            match read? {
                Some(next) => page = next,
                None => break,
            }
        }
        tracing::debug!(job.queue = %queue, ?sum, "filled from the ledger");
        Ok(span.until)
    }

    async fn read(&self, span: Span<'_>) -> Result<Page<Turn>, ledger::Error> {
        let page = self.ledger.jobs_in_turn(span, limit()).await?;
        report_unreadable(&page.unreadable);
        Ok(page)
    }

    /// Lets jobs into windows that no refill is filling now.
    async fn let_overtake(&self, since: Timestamp) -> Result<(), Error> {
        let now = self.clock.now();
        for (queue, cutoff) in self.queues.iter().zip(self.broker.cutoffs(&self.queues).await?) {
            if cutoff.is_some_and(|cutoff| cutoff.at_ms <= now.as_millis()) {
                let span = Span { queue, from: Turn::FIRST, until: cutoff, now, due_before: now };
                match self.push_overtaking(span, since).await {
                    // It must not keep jobs from other windows.
                    Err(Error::Broker(error)) if !error.is_outage() => {
                        error.log_of(queue, "cannot let jobs overtake in this queue");
                    }
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Pushes jobs whose head start counts from the moment they fall due, and puts them before
    /// others that are in the window already.
    async fn push_overtaking(&self, span: Span<'_>, since: Timestamp) -> Result<(), Error> {
        let mut from = Some(span.from);
        while let Some(at) = from {
            let rest = Span { from: at, ..span };
            let page = self.ledger.jobs_overtaking(rest, since, limit()).await?;
            report_unreadable(&page.unreadable);
            push_all(self.broker.as_ref(), &page.jobs, true).await?;
            from = page.next;
        }
        Ok(())
    }
}

fn limit() -> u32 {
    u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_outage_of_the_broker_a_call_is_heeded_at_once() {
        let away = || std::io::Error::other("away");
        let broker = Pause::after(&Error::Broker(broker::Error::Unavailable(Box::new(away()))));
        assert_eq!((broker.at_least, broker.at_most), (BREATH, RETRY));
        let ledger = Pause::after(&Error::Ledger(ledger::Error::Unavailable(away().into())));
        assert_eq!((ledger.at_least, ledger.at_most), (RETRY, RETRY));
    }
}

//! What is asked of the API or the stores, one thing at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Queue;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::picture::Picture;
use crate::app::types::{DeadChoice, DeadRetry, GateView, Planned, Why};
use crate::cli::failure::Failure;
use crate::cli::target::Target;

/// What a person may want of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Pause,
    Resume,
    Open,
    Close,
}

/// Dead letters of one cause in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) queue: Queue,
    pub(super) fingerprint: String,
}

/// Something to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// What there is to see; of dead letters, those of this queue.
    Look(Option<Queue>),
    /// Hold a queue back, or let it go.
    Hold(Wish, Queue, Option<String>),
    /// What putting these back would do.
    Plan(Cause),
    /// Put them back.
    PutBack(Cause),
}

/// What came back.
#[derive(Debug)]
pub(super) enum Answer {
    Looked(Result<Picture, Failure>),
    Held(Result<GateView, Failure>),
    Planned(Cause, Result<Planned, Failure>),
    PutBack(Result<Planned, Failure>),
}

impl Ask {
    async fn of(self, target: &dyn Target) -> Answer {
        match self {
            Self::Look(queue) => {
                Answer::Looked(Picture::take(target, queue, SystemClock.now()).await)
            }
            Self::Hold(wish, queue, reason) => {
                let (queue, why) = (queue.as_str(), Why { reason });
                Answer::Held(match wish {
                    Wish::Pause => target.pause(queue, &why).await,
                    Wish::Resume => target.resume(queue, &why).await,
                    Wish::Open => target.open_breaker(queue, &why).await,
                    Wish::Close => target.close_breaker(queue, &why).await,
                })
            }
            Self::Plan(cause) => {
                let planned = target.dlq_retry(&retry(&cause, true)).await;
                Answer::Planned(cause, planned)
            }
            Self::PutBack(cause) => Answer::PutBack(target.dlq_retry(&retry(&cause, false)).await),
        }
    }
}

fn retry(cause: &Cause, dry_run: bool) -> DeadRetry {
    let filter = DeadChoice {
        fingerprint: Some(cause.fingerprint.clone()),
        queue: Some(cause.queue.clone()),
        ..DeadChoice::default()
    };
    DeadRetry { filter, dry_run, ..DeadRetry::default() }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Asks one thing at a time; what a person wants goes before looks.
pub(super) struct Desk<'a> {
    target: &'a dyn Target,
    every: Duration,
    under_way: Option<Asking<'a>>,
    is_look: bool,
    next: VecDeque<Ask>,
    looked: Instant,
    /// Carries on a redrive that was begun here on the stores themselves.
    redriving: Option<DropGuard>,
}

impl<'a> Desk<'a> {
    /// One that has just looked.
    pub(super) fn new(target: &'a dyn Target, every: Duration) -> Self {
        Self {
            target,
            every,
            under_way: None,
            is_look: false,
            next: VecDeque::new(),
            looked: Instant::now(),
            redriving: None,
        }
    }

    /// Asks this, as soon as what is under way has come back. A look is dropped for it: there will
    /// be another.
    pub(super) fn ask(&mut self, ask: Ask) {
        if self.is_look {
            self.under_way = None;
        }
        self.next.push_back(ask);
        self.go_on();
    }

    /// Waits for what is under way; nothing is, and it is time for the next look, if there is no
    /// answer. May be given up and called again.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let Some(asking) = &mut self.under_way else {
            tokio::time::sleep_until(self.looked + self.every).await;
            return None;
        };
        let answer = asking.await;
        self.under_way = None;
        let begun = matches!(&answer, Answer::PutBack(Ok(planned)) if planned.redrive.is_some());
        if begun && self.redriving.is_none() {
            self.redriving = self.target.carry_on();
        }
        self.go_on();
        Some(answer)
    }

    fn go_on(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let Some(ask) = self.next.pop_front() else { return };
        self.is_look = matches!(ask, Ask::Look(_));
        if self.is_look {
            self.looked = Instant::now();
        }
        self.under_way = Some(Box::pin(ask.of(self.target)));
    }
}

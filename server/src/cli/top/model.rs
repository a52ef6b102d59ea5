//! What the screen shows and where the person is; changed by keys and answers alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use postworks::job::{Queue, Timestamp};

use super::ask::{Answer, Ask, Cause, Wish};
use super::picture::{Picture, Tempo, Totals};
use crate::app::types::{DeadGroupView, GateView, Plan, QueueView};
use crate::cli::breaker;
use crate::cli::failure::Failure;

/// Looks that the curves remember.
const HISTORY_MAX: usize = 400;
/// A look may take so long before anybody is told that it has not ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// Every queue.
    Queues,
    /// Why jobs of one queue died; and the cause that is selected.
    Causes(Queue, Option<String>),
}

/// What a person is asked at the foot of the screen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Prompt {
    /// Which queues to show; what was chosen before, should they leave it.
    Filter { before: String },
    /// Why.
    Reason { wish: Wish, queue: Queue, text: String },
    /// Whether they mean it.
    Confirm { wish: Wish, queue: Queue, reason: Option<String> },
    /// Whether to put back what the plan says; it may not be known yet.
    PutBack { cause: Cause, plan: Option<Plan> },
}

/// What became of the last thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Good(String),
    Bad(String),
}

/// Everything that is drawn.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// Whom it asks, in words.
    pub(super) whom: String,
    pub(super) every: Duration,
    pub(super) now: Timestamp,
    pub(super) picture: Picture,
    /// Why the last look failed, if it did; the picture is an older one.
    pub(super) trouble: Option<String>,
    pub(super) tempo: BTreeMap<Queue, Tempo>,
    /// Due jobs at each look, oldest first.
    pub(super) waiting: VecDeque<u64>,
    /// Runs a second at each look that knew, oldest first.
    pub(super) runs: VecDeque<u64>,
    pub(super) selected: Option<Queue>,
    pub(super) filter: String,
    pub(super) page: Page,
    pub(super) prompt: Option<Prompt>,
    pub(super) explains: bool,
    pub(super) word: Option<Word>,
    /// What the next look is compared with.
    base: Picture,
}

impl Model {
    /// With the first picture, of everything.
    pub(super) fn new(whom: String, every: Duration, first: Picture) -> Self {
        let mut model = Self {
            whom,
            every,
            now: first.at,
            base: first.clone(),
            picture: first,
            trouble: None,
            tempo: BTreeMap::new(),
            waiting: VecDeque::new(),
            runs: VecDeque::new(),
            selected: None,
            filter: String::new(),
            page: Page::Queues,
            prompt: None,
            explains: false,
            word: None,
        };
        model.remember();
        model
    }

    /// What the next look is about.
    pub(super) fn look(&self) -> Ask {
        Ask::Look(match &self.page {
            Page::Queues => None,
            Page::Causes(queue, _) => Some(queue.clone()),
        })
    }

    /// The queues that fit the filter.
    pub(super) fn queues(&self) -> Vec<&QueueView> {
        let fits = |queue: &&QueueView| queue.queue.as_str().contains(&self.filter);
        self.picture.queues.iter().filter(fits).collect()
    }

    /// The selected queue, and its place in the list.
    pub(super) fn queue(&self) -> Option<(usize, &QueueView)> {
        let queues = self.queues();
        let at = queues.iter().position(|queue| Some(&queue.queue) == self.selected.as_ref());
        let at = at.unwrap_or(0);
        queues.get(at).map(|queue| (at, *queue))
    }

    /// The causes that are shown, or nothing while those of this page have not come.
    pub(super) fn causes(&self) -> Option<&[DeadGroupView]> {
        let wanted = match &self.page {
            Page::Queues => None,
            Page::Causes(queue, _) => Some(queue),
        };
        let are_these = self.picture.dead_groups_of.as_ref() == wanted;
        are_these.then_some(self.picture.dead_groups.as_slice())
    }

    /// The selected cause, and its place in the list.
    pub(super) fn cause(&self) -> Option<(usize, &DeadGroupView)> {
        let Page::Causes(_, selected) = &self.page else { return None };
        let causes = self.causes()?;
        let at = causes.iter().position(|cause| Some(&cause.fingerprint) == selected.as_ref());
        let at = at.unwrap_or(0);
        causes.get(at).map(|cause| (at, cause))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals::of(&self.picture)
    }

    /// How old the picture is, if it is older than it should be.
    pub(super) fn stale(&self) -> Option<Duration> {
        let age = self.now.since(self.picture.at);
        (self.trouble.is_some() || age > self.every + PATIENCE).then_some(age)
    }

    /// Takes what came back; says what to ask next.
    pub(super) fn take(&mut self, answer: Answer) -> Option<Ask> {
        match answer {
            Answer::Looked(Ok(picture)) => {
                self.see(picture);
                return None;
            }
            Answer::Looked(Err(failure)) => {
                self.trouble = Some(in_a_line(&failure));
                return None;
            }
            Answer::Held(Ok(gate)) => self.word = Some(Word::Good(told(&gate))),
            Answer::Planned(cause, Ok(planned)) => self.show_plan(&cause, planned.plan),
            Answer::PutBack(Ok(planned)) => {
                let count = planned.plan.runnable;
                self.word = Some(Word::Good(match planned.redrive {
                    None => format!("{count} put back"),
                    Some(redrive) => format!(
                        "{count} are put back in the background: postworks dlq redrive show {}",
                        redrive.id
                    ),
                }));
            }
            Answer::Held(Err(failure)) | Answer::PutBack(Err(failure)) => {
                self.word = Some(Word::Bad(in_a_line(&failure)));
            }
            Answer::Planned(_, Err(failure)) => {
                self.prompt = None;
                self.word = Some(Word::Bad(in_a_line(&failure)));
            }
        }
        Some(self.look())
    }

    /// The person may have turned away meanwhile.
    fn show_plan(&mut self, cause: &Cause, found: Plan) {
        let Some(Prompt::PutBack { cause: asked, plan }) = &mut self.prompt else { return };
        if asked != cause {
            return;
        }
        if found.runnable > 0 {
            *plan = Some(found);
            return;
        }
        self.prompt = None;
        self.word = Some(Word::Bad(format!("nothing to put back: {}", in_words(found))));
    }

    fn see(&mut self, picture: Picture) {
        self.trouble = None;
        self.picture = picture;
        // A look out of turn says too little about a second.
        if self.picture.at.since(self.base.at) >= self.every / 2 {
            self.tempo = Tempo::between(&self.base, &self.picture);
            self.base = self.picture.clone();
            self.remember();
        }
    }

    fn remember(&mut self) {
        let ready = self.totals().ready;
        push(&mut self.waiting, ready);
        if let Some(runs) = Tempo::sum(self.tempo.values()).runs {
            push(&mut self.runs, runs.round() as u64);
        }
    }
}

fn push(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY_MAX {
        history.pop_front();
    }
    history.push_back(value);
}

fn told(gate: &GateView) -> String {
    breaker::summary(gate).replace('\n', "; ")
}

fn in_a_line(failure: &Failure) -> String {
    let advice = failure.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{}{advice}", failure.message).replace('\n', "; ")
}

/// What a plan would do, and what it would leave alone.
pub(super) fn in_words(plan: Plan) -> String {
    let left = [
        (plan.done, "done already"),
        (plan.unknown, "of unknown outcome"),
        (plan.superseded, "superseded"),
    ];
    let left: Vec<String> =
        left.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let paid = plan.cost.map(|cost| format!("; paid posts: {cost}")).unwrap_or_default();
    let all = format!("{} of {}{paid}", plan.runnable, plan.matched);
    if left.is_empty() { all } else { format!("{all} ({})", left.join(", ")) }
}

//! The claimed jobs that wait for a place, and which of them gets the next.
//!
//! Within a queue they go in the order they were claimed. Queues take turns, each within its share,
//! so that what was claimed ahead of a platform that hangs now stands in nobody's way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::run::Run;
use super::shares::Shares;
use crate::job::Queue;

/// Hands out the places of a worker.
pub(super) struct Places {
    shares: Arc<Shares>,
    state: Mutex<State<Arc<Run>>>,
}

struct State<R> {
    waiting: Vec<VecDeque<R>>,
    /// Handed on and not ended.
    running: Vec<usize>,
    /// The queue that is asked first.
    turn: usize,
    waker: Option<Waker>,
}

impl Places {
    pub(super) fn new(shares: Arc<Shares>) -> Arc<Self> {
        let count = shares.len();
        let waiting = std::iter::repeat_with(VecDeque::new).take(count).collect();
        let state = State { waiting, running: vec![0; count], turn: 0, waker: None };
        Arc::new(Self { shares, state: Mutex::new(state) })
    }

    /// Lets admitted jobs wait. The claims bound how many: see `pace`.
    pub(super) fn put(&self, runs: impl IntoIterator<Item = Arc<Run>>) {
        let mut state = self.lock();
        for run in runs {
            let lane = self.shares.at(&run.cx.queue).and_then(|at| state.waiting.get_mut(at));
            match lane {
                Some(lane) => lane.push_back(run),
                // Jobs are claimed from the queues that share the places, and no others.
                None => tracing::error!(job.queue = %run.cx.queue, "claimed from no queue of ours"),
            }
        }
        wake(state);
    }

    /// The next job that a place is free for.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Arc<Run>> {
        let mut state = self.lock();
        match state.next(&self.shares) {
            Some(run) => Poll::Ready(run),
            None => {
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// A job that was handed on ended, and its handler let go.
    pub(super) fn freed(&self, queue: &Queue) {
        let mut state = self.lock();
        let running = self.shares.at(queue).and_then(|at| state.running.get_mut(at));
        if let Some(running) = running {
            *running = running.saturating_sub(1);
        }
        wake(state);
    }

    /// Takes one waiting job back out.
    pub(super) fn take_back(&self) -> Option<Arc<Run>> {
        self.lock().waiting.iter_mut().find_map(VecDeque::pop_front)
    }

    fn lock(&self) -> MutexGuard<'_, State<Arc<Run>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes whoever waits for a job, if there is one; outside the lock.
fn wake(mut state: MutexGuard<'_, State<Arc<Run>>>) {
    let waits = state.waiting.iter().any(|lane| !lane.is_empty());
    let waker = state.waker.take_if(|_| waits);
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<R> State<R> {
    fn next(&mut self, shares: &Shares) -> Option<R> {
        let count = self.waiting.len();
        let at = (0..count).map(|n| (self.turn + n) % count).find(|at| self.may_go(*at, shares))?;
        let run = self.waiting.get_mut(at)?.pop_front()?;
        if let Some(running) = self.running.get_mut(at) {
            *running += 1;
        }
        self.turn = (at + 1) % count;
        Some(run)
    }

    fn may_go(&self, at: usize, shares: &Shares) -> bool {
        let running = |at: usize| self.running.get(at).copied().unwrap_or(0);
        self.waiting.get(at).is_some_and(|lane| !lane.is_empty())
            && running(at) < shares.limit(at, running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const QUEUES: usize = 5;

    #[derive(Debug, Clone)]
    enum Step {
        Put(usize, u32),
        Free(usize),
        Next(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..QUEUES, 1..30_u32).prop_map(|(at, jobs)| Step::Put(at, jobs)),
            (0..QUEUES).prop_map(Step::Free),
            (1..12_usize).prop_map(Step::Next),
        ]
    }

    proptest! {
        /// However much one queue has, the others that may have a place come in between.
        #[test]
        fn a_queue_that_may_have_a_place_is_passed_over_by_each_other_once_at_most(
            places in 1..30_usize, slots in prop::collection::hash_map(0..QUEUES, 1..9_usize, 0..3),
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let queues: Vec<Queue> =
                (0..QUEUES).map(|n| Queue::parse(&format!("kind_{n}")).unwrap()).collect();
            let slots = slots.into_iter().map(|(at, slots)| (queues[at].clone(), slots)).collect();
            let shares = Shares::new(places, &queues, &slots);
            let waiting = vec![VecDeque::new(); QUEUES];
            let mut state = State { waiting, running: vec![0; QUEUES], turn: 0, waker: None };
            let (mut put, mut taken) = (0, vec![0; QUEUES]);
            // The others that got a place since a queue could have had one.
            let mut passed: HashMap<usize, HashSet<usize>> = HashMap::new();
            for step in steps {
                let wanted = match step {
                    Step::Put(at, jobs) => {
                        state.waiting[at].extend((put..put + jobs).map(|job| (at, job)));
                        put += jobs;
                        0
                    }
                    Step::Free(at) => {
                        state.running[at] = state.running[at].saturating_sub(1);
                        0
                    }
                    Step::Next(times) => times,
                };
                for _ in 0..wanted {
                    let may: Vec<usize> = (0..QUEUES).filter(|at| state.may_go(*at, &shares)).collect();
                    passed.retain(|at, _| may.contains(at));
                    let Some((at, job)) = state.next(&shares) else {
                        prop_assert!(may.is_empty(), "{may:?} may have a place");
                        break;
                    };
                    prop_assert!(may.contains(&at) && job >= taken[at], "not in order");
                    taken[at] = job;
                    passed.remove(&at);
                    for other in may.into_iter().filter(|other| *other != at) {
                        let news = passed.entry(other).or_default().insert(at);
                        prop_assert!(news, "{at} came twice before {other}");
                    }
                }
                prop_assert!(state.running.iter().sum::<usize>() <= places);
            }
        }
    }
}

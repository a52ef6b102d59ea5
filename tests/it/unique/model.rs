//! What unique keys and debounces promise, said as simply as possible.

use postworks::job::{JobId, NewJob, State, Timestamp, Token, Uniqueness};
use postworks::ledger::Recorded;

/// A job, as the rules have it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) key: String,
    pub(super) uniqueness: Uniqueness,
    pub(super) state: State,
    /// Once a run has begun.
    pub(super) token: Option<Token>,
    pub(super) settled: bool,
    pub(super) args: String,
    pub(super) run_at: Timestamp,
    /// The requests whose jobs would have had these ids are in the arguments.
    replaced_by: Vec<JobId>,
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) jobs: Vec<Job>,
}

impl Job {
    pub(super) fn live(&self) -> bool {
        !self.state.has_ended()
    }

    /// Whether nobody else may have the key.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        match self.uniqueness {
            Uniqueness::UntilEnded => self.live(),
            Uniqueness::UntilStarted | Uniqueness::Debounced { .. } => {
                self.live() && self.token.is_none()
            }
            Uniqueness::For { until } => {
                self.live() || self.state == State::Completed && now < until
            }
        }
    }

    fn is_startable(&self) -> bool {
        self.uniqueness.ends_at_start()
    }
}

impl Model {
    pub(super) fn holder(&self, key: &str, now: Timestamp) -> Option<usize> {
        self.jobs.iter().position(|job| job.key == key && job.holds(now))
    }

    pub(super) fn enqueue(&mut self, job: &NewJob) -> Recorded {
        if self.jobs.iter().any(|known| known.id == job.id) {
            return Recorded::Created;
        }
        let debounced = matches!(job.uniqueness, Uniqueness::Debounced { .. });
        if let Some(known) = self.jobs.iter().find(|known| known.replaced_by.contains(&job.id)) {
            return Recorded::Replaced(known.id);
        }
        let key = job.unique_key.clone().unwrap();
        let Some(holder) = self.holder(&key, job.created_at) else {
            self.jobs.push(Job {
                id: job.id,
                key,
                uniqueness: job.uniqueness,
                state: State::Ready,
                token: None,
                settled: false,
                args: job.args.clone(),
                run_at: job.run_at,
                replaced_by: Vec::new(),
            });
            return Recorded::Created;
        };
        let holder = &mut self.jobs[holder];
        if !debounced || !holder.is_startable() {
            return Recorded::Existing(holder.id);
        }
        holder.args.clone_from(&job.args);
        holder.replaced_by.push(job.id);
        if let Uniqueness::Debounced { until } = holder.uniqueness {
            holder.run_at = holder.run_at.max(job.run_at.min(until));
        }
        Recorded::Replaced(holder.id)
    }

    /// Whether the claim has the job now; then its run has begun.
    pub(super) fn stamp(&mut self, at: usize, token: Token, now: Timestamp) -> bool {
        let job = &mut self.jobs[at];
        let may = job.state == State::Ready && job.run_at <= now;
        if may && job.token < Some(token) {
            (job.token, job.settled) = (Some(token), false);
        }
        job.state == State::Ready && job.token == Some(token) && !job.settled
    }

    /// The verdict of a claim that has the job.
    pub(super) fn settle(&mut self, at: usize, state: State, run_at: Option<Timestamp>) {
        let job = &mut self.jobs[at];
        (job.state, job.settled) = (state, true);
        job.run_at = run_at.unwrap_or(job.run_at);
    }

    /// Puts a dead job back, unless another holds its key.
    pub(super) fn redrive(&mut self, at: usize, now: Timestamp) -> bool {
        if self.holder(&self.jobs[at].key, now).is_some() {
            return false;
        }
        let job = &mut self.jobs[at];
        (job.state, job.run_at) = (State::Ready, now);
        true
    }
}

//! Random stories of a few keys, told to a ledger and to the model: whatever is asked for, starts, ends,
//! crashes, is repeated and put back in whatever order, both must agree.

use std::time::Duration;

use postworks::job::{Category, JobId, NewJob, Reason, State, Timestamp, Token, Uniqueness};
use postworks::ledger::{
    DeadFilter, Ledger, Next, PutBack, Recorded, Settled, SqlLedger, Standing, Unpark, Verdict,
};
use postworks::testing::ledger::{NOW, unique};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::model::Model;
use crate::stories::{live_through, on_postgresql, on_sqlite};

/// How a request wants its key held; times in seconds.
#[derive(Debug, Clone, Copy)]
enum How {
    UntilEnded,
    UntilStarted,
    Debounced { wait: u64, longest: u64 },
    For(u64),
}

/// One thing that happens. A number picks one of the jobs there are.
#[derive(Debug, Clone)]
enum Event {
    /// One call of so many jobs: key and how.
    Enqueue(Vec<(u8, How)>),
    /// The answer to the call so many calls ago got lost: it comes again, perhaps together with
    /// somebody else's new request.
    Repeat(usize, Option<(u8, How)>),
    /// A worker takes the job: it has a greater token than all before it.
    Stamp(usize),
    /// The verdict of whoever has it.
    Complete(usize),
    Retry(usize),
    Die(usize),
    Park(usize),
    /// Its worker vanished; another takes it up.
    Crash(usize),
    Cancel(usize),
    Redrive(usize),
    Release,
    Wait(u64),
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        1 => Just(How::UntilEnded),
        2 => Just(How::UntilStarted),
        5 => (1_u64..20, 0_u64..40)
            .prop_map(|(wait, more)| How::Debounced { wait, longest: wait + more }),
        2 => (1_u64..60).prop_map(How::For),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let pick = || 0_usize..12;
    prop_oneof![
        8 => prop::collection::vec((0_u8..2, how()), 1..4).prop_map(Event::Enqueue),
        2 => (0_usize..4, prop::option::of((0_u8..2, how())))
            .prop_map(|(ago, new)| Event::Repeat(ago, new)),
        6 => pick().prop_map(Event::Stamp),
        3 => pick().prop_map(Event::Complete),
        2 => pick().prop_map(Event::Retry),
        2 => pick().prop_map(Event::Die),
        1 => pick().prop_map(Event::Park),
        2 => pick().prop_map(Event::Crash),
        1 => pick().prop_map(Event::Cancel),
        2 => pick().prop_map(Event::Redrive),
        1 => Just(Event::Release),
        4 => (1_u64..30).prop_map(Event::Wait),
    ]
}

/// A request that was accepted, and who was to do it.
struct Accepted {
    args: u64,
    by: JobId,
}

/// A story under way.
struct Story<'a> {
    ledger: &'a SqlLedger,
    model: Model,
    now: Timestamp,
    /// Counts requests: their arguments.
    requests: u64,
    tokens: u64,
    calls: Vec<Vec<NewJob>>,
    accepted: Vec<Accepted>,
    /// Runs that began: of which job, with which request's arguments.
    began: Vec<(JobId, u64)>,
    prefix: String,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn number(args: &str) -> u64 {
    let args: serde_json::Value = serde_json::from_str(args).unwrap();
    args["request"].as_u64().unwrap()
}

impl Story<'_> {
    fn request(&mut self, key: u8, how: How) -> NewJob {
        self.requests += 1;
        let now = self.now;
        let (uniqueness, run_at) = match how {
            How::UntilEnded => (Uniqueness::UntilEnded, now),
            How::UntilStarted => (Uniqueness::UntilStarted, now),
            How::Debounced { wait, longest } => {
                let until = now.after(seconds(longest));
                (Uniqueness::Debounced { until }, now.after(seconds(wait)))
            }
            How::For(period) => (Uniqueness::For { until: now.after(seconds(period)) }, now),
        };
        let args = format!(r#"{{"request":{}}}"#, self.requests);
        let job = unique(&format!("{}{key}", self.prefix));
        NewJob {
            uniqueness,
            run_at,
            created_at: now,
            args,
            expires_at: now.after(seconds(9_999)),
            ..job
        }
    }

    fn is_accepted(&self, job: &NewJob) -> bool {
        self.accepted.iter().any(|accepted| accepted.args == number(&job.args))
    }

    async fn call(&mut self, jobs: Vec<NewJob>) {
        let expected: Vec<Recorded> = jobs.iter().map(|job| self.model.enqueue(job)).collect();
        let answers = self.ledger.enqueue(&jobs).await.unwrap();
        assert_eq!(answers, expected, "{jobs:#?}");
        for (job, answer) in jobs.iter().zip(answers) {
            let by = match answer {
                Recorded::Created | Recorded::Waits => job.id,
                Recorded::Replaced(by) => by,
                Recorded::Existing(_) => continue,
            };
            if !self.is_accepted(job) {
                self.accepted.push(Accepted { args: number(&job.args), by });
            }
        }
        self.calls.push(jobs);
    }

    /// A worker takes a job up.
    async fn stamp(&mut self, at: usize) {
        self.tokens += 1;
        let token = Token { generation: 1, sequence: self.tokens };
        let (id, held) = (self.model.jobs[at].id, self.model.jobs[at].token);
        let standing = self.ledger.stamp(&[(id, token)], self.now).await.unwrap().remove(0);
        let mine = self.model.stamp(at, token, self.now);
        assert_eq!(matches!(standing, Standing::Yours { .. }), mine, "{standing:?}");
        if let Standing::Yours { edit, .. } = standing {
            let job = &self.model.jobs[at];
            if let Some(edit) = edit {
                assert_eq!(edit.args, job.args);
            } else {
                let made = self.ledger.job(id).await.unwrap().unwrap();
                assert_eq!(made.job.args, job.args);
            }
            if held.is_none() {
                self.began.push((id, number(&job.args)));
            }
        }
    }

    /// The verdict of whoever has a job, if anybody has.
    async fn settle(&mut self, at: usize, then: Next, state: State, run_at: Option<Timestamp>) {
        let job = &self.model.jobs[at];
        let Some(token) = job.token.filter(|_| job.live() && !job.settled) else { return };
        let verdict = Verdict { id: job.id, token, then, failed: None };
        assert_eq!(self.ledger.settle(&[verdict]).await.unwrap(), [Settled::Done]);
        self.model.settle(at, state, run_at);
    }

    async fn redrive(&mut self, at: usize) {
        let id = self.model.jobs[at].id;
        if self.model.jobs[at].state != State::Dead {
            return;
        }
        let now = self.now;
        let how =
            PutBack { now, renewed_for: seconds(9_999), note: None, redrive: None, edited: None };
        let one = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
        let back = self.ledger.redrive(&one, how).await.unwrap();
        let put_back = self.model.redrive(at, now);
        assert_eq!(
            (back.jobs.len(), back.superseded.len()),
            (usize::from(put_back), usize::from(!put_back))
        );
    }

    async fn tell(&mut self, event: Event) {
        let now = self.now;
        let pick = |n: usize, model: &Model| n.checked_rem(model.jobs.len());
        let reason =
            Reason { category: Category::Bug, class: "bug".into(), message: "broke".into() };
        match event {
            Event::Enqueue(asked) => {
                let jobs = asked.into_iter().map(|(key, how)| self.request(key, how)).collect();
                self.call(jobs).await;
            }
            Event::Repeat(ago, new) => {
                let Some(mut jobs) = self.calls.iter().rev().nth(ago).cloned() else { return };
                // Of what was answered with another's job nothing is remembered.
                jobs.retain(|job| self.is_accepted(job));
                let new = new.map(|(key, how)| self.request(key, how));
                jobs.extend(new.filter(|job| job.uniqueness.ends_at_start()));
                self.call(jobs).await;
            }
            Event::Wait(time) => self.now = now.after(seconds(time)),
            Event::Release => {
                self.ledger.unpark(Unpark::Due, now).await.unwrap();
                for job in &mut self.model.jobs {
                    if job.state == State::Parked && job.run_at <= now {
                        job.state = State::Ready;
                    }
                }
            }
            Event::Stamp(n) | Event::Crash(n) => {
                let crash = matches!(event, Event::Crash(_));
                let Some(at) = pick(n, &self.model) else { return };
                let job = &self.model.jobs[at];
                if let Some(token) = job.token.filter(|_| crash) {
                    self.ledger.crashed(&[(job.id, token)]).await.unwrap();
                }
                self.stamp(at).await;
            }
            Event::Complete(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                self.settle(at, Next::Completed { at: now }, State::Completed, None).await;
            }
            Event::Retry(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                let then = Next::Waits { until: now, failed_attempts: 1 };
                self.settle(at, then, State::Ready, Some(now)).await;
            }
            Event::Die(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                let then = Next::Dead { at: now, reason, failed_attempts: 1, job: None };
                self.settle(at, then, State::Dead, None).await;
            }
            Event::Park(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                let then = Next::Parked { until: now, why: "newer_worker", kept_until: None };
                self.settle(at, then, State::Parked, Some(now)).await;
            }
            Event::Cancel(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                self.ledger.cancel(self.model.jobs[at].id, now, None).await.unwrap();
                if self.model.jobs[at].live() {
                    self.model.jobs[at].state = State::Cancelled;
                }
            }
            Event::Redrive(n) => {
                let Some(at) = pick(n, &self.model) else { return };
                self.redrive(at).await;
            }
        }
    }

    /// The record is as the model has it, and nobody shares a key.
    async fn agree(&self) {
        for job in &self.model.jobs {
            let row = self.ledger.job(job.id).await.unwrap().unwrap();
            let is = (row.state, &row.job.args, row.job.run_at, row.job.unique_key.as_ref());
            assert_eq!(is, (job.state, &job.args, job.run_at, Some(&job.key)), "{job:?}");
        }
        for key in ["0", "1"].map(|key| format!("{}{key}", self.prefix)) {
            let holds = |job: &&super::model::Job| job.key == key && job.holds(self.now);
            assert!(self.model.jobs.iter().filter(holds).count() <= 1, "{:#?}", self.model);
        }
    }

    /// Everything that waits is started, all ends, and the keys are free.
    async fn end(mut self) {
        self.tell(Event::Release).await;
        self.now = self.now.after(seconds(1_000));
        for at in 0..self.model.jobs.len() {
            if self.model.jobs[at].live() {
                self.stamp(at).await;
                self.tell(Event::Complete(at)).await;
            }
        }
        self.agree().await;
        for Accepted { args, by } in &self.accepted {
            let job = self.model.jobs.iter().find(|job| job.id == *by).unwrap();
            let ran = self.began.iter().any(|(id, with)| id == by && with >= args);
            let ended_by_a_person = job.state == State::Cancelled && job.token.is_none();
            assert!(ran || ended_by_a_person, "request {args} was lost: {:#?}", self.model);
        }
        for key in [0, 1] {
            let last = self.request(key, How::UntilEnded);
            self.call(vec![last.clone()]).await;
            assert_eq!(self.model.jobs.last().unwrap().id, last.id, "the key is free");
            self.ledger.cancel(last.id, self.now, None).await.unwrap();
        }
    }
}

async fn story(ledger: &SqlLedger, events: Vec<Event>) {
    let mut story = Story {
        ledger,
        model: Model::default(),
        now: NOW,
        requests: 0,
        tokens: 0,
        calls: Vec::new(),
        accepted: Vec::new(),
        began: Vec::new(),
        prefix: format!("{}/", uuid::Uuid::now_v7()),
    };
    for event in events {
        story.tell(event).await;
        story.agree().await;
    }
    story.end().await;
}

fn stories(ledger: &SqlLedger, runtime: &Runtime) {
    live_through(80, prop::collection::vec(event(), 1..40), |events| {
        runtime.block_on(story(ledger, events));
    });
}

#[test]
fn sqlite_holds_keys_as_the_model_does_whatever_happens() {
    on_sqlite(stories);
}

#[test]
fn postgresql_holds_keys_as_the_model_does_whatever_happens() {
    on_postgresql(stories);
}

//! Stand-ins for the stores, just enough for the API's shapes; the real ones have suites of
//! their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::{self, Broker, Claimed, Depth, Lease, Place, Push, Pushed, Reap, Removed};
use postworks::job::{Category, FieldError, JobId, Kind, NewJob, Queue, Reason, State, Timestamp};
use postworks::job::{Token, WorkerId};
use postworks::ledger::{
    self, Cancel, DeadCount, DeadFilter, DeadLetter, FailedAttempt, JobFilter,
};
use postworks::ledger::{JobRow, Ledger, Prune, Recorded, Redriven, Standing, Unpark, Verdict};
use postworks_server::app::product::{Error, NewConnector, Product, Slice, Unrouted};
use postworks_server::app::types::{Accepted, Connector, Post, Publication};
use uuid::Uuid;

/// Knows one platform and one account on it.
pub(crate) const CONNECTOR: Uuid = Uuid::from_u128(0x0198_f3a0_0000_7000_8000_0000_0000_0001);

#[derive(Default)]
pub(crate) struct FakeLedger {
    pub(crate) rows: Mutex<BTreeMap<JobId, JobRow>>,
    pub(crate) down: AtomicBool,
}

impl FakeLedger {
    fn up(&self) -> Result<(), ledger::Error> {
        if self.down.load(Ordering::SeqCst) {
            return Err(ledger::Error::Unavailable(sqlx::Error::PoolTimedOut));
        }
        Ok(())
    }

    pub(crate) fn kill(&self, id: JobId, category: Category) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&id).unwrap();
        row.state = State::Dead;
        row.finished_at = Some(row.job.created_at);
        row.reason = Some(Reason { category, class: "invalid".into(), message: "no".into() });
    }

    pub(crate) fn complete(&self, id: JobId) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&id).unwrap();
        row.state = State::Completed;
        row.finished_at = Some(row.job.created_at);
    }
}

fn letter(row: &JobRow) -> Option<DeadLetter> {
    Some(DeadLetter {
        id: row.job.id,
        kind: row.job.kind.clone(),
        queue: row.job.queue.clone(),
        reason: row.reason.clone()?,
        fingerprint: "f".into(),
        attempts: 1,
        created_at: row.job.created_at,
        died_at: row.finished_at?,
    })
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Recorded>, ledger::Error> {
        self.up()?;
        let mut rows = self.rows.lock().unwrap();
        let mut answers = Vec::new();
        for job in jobs {
            let twin = rows.values().find(|row| {
                let same = row.job.kind == job.kind && row.job.unique_key == job.unique_key;
                job.unique_key.is_some() && same && !row.state.has_ended()
            });
            if let Some(twin) = twin {
                answers.push(Recorded::Existing(twin.job.id));
                continue;
            }
            let (job, state) = (job.clone(), State::Ready);
            let row = JobRow { job, state, finished_at: None, reason: None, parked_for: None };
            rows.insert(row.job.id, row);
            answers.push(Recorded::Created);
        }
        Ok(answers)
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, ledger::Error> {
        self.up()?;
        Ok(self.rows.lock().unwrap().get(&id).cloned())
    }

    async fn attempts(&self, _: JobId) -> Result<Vec<FailedAttempt>, ledger::Error> {
        Ok(Vec::new())
    }

    async fn jobs(&self, filter: &JobFilter, now: Timestamp) -> Result<Vec<JobRow>, ledger::Error> {
        self.up()?;
        let fits = |row: &&JobRow| {
            let delayed = row.state == State::Ready && row.job.run_at > now;
            let state = if delayed { State::Delayed } else { row.state };
            filter.state.is_none_or(|wanted| wanted == state)
                && filter.kind.as_ref().is_none_or(|kind| *kind == row.job.kind)
                && filter.queue.as_ref().is_none_or(|queue| *queue == row.job.queue)
                && filter.before.is_none_or(|before| row.job.id < before)
        };
        let limit = usize::try_from(filter.limit).unwrap();
        Ok(self.rows.lock().unwrap().values().rev().filter(fits).take(limit).cloned().collect())
    }

    async fn cancel(&self, id: JobId, now: Timestamp) -> Result<Cancel, ledger::Error> {
        self.up()?;
        let mut rows = self.rows.lock().unwrap();
        let Some(row) = rows.get_mut(&id) else { return Ok(Cancel::Unknown) };
        if row.state.has_ended() {
            return Ok(Cancel::Ended(row.state));
        }
        row.state = State::Cancelled;
        row.finished_at = Some(now);
        Ok(Cancel::Marked { queue: row.job.queue.clone() })
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, ledger::Error> {
        self.up()?;
        let fits = |letter: &DeadLetter| {
            (filter.ids.is_empty() || filter.ids.contains(&letter.id))
                && filter.category.is_none_or(|category| category == letter.reason.category)
                && filter.before.is_none_or(|before| letter.id < before)
        };
        let limit = usize::try_from(filter.limit).unwrap();
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().rev().filter_map(letter).filter(fits).take(limit).collect())
    }

    async fn dead_counts(&self) -> Result<Vec<DeadCount>, ledger::Error> {
        self.up()?;
        let rows = self.rows.lock().unwrap();
        let letters = rows.values().filter_map(letter);
        let count =
            |l: DeadLetter| DeadCount { queue: l.queue, category: l.reason.category, count: 1 };
        Ok(letters.map(count).collect())
    }

    async fn redrive(
        &self,
        filter: &DeadFilter,
        _: Timestamp,
        _: Duration,
    ) -> Result<Redriven, ledger::Error> {
        let mut rows = self.rows.lock().unwrap();
        let mut redriven = Redriven::default();
        for id in &filter.ids {
            let row = rows.get_mut(id).unwrap();
            row.state = State::Ready;
            row.reason = None;
            redriven.jobs.push(row.job.clone());
        }
        Ok(redriven)
    }

    async fn check(&self) -> Result<(), ledger::Error> {
        self.up()
    }

    async fn settle(&self, _: &[Verdict]) -> Result<Vec<ledger::Settled>, ledger::Error> {
        unimplemented!("only workers settle")
    }

    async fn stamp(
        &self,
        _: &[(JobId, Token)],
        _: Timestamp,
    ) -> Result<Vec<Standing>, ledger::Error> {
        unimplemented!("only workers stamp")
    }

    async fn open_jobs(
        &self,
        _: Option<JobId>,
        _: Timestamp,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<NewJob>, ledger::Error> {
        unimplemented!("only the relay asks")
    }

    async fn unpark(&self, _: Unpark, _: Timestamp) -> Result<u64, ledger::Error> {
        unimplemented!("only chores unpark")
    }

    async fn next_generation(&self, _: &Queue, _: Option<u32>) -> Result<u32, ledger::Error> {
        unimplemented!("only the reconciler asks")
    }

    async fn prune(&self, _: Prune, _: Timestamp, _: u32, _: bool) -> Result<u64, ledger::Error> {
        unimplemented!("only the cleanup prunes")
    }
}

#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) places: Mutex<HashMap<JobId, Place>>,
    pub(crate) down: AtomicBool,
}

impl FakeBroker {
    fn up(&self) -> Result<(), broker::Error> {
        if self.down.load(Ordering::SeqCst) {
            return Err(broker::Error::Unavailable("down".into()));
        }
        Ok(())
    }

    pub(crate) fn run(&self, id: JobId) {
        let worker = WorkerId::from_text("host:1:abc");
        self.places.lock().unwrap().insert(id, Place::Running(worker));
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn push(&self, _: &Queue, jobs: &[Push]) -> Result<Vec<Pushed>, broker::Error> {
        self.up()?;
        let mut places = self.places.lock().unwrap();
        places.extend(jobs.iter().map(|push| (push.envelope.id, Place::Ready)));
        Ok(vec![Pushed::Added; jobs.len()])
    }

    async fn remove(&self, _: &Queue, id: JobId) -> Result<Removed, broker::Error> {
        self.up()?;
        let mut places = self.places.lock().unwrap();
        match places.get(&id) {
            None => Ok(Removed::Absent),
            Some(Place::Running(_)) => Ok(Removed::Running),
            Some(_) => {
                places.remove(&id);
                Ok(Removed::Removed)
            }
        }
    }

    async fn find(&self, _: &Queue, ids: &[JobId]) -> Result<Vec<Option<Place>>, broker::Error> {
        self.up()?;
        let places = self.places.lock().unwrap();
        Ok(ids.iter().map(|id| places.get(id).cloned()).collect())
    }

    async fn depth(&self, queues: &[Queue]) -> Result<Vec<Depth>, broker::Error> {
        self.up()?;
        Ok(vec![Depth { ready: 1, ..Depth::default() }; queues.len()])
    }

    async fn ping(&self) -> Result<(), broker::Error> {
        self.up()
    }

    async fn claim(
        &self,
        _: &Queue,
        _: &WorkerId,
        _: usize,
        _: Duration,
    ) -> Result<Claimed, broker::Error> {
        unimplemented!("only workers claim")
    }

    async fn settle(
        &self,
        _: &Queue,
        _: &[broker::Settlement],
    ) -> Result<Vec<broker::Settled>, broker::Error> {
        unimplemented!("only workers settle")
    }

    async fn renew(&self, _: &Queue, _: &[Lease], _: Duration) -> Result<Vec<bool>, broker::Error> {
        unimplemented!("only workers renew")
    }

    async fn reap(&self, _: &Queue, _: Reap<'_>) -> Result<Vec<JobId>, broker::Error> {
        unimplemented!("only the reaper reaps")
    }

    async fn open(&self, _: &Queue, _: u32) -> Result<(), broker::Error> {
        unimplemented!("only the reconciler opens")
    }

    async fn wait(&self, _: &[Queue], _: Duration) -> Result<(), broker::Error> {
        unimplemented!("only workers wait")
    }

    async fn connected(&self) -> Result<HashSet<WorkerId>, broker::Error> {
        unimplemented!("only the reaper asks")
    }

    async fn dedicated(&self) -> Result<Arc<dyn Broker>, broker::Error> {
        unimplemented!("only workers need their own")
    }
}

/// One account, [`CONNECTOR`], on one platform; posts in memory.
#[derive(Default)]
pub(crate) struct FakeProduct {
    posts: Mutex<Vec<Post>>,
}

#[async_trait]
impl Product for FakeProduct {
    fn queues(&self) -> Vec<(Queue, Kind)> {
        let queue = Queue::parse("connector_sync.sandbox").unwrap();
        vec![(queue, Kind::parse("connector_sync").unwrap())]
    }

    async fn route(&self, jobs: &mut [NewJob]) -> Result<Vec<Unrouted>, Error> {
        let mut unrouted = Vec::new();
        for (at, job) in jobs.iter_mut().enumerate() {
            match job.account {
                Some(CONNECTOR) => {
                    job.queue = Queue::of_platform(&job.kind, "sandbox").unwrap();
                }
                Some(_) => {
                    let fault = FieldError::new("/args/connector_id", "there is no such connector");
                    unrouted.push(Unrouted { at, fault });
                }
                None => {}
            }
        }
        Ok(unrouted)
    }

    async fn add_connector(&self, connector: NewConnector) -> Result<Uuid, Error> {
        if connector.platform != "sandbox" {
            let fault = FieldError::new("/platform", "there is no such platform");
            return Err(Error::Invalid(vec![fault]));
        }
        Ok(CONNECTOR)
    }

    async fn connectors(&self, _: Slice) -> Result<Vec<Connector>, Error> {
        Ok(Vec::new())
    }

    async fn add_post(&self, text: &str) -> Result<Uuid, Error> {
        let mut posts = self.posts.lock().unwrap();
        let id = Uuid::from_u128(u128::try_from(posts.len()).unwrap() + 1);
        posts.push(Post { id, text: text.to_owned(), created_at: Timestamp::from_millis(0) });
        Ok(id)
    }

    async fn posts(&self, slice: Slice) -> Result<Vec<Post>, Error> {
        let posts = self.posts.lock().unwrap();
        let older = posts.iter().rev().filter(|post| slice.before.is_none_or(|id| post.id < id));
        Ok(older.take(usize::try_from(slice.limit).unwrap()).cloned().collect())
    }

    async fn publish(
        &self,
        post: Uuid,
        connectors: &[Uuid],
        _: Option<Timestamp>,
    ) -> Result<Vec<Accepted>, Error> {
        let accept = |connector: &Uuid| Accepted {
            id: post,
            connector_id: *connector,
            job_id: JobId::from_uuid(Uuid::nil()),
        };
        Ok(connectors.iter().map(accept).collect())
    }

    async fn publication(&self, _: Uuid) -> Result<Option<Publication>, Error> {
        Ok(None)
    }
}

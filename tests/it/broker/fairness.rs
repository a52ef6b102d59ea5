//! A priority is a head start and no more: nobody waits for those whose turn comes later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::broker::{Broker, Lease, Push, Settlement, Then};
use postworks::clock::{Clock, ShiftedClock};
use postworks::job::{JobId, PRIORITY_S_MAX, Queue, Timestamp};
use postworks::testing::broker::{LEASE, envelope, fresh, queue, redis_broker, worker};
use postworks::testing::redis_server::RedisServer;
use proptest::prelude::*;

/// Jobs fall due at whole ticks, and are claimed in the middle of one.
const TICK: Duration = Duration::from_secs(60);
const PRIORITY_TICKS_MAX: u32 = 60;

#[derive(Debug, Clone)]
enum Step {
    Advance(u32),
    /// Jobs, each due after so many ticks and with a head start of so many.
    Push(Vec<(u32, u32)>),
    /// How many to claim, and which of them are given back as they were.
    Claim(usize, Vec<bool>),
}

/// Few enough jobs that one claim looks at all that fell due.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let head_start =
        prop_oneof![2 => Just(0), 1 => 1..=PRIORITY_TICKS_MAX, 1 => Just(PRIORITY_TICKS_MAX)];
    let jobs = prop::collection::vec((0..5_u32, head_start), 0..5);
    let claim = (0..8_usize, prop::collection::vec(prop::bool::weighted(0.1), 8));
    let step = prop_oneof![
        2 => (0..40_u32).prop_map(Step::Advance),
        3 => jobs.prop_map(Step::Push),
        3 => claim.prop_map(|(limit, back)| Step::Claim(limit, back)),
    ];
    prop::collection::vec(step, 1..40)
}

/// A job that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: Timestamp,
    priority_s: u32,
    /// How many were claimed when it fell due, or was pushed if that was later.
    claimed_before: Option<usize>,
}

impl Waiting {
    /// Its place among those that are due.
    fn place(self, id: JobId) -> (i64, JobId) {
        (self.due.as_millis() - i64::from(self.priority_s) * 1_000, id)
    }
}

struct Story<'a> {
    broker: &'a dyn Broker,
    clock: &'a ShiftedClock,
    queue: Queue,
    start: Timestamp,
    waiting: HashMap<JobId, Waiting>,
    claimed: usize,
    /// The places of all jobs ever pushed.
    places: BTreeSet<(i64, JobId)>,
    given_back: usize,
}

impl Story<'_> {
    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Advance(ticks) => self.clock.advance(TICK * *ticks),
            Step::Push(jobs) => self.push(jobs).await,
            Step::Claim(limit, back) => self.claim(*limit, back).await?,
        }
        Ok(())
    }

    /// The present tick's begin.
    fn now(&self) -> Timestamp {
        let ticks = self.clock.now().since(self.start).as_secs() / TICK.as_secs();
        self.start.after(TICK * u32::try_from(ticks).unwrap())
    }

    async fn push(&mut self, jobs: &[(u32, u32)]) {
        let tick = u32::try_from(TICK.as_secs()).unwrap();
        let jobs: Vec<Push> = jobs
            .iter()
            .map(|(due_in, head_start)| {
                let due = self.now().after(TICK * *due_in);
                fresh(envelope(due, head_start * tick), self.clock.now())
            })
            .collect();
        self.broker.push(&self.queue, &jobs).await.unwrap();
        for Push { envelope, .. } in jobs {
            let (due, priority_s) = (envelope.run_at, envelope.priority_s);
            let job = Waiting { due, priority_s, claimed_before: None };
            self.places.insert(job.place(envelope.id));
            self.waiting.insert(envelope.id, job);
        }
    }

    async fn claim(&mut self, limit: usize, back: &[bool]) -> Result<(), TestCaseError> {
        let (now, claimed) = (self.now(), self.claimed);
        let mut due = BTreeMap::new();
        for (id, job) in self.waiting.iter_mut().filter(|(_, job)| job.due <= now) {
            job.claimed_before.get_or_insert(claimed);
            due.insert(job.place(*id), *job);
        }
        let got = self.broker.claim(&self.queue, &worker("a"), limit, LEASE).await.unwrap();
        let leases: Vec<Lease> = got.deliveries.into_iter().map(|one| one.lease).collect();
        let ids: Vec<JobId> = leases.iter().map(|lease| lease.id).collect();
        let expected: Vec<JobId> = due.keys().take(limit).map(|(_, id)| *id).collect();
        prop_assert_eq!(&ids, &expected, "those whose turn comes first, and as many as there are");
        for id in &ids {
            let job = due.values().zip(due.keys()).find(|(_, (_, other))| other == id).unwrap().0;
            self.nobody_waited_longer_than_a_head_start(*id, *job, &due)?;
            // Whoever was claimed while it waited had an earlier turn.
            let meanwhile = self.claimed - job.claimed_before.unwrap();
            let earlier = self.places.range(..job.place(*id)).count();
            prop_assert!(meanwhile <= earlier + self.given_back, "{meanwhile} overtook {job:?}");
            self.claimed += 1;
        }
        let settle = |(lease, back): (&Lease, &bool)| {
            let then = if *back { Then::Back } else { Then::Gone };
            Settlement { lease: lease.clone(), then }
        };
        let settled: Vec<Settlement> = leases.iter().zip(back).map(settle).collect();
        self.broker.settle(&self.queue, &settled).await.unwrap();
        for (id, back) in ids.iter().zip(back) {
            if !*back {
                self.waiting.remove(id);
            } else if let Some(job) = self.waiting.get_mut(id) {
                // It waits anew.
                (job.claimed_before, self.given_back) = (None, self.given_back + 1);
            }
        }
        Ok(())
    }

    /// Who is due later than another that still waits is so by less than what it has more of a
    /// head start.
    fn nobody_waited_longer_than_a_head_start(
        &self,
        id: JobId,
        job: Waiting,
        due: &BTreeMap<(i64, JobId), Waiting>,
    ) -> Result<(), TestCaseError> {
        for (_, other) in due.range(job.place(id)..) {
            let more = u64::from(job.priority_s.saturating_sub(other.priority_s));
            let later = job.due.since(other.due);
            prop_assert!(later <= Duration::from_secs(more), "{job:?} overtook {other:?}");
            prop_assert!(later <= Duration::from_secs(PRIORITY_S_MAX.into()));
        }
        Ok(())
    }
}

fn stories(cases: u32, broker: impl Fn(&Arc<ShiftedClock>) -> Box<dyn Broker>) {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in steps())| {
        let clock = Arc::new(ShiftedClock::default());
        let number = CASE.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(async {
            let broker = broker(&clock);
            let mut story = Story {
                broker: broker.as_ref(),
                clock: &clock,
                queue: queue(&format!("connector_sync.story{number}")),
                start: clock.now().before(TICK / 2),
                waiting: HashMap::new(),
                claimed: 0,
                places: BTreeSet::new(),
                given_back: 0,
            };
            broker.open(&story.queue, 1).await.unwrap();
            for step in &steps {
                story.take(step).await?;
            }
            // In the end nobody is left.
            clock.advance(TICK * 5);
            while !story.waiting.is_empty() {
                story.claim(7, &[false; 7]).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    });
}

#[test]
fn nobody_is_overtaken_by_more_than_a_head_start() {
    stories(400, |clock| Box::new(MemoryBroker::new(Arc::clone(clock) as _)));
}

#[test]
fn nobody_is_overtaken_by_more_than_a_head_start_in_redis() {
    let server = RedisServer::start();
    stories(24, |clock| Box::new(redis_broker(&server, clock, &worker("a"))));
}

//! The same random steps on both brokers give the same answers: the embedded one is the model.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::RedisBroker;
use postworks::broker::{
    Breaker, Broker, Claimed, Delivery, Error, Lease, Phase, Push, Reap, Reassertion, Refill,
    Settlement, Tally, Then,
};
use postworks::clock::{Clock, ShiftedClock};
use postworks::job::{Durability, Envelope, Hold, JobId, Queue, Timestamp, Turn, WorkerId};
use postworks::testing::broker::{envelope, queue, redis_options, worker};
use postworks::testing::redis_server::RedisServer;
use proptest::prelude::*;
use proptest::sample::Index;

/// All times are whole ticks, and steps are taken in the middle of one: the brokers look at the
/// clock some milliseconds apart.
const TICK: Duration = Duration::from_secs(60);

/// Small, so that it is full now and then.
const WINDOW: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Advance(u32),
    Push(Vec<Job>),
    PushAgain(Vec<Index>),
    Claim { worker: u8, limit: usize, ticks: u32, alone: bool },
    Settle(Vec<(Index, Settle)>),
    Renew(Vec<Index>, u32),
    Reassert(Vec<Index>, u32),
    ReapExpired,
    ReapWorker(u8),
    Held(u8),
    Remove(Index),
    Find,
    Depth,
    Open(u32),
    Wipe,
    BeginRefill(u32),
    Widen(Index, Option<Index>),
    EndRefill(Index, Option<Index>),
    Gate(GateStep),
}

#[derive(Debug, Clone)]
enum GateStep {
    Observe(Tally),
    Switch { epoch: u64, opens: Option<bool>, at: i64, rate: u32 },
    Hold(Hold),
    Shut(i64),
}

#[derive(Debug, Clone)]
struct Job {
    due_in: i64,
    priority_s: u32,
    flagged: bool,
    fresh_for: i64,
    recorded: bool,
}

#[derive(Debug, Clone)]
enum Settle {
    Gone,
    Back,
    Quarantine,
    Again(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let recorded = prop::bool::weighted(0.9);
    let job = (-3..5_i64, prop_oneof![Just(0), 1..300_u32], any::<bool>(), -1..2_i64, recorded)
        .prop_map(|(due_in, priority_s, flagged, fresh_for, recorded)| Job {
            due_in,
            priority_s,
            flagged,
            fresh_for,
            recorded,
        });
    let until = || prop::option::weighted(0.8, any::<Index>());
    let settle = prop_oneof![
        3 => Just(Settle::Gone),
        1 => Just(Settle::Back),
        2 => Just(Settle::Quarantine),
        2 => (-2..4_i64).prop_map(Settle::Again),
    ];
    let some = || prop::collection::vec(any::<Index>(), 0..6);
    prop_oneof![
        2 => (0..4_u32).prop_map(Step::Advance),
        4 => prop::collection::vec(job, 0..8).prop_map(Step::Push),
        1 => some().prop_map(Step::PushAgain),
        6 => (0..3_u8, 0..6_usize, 1..4_u32, any::<bool>())
            .prop_map(|(worker, limit, ticks, alone)| Step::Claim { worker, limit, ticks, alone }),
        4 => prop::collection::vec((any::<Index>(), settle), 0..6).prop_map(Step::Settle),
        2 => (some(), 1..4_u32).prop_map(|(which, ticks)| Step::Renew(which, ticks)),
        2 => (some(), 1..4_u32).prop_map(|(which, ticks)| Step::Reassert(which, ticks)),
        2 => Just(Step::ReapExpired),
        1 => (0..3_u8).prop_map(Step::ReapWorker),
        1 => (0..3_u8).prop_map(Step::Held),
        1 => any::<Index>().prop_map(Step::Remove),
        1 => Just(Step::Find),
        1 => Just(Step::Depth),
        1 => (1..4_u32).prop_map(Step::Open),
        1 => Just(Step::Wipe),
        2 => (1..3_u32).prop_map(Step::BeginRefill),
        2 => (any::<Index>(), until()).prop_map(|(which, until)| Step::Widen(which, until)),
        2 => (any::<Index>(), until()).prop_map(|(which, until)| Step::EndRefill(which, until)),
        5 => gate_step().prop_map(Step::Gate),
    ]
}

fn gate_step() -> impl Strategy<Value = GateStep> {
    prop_oneof![
        2 => (0..4_u64, 0..9_u32, 0..9_u32)
            .prop_map(|(epoch, calls, bad)| GateStep::Observe(Tally { epoch, calls, bad })),
        1 => (0..4_u64, any::<Option<bool>>(), -2..3_i64, 0..9_u32)
            .prop_map(|(epoch, opens, at, rate)| GateStep::Switch { epoch, opens, at, rate }),
        1 => (0..4_u64, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(revision, paused, forced_open)| GateStep::Hold(Hold { revision, paused, forced_open })),
        1 => (-1..3_i64).prop_map(GateStep::Shut),
    ]
}

/// Both brokers, and what the steps so far have made.
struct Both {
    clock: Arc<ShiftedClock>,
    start: Timestamp,
    model: MemoryBroker,
    redis: Arc<dyn Broker>,
    server: Arc<RedisServer>,
    queue: Queue,
    jobs: Vec<Push>,
    leases: Vec<Lease>,
    /// Each as the model and as Redis names it.
    refills: Vec<(Refill, Refill)>,
}

impl Both {
    /// A time that lies on a tick.
    fn tick(&self, from_now: i64) -> Timestamp {
        let ticks = i64::try_from(self.clock.now().since(self.start).as_secs() / TICK.as_secs());
        let millis = (ticks.unwrap() + from_now) * i64::try_from(TICK.as_millis()).unwrap();
        Timestamp::from_millis(self.start.as_millis() + millis)
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Advance(ticks) => self.clock.advance(TICK * ticks),
            Step::Push(jobs) => {
                let jobs: Vec<Push> = jobs.iter().map(|job| self.make(job)).collect();
                self.jobs.extend(jobs.iter().cloned());
                self.push(&jobs).await?;
            }
            Step::PushAgain(which) => {
                let jobs = chosen(&self.jobs, &which);
                self.push(&jobs).await?;
            }
            Step::Claim { worker, limit, ticks, alone } => {
                self.claim(worker, limit, ticks, alone).await?;
            }
            Step::Settle(which) => self.settle(&which).await?,
            Step::Renew(which, ticks) => {
                let leases = chosen(&self.leases, &which);
                let model = self.model.renew(&self.queue, &leases, TICK * ticks).await;
                let redis = self.redis.renew(&self.queue, &leases, TICK * ticks).await;
                prop_assert_eq!(model.unwrap(), redis.unwrap());
            }
            Step::Reassert(which, ticks) => self.reassert(&which, TICK * ticks).await?,
            Step::ReapExpired => self.reap(Reap::Expired).await?,
            Step::ReapWorker(number) => self.reap(Reap::Worker(&named(number))).await?,
            Step::Held(number) => {
                let model = self.model.held(&self.queue, &named(number)).await.unwrap();
                let redis = self.redis.held(&self.queue, &named(number)).await.unwrap();
                let [model, redis] = [model, redis].map(HashSet::<Lease>::from_iter);
                prop_assert_eq!(model, redis);
            }
            Step::Remove(which) => {
                let Some(id) = chosen(&self.ids(), &[which]).pop() else { return Ok(()) };
                let model = self.model.remove(&self.queue, id).await.unwrap();
                prop_assert_eq!(model, self.redis.remove(&self.queue, id).await.unwrap());
            }
            Step::Find => self.find().await?,
            Step::Depth => self.depth().await?,
            Step::Open(generation) => {
                self.model.open(&self.queue, generation).await.unwrap();
                self.redis.open(&self.queue, generation).await.unwrap();
            }
            Step::Wipe => {
                self.model.wipe();
                self.server.command("FLUSHALL");
            }
            Step::BeginRefill(ticks) => self.begin_refill(ticks).await?,
            Step::Widen(which, until) => {
                let until = self.turn(until);
                let Some((model, redis)) = chosen(&self.refills, &[which]).pop() else {
                    return Ok(());
                };
                let model = self.model.widen(&self.queue, &model, until).await.unwrap();
                prop_assert_eq!(model, self.redis.widen(&self.queue, &redis, until).await.unwrap());
            }
            Step::EndRefill(which, until) => {
                let until = self.turn(until);
                if let Some((model, redis)) = chosen(&self.refills, &[which]).pop() {
                    self.model.end_refill(&self.queue, &model, until).await.unwrap();
                    self.redis.end_refill(&self.queue, &redis, until).await.unwrap();
                }
            }
            Step::Gate(step) => self.take_at_gate(step).await?,
        }
        self.marks().await
    }

    async fn take_at_gate(&self, step: GateStep) -> Result<(), TestCaseError> {
        match step {
            GateStep::Observe(tally) => {
                let model = self.model.observe(&self.queue, tally).await.unwrap();
                let redis = self.redis.observe(&self.queue, tally).await.unwrap();
                prop_assert_eq!((model.calls, model.bad), (redis.calls, redis.bad));
            }
            GateStep::Switch { epoch, opens, at, rate } => {
                let at = self.tick(at);
                let phase = match opens {
                    None => Phase::Closed,
                    Some(true) => Phase::Opened { until: at },
                    Some(false) => Phase::Closing { since: at },
                };
                let to = Breaker { phase, cooldown: TICK, rate, epoch };
                let model = self.model.switch(&self.queue, epoch, to).await.unwrap();
                prop_assert_eq!(model, self.redis.switch(&self.queue, epoch, to).await.unwrap());
            }
            GateStep::Hold(hold) => {
                self.model.hold(&self.queue, hold).await.unwrap();
                self.redis.hold(&self.queue, hold).await.unwrap();
            }
            GateStep::Shut(until) => {
                self.model.shut(&self.queue, self.tick(until)).await.unwrap();
                self.redis.shut(&self.queue, self.tick(until)).await.unwrap();
            }
        }
        Ok(())
    }

    /// Until where a refill may reach: a job's turn, or everything.
    fn turn(&self, which: Option<Index>) -> Option<Turn> {
        let job = chosen(&self.jobs, &[which?]).pop()?.envelope;
        Some(Turn::of(job.id, job.run_at, job.priority_s, self.clock.now()))
    }

    async fn begin_refill(&mut self, ticks: u32) -> Result<(), TestCaseError> {
        let model = self.model.begin_refill(&self.queue, TICK * ticks).await.unwrap();
        let redis = self.redis.begin_refill(&self.queue, TICK * ticks).await.unwrap();
        let told = |refill: &Refill| (refill.from, refill.room);
        prop_assert_eq!(model.as_ref().map(told), redis.as_ref().map(told));
        self.refills.extend(model.zip(redis));
        Ok(())
    }

    async fn marks(&self) -> Result<(), TestCaseError> {
        let queues = [self.queue.clone()];
        let model = self.model.cutoffs(&queues).await.unwrap();
        prop_assert_eq!(model, self.redis.cutoffs(&queues).await.unwrap());
        let (model, _) = self.model.gates(&queues).await.unwrap();
        prop_assert_eq!(model, self.redis.gates(&queues).await.unwrap().0);
        let model = self.model.has_gaps(&queues).await.unwrap();
        prop_assert_eq!(model, self.redis.has_gaps(&queues).await.unwrap());
        Ok(())
    }

    fn make(&self, job: &Job) -> Push {
        let mut envelope = envelope(self.tick(job.due_in), job.priority_s);
        if !job.recorded {
            envelope.durability = Durability::Broker;
        }
        Push { envelope, flagged: job.flagged, fresh_until: self.tick(job.fresh_for) }
    }

    fn ids(&self) -> Vec<JobId> {
        self.jobs.iter().map(|push| push.envelope.id).collect()
    }

    async fn push(&self, jobs: &[Push]) -> Result<(), TestCaseError> {
        let model = self.model.push(&self.queue, jobs).await.unwrap();
        prop_assert_eq!(model, self.redis.push(&self.queue, jobs).await.unwrap());
        Ok(())
    }

    async fn claim(
        &mut self,
        number: u8,
        limit: usize,
        ticks: u32,
        alone: bool,
    ) -> Result<(), TestCaseError> {
        let (worker, lease) = (named(number), TICK * ticks);
        let (model, redis) = if alone {
            let model = self.model.claim_alone(&self.queue, &worker, limit, lease).await;
            (model, self.redis.claim_alone(&self.queue, &worker, limit, lease).await)
        } else {
            let model = self.model.claim(&self.queue, &worker, limit, lease).await;
            (model, self.redis.claim(&self.queue, &worker, limit, lease).await)
        };
        prop_assert_eq!(told(&model), told(&redis));
        if let Ok(claimed) = model {
            self.leases.extend(claimed.deliveries.into_iter().map(|delivery| delivery.lease));
        }
        Ok(())
    }

    async fn settle(&self, which: &[(Index, Settle)]) -> Result<(), TestCaseError> {
        let mut settlements = Vec::new();
        for (index, settle) in which {
            let Some(lease) = chosen(&self.leases, &[*index]).pop() else { return Ok(()) };
            let then = match settle {
                Settle::Gone => Then::Gone,
                Settle::Back => Then::Back,
                Settle::Quarantine => Then::Quarantine,
                Settle::Again(due_in) => Then::Again(Box::new(self.again(lease.id, *due_in))),
            };
            settlements.push(Settlement { lease, then });
        }
        let model = self.model.settle(&self.queue, &settlements).await.unwrap();
        prop_assert_eq!(model, self.redis.settle(&self.queue, &settlements).await.unwrap());
        Ok(())
    }

    async fn reassert(&self, which: &[Index], length: Duration) -> Result<(), TestCaseError> {
        let leases = chosen(&self.leases, which);
        let jobs: Vec<Reassertion> = leases
            .iter()
            .map(|lease| {
                let job = self.jobs.iter().find(|push| push.envelope.id == lease.id).unwrap();
                Reassertion { lease, envelope: &job.envelope }
            })
            .collect();
        let model = self.model.reassert(&self.queue, &jobs, length).await.unwrap();
        prop_assert_eq!(model, self.redis.reassert(&self.queue, &jobs, length).await.unwrap());
        Ok(())
    }

    fn again(&self, id: JobId, due_in: i64) -> Envelope {
        let first = self.jobs.iter().find(|push| push.envelope.id == id).unwrap();
        let mut again = first.envelope.clone();
        again.run_at = self.tick(due_in);
        again.failed_attempts += 1;
        again
    }

    async fn reap(&self, whose: Reap<'_>) -> Result<(), TestCaseError> {
        // Without order: leases of two claims may end in the same millisecond on one side only.
        let model: HashSet<JobId> =
            self.model.reap(&self.queue, whose).await.unwrap().into_iter().collect();
        let redis = self.redis.reap(&self.queue, whose).await.unwrap().into_iter().collect();
        prop_assert_eq!(model, redis);
        Ok(())
    }

    async fn find(&self) -> Result<(), TestCaseError> {
        let model = self.model.find(&self.queue, &self.ids()).await.unwrap();
        prop_assert_eq!(model, self.redis.find(&self.queue, &self.ids()).await.unwrap());
        Ok(())
    }

    async fn depth(&self) -> Result<(), TestCaseError> {
        let queues = [self.queue.clone()];
        let model = self.model.depth(&queues).await.unwrap()[0].unwrap();
        let redis = self.redis.depth(&queues).await.unwrap()[0].unwrap();
        prop_assert_eq!(model.ready, redis.ready);
        prop_assert_eq!(model.delayed, redis.delayed);
        prop_assert_eq!(model.running, redis.running);
        prop_assert_eq!(model.beyond, redis.beyond);
        let apart = model.oldest_ready_age.abs_diff(redis.oldest_ready_age);
        prop_assert!(apart < TICK / 2, "{:?} and {:?}", model, redis);
        Ok(())
    }
}

fn chosen<T: Clone>(all: &[T], which: &[Index]) -> Vec<T> {
    if all.is_empty() {
        return Vec::new();
    }
    which.iter().map(|index| index.get(all).clone()).collect()
}

fn named(number: u8) -> WorkerId {
    worker(&format!("worker{number}"))
}

/// Everything that a claim tells, in a form that can be compared.
fn told(claimed: &Result<Claimed, Error>) -> String {
    match claimed {
        Err(Error::NeedsGeneration { .. }) => "needs a generation".to_owned(),
        Err(error) => format!("failed: {error:?}"),
        Ok(claimed) => {
            let deliveries: Vec<String> = claimed
                .deliveries
                .iter()
                .map(|delivery| {
                    let envelope = delivery.envelope.as_ref().map(Envelope::encode).unwrap();
                    let Delivery { lease, flagged, orphaned, quarantined, epoch, .. } = delivery;
                    format!("{lease:?} {flagged} {orphaned} {quarantined} {epoch} {envelope}")
                })
                .collect();
            let Claimed { next_due, more, quarantined, beyond, epoch, first_probes, .. } = claimed;
            let left = format!("{more} {quarantined} {beyond:?} {epoch} {first_probes}");
            // A gate's time is reckoned from a look at the clock.
            let next = next_due
                .map(|due| due.as_millis() / 1_000 / i64::try_from(TICK.as_secs()).unwrap());
            format!("{deliveries:#?} next {next:?} left {left}")
        }
    }
}

#[test]
fn redis_answers_like_the_model() {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Arc::new(RedisServer::start());
    let clock = Arc::new(ShiftedClock::default());
    let options = redis_options(&server, &clock, &worker("model")).with_window(WINDOW);
    let redis: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..60))| {
        let number = CASE.fetch_add(1, Ordering::Relaxed);
        let start = clock.now().before(TICK / 2);
        let mut both = Both {
            start,
            model: MemoryBroker::new(clock.clone()).with_window(WINDOW),
            clock: clock.clone(),
            redis: redis.clone(),
            server: server.clone(),
            queue: queue(&format!("connector_sync.case{number}")),
            jobs: Vec::new(),
            leases: Vec::new(),
            refills: Vec::new(),
        };
        runtime.block_on(async {
            for step in steps {
                both.take(step).await?;
            }
            both.find().await?;
            both.depth().await
        })?;
    });
}

//! The conformance suite of brokers: one function for each promise.
//!
//! [`broker_promises!`](crate::broker_promises) turns them into tests of one broker.

pub mod promises;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde_json::value::RawValue;

use super::redis_server::RedisServer;
use crate::broker::memory::MemoryBroker;
use crate::broker::redis::{RedisBroker, RedisOptions};
use crate::broker::{
    Broker, Delivery, Error, Lease, Push, Pushed, Refill, Settled, Settlement, Then,
};
use crate::clock::{Clock, ShiftedClock};
use crate::job::{
    Durability, Envelope, JobId, Kind, NewJob, Queue, Tenant, Timestamp, Uniqueness, WorkerId,
};

/// The lease that claims ask for unless a promise is about it.
pub const LEASE: Duration = Duration::from_secs(10);

/// How long a refill here may take before another may begin.
pub const TERM: Duration = Duration::from_secs(10);

/// Longest that anything here may take; a test that waits longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker under test, whose time can be moved, and a queue of its own.
pub struct Harness {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The broker's time.
    pub clock: Arc<ShiftedClock>,
    /// An unused queue, not opened yet.
    pub queue: Queue,
    /// The private server behind the broker, if it needs one.
    pub server: Option<RedisServer>,
    /// How that server is reached.
    options: Option<RedisOptions>,
}

impl Harness {
    /// The embedded broker.
    pub fn memory() -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let broker = Arc::new(MemoryBroker::new(clock.clone()));
        Self { broker, clock, queue: queue("connector_sync.test"), server: None, options: None }
    }

    /// The broker on a private Redis that keeps nothing on disk.
    pub fn redis() -> Self {
        Self::redis_on(RedisServer::start())
    }

    /// The broker on this Redis.
    pub fn redis_on(server: RedisServer) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let options = redis_options(&server, &clock, &worker("harness"));
        let broker = Arc::new(RedisBroker::connect(options.clone()).unwrap());
        let queue = queue("connector_sync.test");
        Self { broker, clock, queue, server: Some(server), options: Some(options) }
    }

    /// The broker on a Cluster that others use as well, under a prefix of its own, with this queue.
    pub fn cluster(url: &str, prefix: &str, queue: Queue) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let ahead = Arc::clone(&clock);
        let options = RedisOptions::new(url, worker("harness"))
            .with_prefix(prefix)
            .with_skew(move || ahead.ahead_ms());
        let broker = Arc::new(RedisBroker::connect(options.clone()).unwrap());
        Self { broker, clock, queue, server: None, options: Some(options) }
    }

    /// The same with a Redis that is reached otherwise.
    #[must_use]
    pub fn reached_by(mut self, options: RedisOptions) -> Self {
        self.broker = Arc::new(RedisBroker::connect(options.clone()).unwrap());
        self.options = Some(options);
        self
    }

    /// The same with a window of so many jobs. To be called before anything else.
    #[must_use]
    pub fn narrow(mut self, window: usize) -> Self {
        self.broker = match self.options.clone() {
            None => Arc::new(MemoryBroker::new(Arc::clone(&self.clock) as _).with_window(window)),
            Some(options) => Arc::new(RedisBroker::connect(options.with_window(window)).unwrap()),
        };
        self
    }

    /// Moves the broker's time forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The broker's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Allows claims in generation 1; the ledger has nothing for the queue.
    pub async fn open(&self) {
        self.broker.open(&self.queue, 1).await.unwrap();
        if let Some(refill) = self.begin_refill().await {
            self.broker.end_refill(&self.queue, &refill, None).await.unwrap();
        }
    }

    /// Begins a refill, if it is time for one.
    pub async fn begin_refill(&self) -> Option<Refill> {
        self.broker.begin_refill(&self.queue, TERM).await.unwrap()
    }

    /// A job that falls due `after` from now.
    pub fn job(&self, after: Duration) -> Envelope {
        envelope(self.now().after(after), 0)
    }

    /// Pushes a job as the enqueuing call would, and answers its id.
    pub async fn push(&self, envelope: Envelope) -> JobId {
        let id = envelope.id;
        let pushed = self.broker.push(&self.queue, &[fresh(envelope, self.now())]).await.unwrap();
        assert_eq!(pushed, [Pushed::Added]);
        id
    }

    /// Pushes jobs that are due now.
    pub async fn push_due(&self, count: usize) -> Vec<JobId> {
        let jobs: Vec<Push> =
            (0..count).map(|_| fresh(self.job(Duration::ZERO), self.now())).collect();
        for batch in jobs.chunks(crate::broker::BATCH_MAX) {
            self.broker.push(&self.queue, batch).await.unwrap();
        }
        jobs.iter().map(|push| push.envelope.id).collect()
    }

    /// Claims up to `limit` jobs for a worker.
    pub async fn claim(&self, name: &str, limit: usize) -> Vec<Delivery> {
        self.broker.claim(&self.queue, &worker(name), limit, LEASE).await.unwrap().deliveries
    }

    /// Claims the one job that there is.
    pub async fn claim_one(&self, name: &str) -> Delivery {
        let mut deliveries = self.claim(name, 10).await;
        assert_eq!(deliveries.len(), 1, "one job is due");
        deliveries.remove(0)
    }

    /// Settles one lease.
    pub async fn settle(&self, lease: &Lease, then: Then) -> Settled {
        let settlement = Settlement { lease: lease.clone(), then };
        self.broker.settle(&self.queue, &[settlement]).await.unwrap()[0]
    }

    /// Waits for a wake-up that must come.
    pub async fn must_be_woken(&self) {
        let waiting = self.broker.wait(std::slice::from_ref(&self.queue), PATIENCE * 10);
        let woken = tokio::time::timeout(PATIENCE, waiting).await.expect("a waiter is woken");
        assert_eq!(woken.unwrap().as_ref(), Some(&self.queue));
    }
}

/// The broker on a private Redis whose time moves with `clock`.
pub fn redis_broker(
    server: &RedisServer,
    clock: &Arc<ShiftedClock>,
    worker: &WorkerId,
) -> RedisBroker {
    RedisBroker::connect(redis_options(server, clock, worker)).unwrap()
}

/// How to reach a private Redis whose time moves with `clock`.
pub fn redis_options(
    server: &RedisServer,
    clock: &Arc<ShiftedClock>,
    worker: &WorkerId,
) -> RedisOptions {
    let clock = Arc::clone(clock);
    RedisOptions::new(server.url(), worker.clone()).with_skew(move || clock.ahead_ms())
}

/// A queue's name.
pub fn queue(name: &str) -> Queue {
    Queue::parse(name).unwrap()
}

/// A worker's name.
pub fn worker(name: &str) -> WorkerId {
    WorkerId::from_text(&format!("{name}:1:000000000000"))
}

/// A new job that may run at `run_at` with a head start of `priority_s` seconds.
pub fn envelope(run_at: Timestamp, priority_s: u32) -> Envelope {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let kind = Kind::parse("connector_sync").unwrap();
    let id = JobId::at(run_at, random);
    Envelope::of(&NewJob {
        id,
        queue: Queue::of_kind(&kind),
        kind,
        kind_version: 1,
        args: format!(r#"{{"connector_id":"{id}"}}"#),
        failed_attempts: 0,
        max_attempts: 10,
        priority_s,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: None,
        run_at,
        created_at: run_at,
        expires_at: run_at.after(Duration::from_secs(86_400)),
        durability: Durability::Ledger,
        tenant: Tenant::DEFAULT,
        trace: None,
        waits: None,
    })
    .unwrap()
}

/// The same job with other arguments.
pub fn with_args(envelope: &Envelope, args: &str) -> Envelope {
    let mut other = envelope.clone();
    other.args = RawValue::from_string(args.to_owned()).unwrap();
    other
}

/// A push by the enqueuing call, right after its commit.
pub fn fresh(envelope: Envelope, now: Timestamp) -> Push {
    // Longer than the second of real life: a machine under load must not make tests fail.
    Push { envelope, flagged: false, fresh_until: now.after(PATIENCE) }
}

/// Whether an error says that the queue must be opened first.
pub fn needs_generation(error: &Error) -> bool {
    matches!(error, Error::NeedsGeneration { .. })
}

/// A promise's name, and the look whether it is kept.
pub type Promise<'a> = (&'static str, LocalBoxFuture<'a, ()>);

/// A promise of this name.
pub fn promise<'a>(name: &'static str, look: impl Future<Output = ()> + 'a) -> Promise<'a> {
    (name, Box::pin(look))
}

/// Makes a test of each promise for the brokers that an expression makes. For servers that take long
/// to start, `together` makes a [`Promise`] of each instead, by a function that makes brokers.
#[macro_export]
macro_rules! broker_promises {
    (together $harness:expr) => {
        $crate::broker_promises! { @each together $harness }
    };
    ($harness:expr) => {
        $crate::broker_promises! { @each tests $harness }
    };
    (@each $how:ident $harness:expr) => {
        $crate::broker_promises! { @$how $harness;
            a_better_priority_goes_first_but_starves_nobody
            a_block_that_is_over_blocks_nobody
            a_blocked_account_is_blocked_until_then_and_no_other_is
            a_blocked_accounts_call_counts_for_no_quota
            a_breaker_lets_three_probes_pass_in_the_whole_fleet
            a_call_takes_room_in_all_of_its_quotas_or_in_none
            a_chore_is_given_to_one_in_each_term
            a_claim_takes_no_more_than_it_asked_for
            a_claim_that_leaves_work_wakes_the_next_waiter
            a_closing_breaker_lets_more_pass_step_by_step
            a_delayed_job_is_never_early
            a_full_window_lets_only_earlier_turns_in
            a_job_given_back_keeps_its_place
            a_job_is_claimed_once_however_many_workers_ask
            a_job_put_again_waits_for_its_time_in_its_new_shape
            a_job_put_into_quarantine_wakes_a_waiter
            a_job_put_off_waits_for_its_time_as_it_was
            a_job_recorded_nowhere_else_is_always_taken_and_stays
            a_job_that_leaves_quarantine_waits_among_the_others
            a_late_push_is_flagged
            a_lease_claimed_back_takes_its_job_out_of_its_place
            a_lease_that_ends_absurdly_late_is_shortened
            a_lease_that_was_claimed_back_expires
            a_longer_block_is_never_shortened
            a_look_for_room_takes_none
            a_lost_lease_can_be_claimed_back
            a_new_generation_flags_what_survived
            a_new_generation_knows_nothing_of_what_is_held
            a_paused_queue_hands_out_nothing_until_it_is_resumed
            a_push_of_a_held_job_changes_nothing
            a_process_is_known_until_it_leaves_or_falls_silent
            a_quarantined_job_is_claimed_alone_and_the_oldest_first
            a_quarantined_job_is_held_found_counted_and_can_be_removed
            a_queue_is_served_while_a_worker_says_so
            a_refill_below_which_jobs_were_put_out_does_not_go_on
            a_refill_brings_a_window_up_to_the_end_of_the_backlog
            a_renewal_tells_the_generation
            a_renewed_lease_lasts_and_is_never_shortened
            a_settle_with_an_old_token_changes_nothing
            a_shut_queue_opens_in_time_and_never_earlier
            a_vanished_worker_gives_back_its_own_jobs_only
            a_wait_that_was_given_up_loses_no_token
            a_waiter_is_woken_by_a_push
            a_waiter_is_woken_by_an_earlier_delayed_job
            a_waiting_job_can_be_removed_and_a_running_one_cannot
            a_waiting_job_knows_how_many_are_before_it
            an_expired_lease_is_taken_back_and_its_old_holder_is_stale
            an_older_wish_does_not_undo_a_newer_one
            an_urgent_job_gets_in_before_jobs_that_just_fell_due
            calls_count_in_their_own_epoch_and_for_ten_seconds
            calls_beyond_a_quota_come_back_one_after_the_other
            claims_are_refused_until_the_queue_is_opened
            depth_counts_every_place_and_knows_the_oldest
            jobs_of_one_millisecond_have_turns_of_their_own
            jobs_put_out_during_a_refill_lie_beyond_its_end
            nothing_is_left_after_a_job_is_gone
            of_two_changes_of_a_breaker_in_one_epoch_one_counts
            of_two_claims_of_a_job_the_later_holds_it
            of_two_refills_the_latest_counts
            only_an_open_queue_where_nothing_waits_is_still
            queues_do_not_see_each_other
            slots_for_retries_are_apart_whoever_asks
            the_next_due_time_is_told
            twenty_thousand_waiting_jobs_drain
            urgent_calls_find_the_room_that_is_kept_for_them
            vanished_workers_are_counted_up_to_nine_until_a_run_ends_well
            what_is_not_due_yet_goes_before_what_is_and_running_jobs_stay
        }
    };
    (@together $harness:expr; $($promise:ident)*) => {{
        let mut harness = $harness;
        vec![$($crate::testing::broker::promise(
            stringify!($promise),
            $crate::testing::broker::promises::$promise(harness()),
        )),*]
    }};
    (@tests $harness:expr; $($promise:ident)*) => {$(
        #[tokio::test]
        async fn $promise() {
            $crate::testing::broker::promises::$promise($harness).await;
        }
    )*};
}

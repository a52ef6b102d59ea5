//! The broker on Redis 7.0 or later.
//!
//! Each operation is one script (`scripts/*.lua`), so each is atomic; this module fills in their
//! arguments and reads their answers. The names of all keys are in `keys.rs`, what is stored
//! under them in `value.rs`.
//!
//! Time is what Redis tells (`TIME`), so that workers whose clocks differ agree.
//!
//! On a Cluster the keys of a queue lie on one node, and so does all that was said above: its
//! scripts, its time, its run id. What spans queues is asked of every node that holds some of them.
//! What spans the whole installation (offices, roster, accounts and quotas) lies on some node.

mod address;
mod batch;
mod commands;
mod connect;
mod connection;
mod error;
mod examine;
mod facts;
mod gate;
mod generations;
mod keys;
mod limits;
mod listen;
mod look;
mod meter;
mod nodes;
mod office;
mod options;
mod reply;
mod room;
mod roster;
mod script;
mod slots;
mod value;
mod window;
mod workers;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use uuid::Uuid;

use self::commands::{Commands, as_far_as_known};
use self::connect::Connector;
use self::generations::Generations;
use self::keys::Keys;
use self::listen::Listener;
use self::nodes::Nodes;
use self::script::Scripts;
use super::{
    BATCH_MAX, Breaker, Broker, Call, Claimed, Depth, Error, Gate, Lease, Observed, Place,
    Presence, Pulse, Push, Pushed, Reap, Reasserted, Reassertion, Refill, Removed, Renewed, Room,
    ServerUse, Settled, Settlement, Tally,
};
use crate::finding::Finding;
use crate::job::{Hold, JobId, Queue, Timestamp, Turn, WorkerId};

pub use self::address::{AddressError, RedisAddress};
pub use self::facts::ServerFacts;
pub use self::options::RedisOptions;

/// Due jobs that are looked at for the oldest.
const OLDEST_AMONG: usize = 100;

/// A broker on Redis.
#[derive(Debug)]
pub struct RedisBroker {
    options: RedisOptions,
    keys: Keys,
    scripts: Scripts,
    nodes: Arc<Nodes>,
    commands: Commands,
    listener: Listener,
    generations: Generations,
}

impl RedisBroker {
    /// A broker on the Redis that `options` name.
    ///
    /// Nothing is sent yet: connections are made when they are needed, and again after they broke,
    /// so a Redis that is down only makes the single calls fail.
    ///
    /// # Errors
    /// [`Error::Refused`] if the URL, the prefix or the worker's id is malformed.
    pub fn connect(options: RedisOptions) -> Result<Self, Error> {
        let keys = Keys::new(&options.prefix).ok_or_else(|| {
            Error::Refused("the key prefix must be 1 to 60 of letters, digits and _-.:".into())
        })?;
        let nodes = Arc::new(Nodes::new(Connector::new(&options.url, &options.worker)?));
        Ok(Self {
            options,
            keys,
            scripts: Scripts::new(),
            commands: Commands::new(Arc::clone(&nodes)),
            listener: Listener::new(Arc::clone(&nodes)),
            nodes,
            generations: Generations::default(),
        })
    }

    fn skew_ms(&self) -> i64 {
        (self.options.skew_ms)()
    }

    /// Calls the script that `chosen` picks on a queue's keys, with the arguments `fill` adds.
    ///
    /// A key of a wrong type was written by somebody else and would stand in the queue's way for
    /// ever: it is thrown out, since everything here can be had from the ledger again.
    async fn call(
        &self,
        chosen: impl Fn(&Scripts) -> &script::Script + Send,
        queue: &Queue,
        fill: impl FnOnce(&mut Cmd) + Send,
    ) -> Result<Value, Error> {
        let script = chosen(&self.scripts);
        let mut call = script.call(&self.keys.of(queue));
        fill(&mut call);
        match self.commands.call(script, &call).await {
            Err(error) if error::is_wrong_type(&error) => {
                self.heal(queue).await?;
                self.commands.call(script, &call).await
            }
            answer => answer,
        }
    }

    async fn heal(&self, queue: &Queue) -> Result<(), Error> {
        let script = &self.scripts.heal;
        let call = script.call(&self.keys.of(queue));
        let removed = reply::list(self.commands.call(script, &call).await?)?;
        let removed: Vec<String> =
            removed.into_iter().filter_map(|key| reply::text(key).ok()).collect();
        // Nothing is left to remove if another caller met the same key.
        if !removed.is_empty() {
            tracing::error!(%queue, ?removed, "threw out keys of a wrong type; the queue is refilled");
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn push(&self, queue: &Queue, jobs: &[Push]) -> Result<Vec<Pushed>, Error> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH_MAX) {
            answers.extend(self.push_batch(queue, batch).await?);
        }
        Ok(answers)
    }

    async fn claim(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        self.claim_from(queue, worker, limit, lease, false).await
    }

    async fn claim_alone(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        self.claim_from(queue, worker, limit, lease, true).await
    }

    async fn observe(&self, queue: &Queue, tally: Tally) -> Result<Observed, Error> {
        self.tally(queue, tally).await
    }

    async fn switch(&self, queue: &Queue, epoch: u64, to: Breaker) -> Result<bool, Error> {
        self.write_breaker(queue, epoch, to).await
    }

    async fn hold(&self, queue: &Queue, hold: Hold) -> Result<(), Error> {
        self.write_hold(queue, hold).await
    }

    async fn shut(&self, queue: &Queue, until: Timestamp) -> Result<(), Error> {
        self.shut_gate(queue, until).await
    }

    async fn gates(&self, queues: &[Queue]) -> Result<(Vec<Option<Gate>>, Timestamp), Error> {
        self.read_gates(queues).await
    }

    async fn settle(&self, queue: &Queue, jobs: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH_MAX) {
            let done = self.settle_batch(queue, batch).await?;
            answers.extend(
                done.into_iter().map(|done| if done { Settled::Done } else { Settled::Stale }),
            );
        }
        Ok(answers)
    }

    async fn renew(
        &self,
        queue: &Queue,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Renewed, Error> {
        // The first batch asks for the generation also if there is no lease.
        let (first, rest) = leases.split_at(leases.len().min(BATCH_MAX));
        let mut renewed = self.renew_batch(queue, first, lease).await?;
        for batch in rest.chunks(BATCH_MAX) {
            let more = self.renew_batch(queue, batch, lease).await?;
            renewed.generation = more.generation;
            renewed.held.extend(more.held);
        }
        Ok(renewed)
    }

    async fn reassert(
        &self,
        queue: &Queue,
        jobs: &[Reassertion<'_>],
        lease: Duration,
    ) -> Result<Vec<Reasserted>, Error> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH_MAX) {
            let held = self.reassert_batch(queue, batch, lease).await?;
            answers.extend(
                held.into_iter()
                    .map(|held| if held { Reasserted::Held } else { Reasserted::Taken }),
            );
        }
        Ok(answers)
    }

    async fn reap(&self, queue: &Queue, whose: Reap<'_>) -> Result<Vec<JobId>, Error> {
        let (gone, time) = match whose {
            Reap::Expired => ("", String::new()),
            Reap::ExpiredBy(time) => ("", time.as_millis().to_string()),
            Reap::Worker(worker) => (worker.as_str(), String::new()),
        };
        let fill = |call: &mut Cmd| {
            call.arg(self.skew_ms()).arg(gone).arg(BATCH_MAX).arg(time);
        };
        let ids = reply::list(self.call(|scripts| &scripts.reap, queue, fill).await?)?;
        // A member that is no lease was thrown out; there is no job to speak of.
        Ok(ids.into_iter().filter_map(|id| reply::parsed(id).ok()).collect())
    }

    async fn held(&self, queue: &Queue, worker: &WorkerId) -> Result<Vec<Lease>, Error> {
        let fill = |call: &mut Cmd| {
            call.arg(worker.as_str());
        };
        reply::leases(worker, self.call(|scripts| &scripts.held, queue, fill).await?)
    }

    async fn remove(&self, queue: &Queue, id: JobId) -> Result<Removed, Error> {
        let fill = |call: &mut Cmd| {
            call.arg(value::id(id));
        };
        let answer = reply::text(self.call(|scripts| &scripts.remove, queue, fill).await?)?;
        match answer.as_str() {
            "removed" => Ok(Removed::Removed),
            "running" => Ok(Removed::Running),
            "absent" => Ok(Removed::Absent),
            other => Err(Error::Protocol(format!("unexpected {other:?}"))),
        }
    }

    async fn find(&self, queue: &Queue, ids: &[JobId]) -> Result<Vec<Option<Place>>, Error> {
        let mut answers = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH_MAX) {
            answers.extend(self.find_batch(queue, batch).await?);
        }
        Ok(answers)
    }

    async fn depth(&self, queues: &[Queue]) -> Result<Vec<Option<Depth>>, Error> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut calls = redis::pipe();
        for queue in queues {
            let mut call = self.scripts.depth.call(&self.keys.of(queue));
            call.arg(self.skew_ms()).arg(OLDEST_AMONG);
            calls.add_command(call);
        }
        let answers = self.commands.call_each(&self.scripts.depth, &calls).await;
        as_far_as_known(answers)?
            .into_iter()
            .map(|told| told.map(reply::depth).transpose())
            .collect()
    }

    async fn open(&self, queue: &Queue, generation: u32) -> Result<(), Error> {
        let fill = |call: &mut Cmd| {
            call.arg(value::generation(generation));
        };
        let held = reply::text(self.call(|scripts| &scripts.open, queue, fill).await?)?;
        if held.is_empty() {
            return Ok(());
        }
        Err(Error::NeedsGeneration { queue: queue.clone(), held: held.parse().ok() })
    }

    async fn has_gaps(&self, queues: &[Queue]) -> Result<bool, Error> {
        self.any(queues, "window").await
    }

    async fn cutoffs(&self, queues: &[Queue]) -> Result<Vec<Option<Turn>>, Error> {
        self.read_cutoffs(queues).await
    }

    async fn begin_refill(&self, queue: &Queue, term: Duration) -> Result<Option<Refill>, Error> {
        self.start_round(queue, term).await
    }

    async fn widen(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<bool, Error> {
        self.mark(|scripts| &scripts.widen, queue, refill, until).await
    }

    async fn end_refill(
        &self,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<(), Error> {
        self.mark(|scripts| &scripts.end_refill, queue, refill, until).await.map(drop)
    }

    async fn wait(&self, queues: &[Queue], timeout: Duration) -> Result<Option<Queue>, Error> {
        let parts = self.parts(queues).map(|part| self.keys.each(part, "wake")).collect();
        let woken = self.listener.wait(parts, timeout).await?;
        let is_woken =
            |queue: &&Queue| woken.as_ref().is_some_and(|key| *key == self.keys.wake(queue));
        Ok(queues.iter().find(is_woken).cloned())
    }

    async fn stirs(&self, queues: &[Queue]) -> Result<bool, Error> {
        self.are_stirring(queues).await
    }

    async fn leased(&self, queues: &[Queue]) -> Result<bool, Error> {
        self.any(queues, "leases").await
    }

    async fn vanished(&self, queues: &[Queue]) -> Result<HashSet<WorkerId>, Error> {
        self.holders_without_connection(queues).await
    }

    async fn elect(&self, chore: &str, term: Duration) -> Result<bool, Error> {
        self.stand_for(&self.scripts.elect, chore, term).await
    }

    async fn keep_office(&self, office: &str, term: Duration) -> Result<bool, Error> {
        self.stand_for(&self.scripts.office, office, term).await
    }

    async fn block(&self, account: Uuid, until: Timestamp) -> Result<(), Error> {
        self.block_account(account, until).await
    }

    async fn blocked(&self, accounts: &[Uuid]) -> Result<Vec<Option<Timestamp>>, Error> {
        self.blocks_of(accounts).await
    }

    async fn take_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error> {
        self.ask_for_room(calls, false).await
    }

    async fn look_for_room(&self, calls: &[Call]) -> Result<Vec<Room>, Error> {
        self.ask_for_room(calls, true).await
    }

    async fn reserve_retries(
        &self,
        queue: &Queue,
        count: u32,
        per_second: f64,
    ) -> Result<Timestamp, Error> {
        self.take_slots(queue, count, per_second).await
    }

    async fn connected(&self) -> Result<HashSet<WorkerId>, Error> {
        self.connected_workers().await
    }

    async fn examine(&self) -> Result<Vec<Finding>, Error> {
        self.findings().await
    }

    fn serves(&self, queues: &[Queue]) {
        self.nodes.connector().serves(queues);
    }

    async fn served(&self, queues: &[Queue]) -> Result<Vec<usize>, Error> {
        self.workers_of(queues).await
    }

    async fn announce(
        &self,
        who: &WorkerId,
        what: &Presence,
        lasts: Duration,
    ) -> Result<(), Error> {
        self.note(who, Some(what), lasts).await
    }

    async fn leave(&self, who: &WorkerId) -> Result<(), Error> {
        self.note(who, None, Duration::ZERO).await
    }

    async fn roster(&self) -> Result<Vec<Presence>, Error> {
        self.read_roster().await
    }

    async fn ahead_of(&self, queue: &Queue, id: JobId) -> Result<Option<u64>, Error> {
        self.rank(queue, id).await
    }

    async fn pulse(&self) -> Result<Pulse, Error> {
        self.feel_pulse().await
    }

    async fn server_use(&self) -> Result<Option<ServerUse>, Error> {
        self.ask_for_use().await.map(Some)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.ping_any().await
    }

    async fn dedicated(&self) -> Result<Arc<dyn Broker>, Error> {
        Ok(Arc::new(Self::connect(self.options.clone())?))
    }
}

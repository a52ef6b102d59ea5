//! A worker: its tasks, and how they start and stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apalis_core::error::WorkerError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absolve::absolve;
use super::admit::Admission;
use super::asker::Asker;
use super::backend::{ClaimedJobs, OnEnded, execute};
use super::blocks::Blocks;
use super::calls::Calls;
use super::ends::Ends;
use super::fetch::Fetcher;
use super::inflight::InFlight;
use super::intake::Intake;
use super::judge::judge;
use super::lease::Renewer;
use super::meter::{Meter, watch_slots};
use super::open::Opener;
use super::overdue::Overdue;
use super::places::Places;
use super::reassert::Reasserter;
use super::registry::Registry;
use super::run::{Ended, Judgement};
use super::settle::Settler;
use super::shares::Shares;
use super::solitude::Solitude;
use super::spacing::Spacing;
use super::stack::Attempts;
use super::standstill::Standstill;
use super::tempo::Tempo;
use super::waits::Waits;
use super::watchdog::{Pulse, Watchdog};
use super::welcome::Welcome;
use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::gate::breaker;
use crate::gate::quota::Quotas;
use crate::gate::watch::Watch;
use crate::job::{Queue, WorkerId};
use crate::ledger::Ledger;

/// After the grace, cancelled handlers get this long to let go.
const LET_GO: Duration = Duration::from_secs(2);
/// After the last handler, outcomes get this long to be recorded.
const FLUSH: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who it is.
    pub id: WorkerId,
    /// The queues it serves.
    pub queues: Vec<Queue>,
    /// Jobs that run at the same time, at least 1.
    pub concurrency: usize,
    /// How long a lease lasts; a vanished worker's jobs run again after this at the latest.
    pub lease: Duration,
    /// How often leases are renewed; well below `lease`.
    pub renew: Duration,
    /// How long running jobs may go on after the stop signal.
    pub grace: Duration,
}

/// Stops a worker, in two steps.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Claim nothing more; let running jobs finish within the grace.
    pub drain: CancellationToken,
    /// Take running jobs from their handlers now.
    pub now: CancellationToken,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Jobs that went back unfinished, at no attempt's cost.
    pub handed_back: usize,
    /// Jobs whose end could not be recorded: they run again when their leases expire.
    pub unsettled: usize,
}

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No queue to serve.
    #[error("no queue to serve: the patterns choose none of the known queues")]
    NoQueues,
    /// The operating system gives no thread.
    #[error("no thread for the lease renewer")]
    Thread(#[from] std::io::Error),
    /// apalis gave up, which our backend gives it no reason to.
    #[error("the executor ended: {0}")]
    Executor(String),
    /// A task of the worker's own ended, which only a panic makes it do.
    #[error("the {0} ended before the worker was told to stop")]
    Part(&'static str),
}

/// A worker, ready to run.
pub struct Worker {
    pub(super) registry: Registry,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: SharedClock,
    pub(super) options: Options,
    pub(super) calls: Arc<Calls>,
    pub(super) slots: HashMap<Queue, usize>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) quotas: Quotas,
    pub(super) solitude: Solitude,
    pub(super) watch: Arc<Watch>,
    pub(super) tempo: Arc<Tempo>,
    pub(super) pulse: Option<Pulse>,
    pub(super) exits_when_stuck: bool,
    pub(super) standstill: Arc<Standstill>,
}

/// The running parts.
struct Parts {
    inflight: Arc<InFlight>,
    places: Arc<Places>,
    judgements: mpsc::UnboundedSender<Judgement>,
    settling: JoinHandle<()>,
    fetching: JoinHandle<()>,
    executor: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    /// A worker over these stores. Chores of this process hear its
    /// `calls` for jobs that must be pushed anew from the ledger.
    pub fn new(
        registry: Registry,
        broker: Arc<dyn Broker>,
        ledger: Arc<dyn Ledger>,
        clock: SharedClock,
        options: Options,
        calls: Arc<Calls>,
    ) -> Self {
        let solitude = Solitude::default();
        let watch = Watch::new(Arc::clone(&broker), breaker::Settings::default());
        let blocks = Blocks::new(Arc::clone(&broker), Arc::clone(&clock));
        Self {
            registry,
            broker,
            ledger,
            clock,
            options,
            calls,
            slots: HashMap::new(),
            blocks,
            quotas: Quotas::default(),
            solitude,
            watch,
            tempo: Arc::default(),
            pulse: None,
            exits_when_stuck: false,
            standstill: Arc::new(Standstill::new()),
        }
    }

    /// Works until it is stopped.
    ///
    /// # Errors
    /// There is no queue to serve, or a part of the worker itself broke. An outage of a store is
    /// no error: the worker waits for it to end.
    pub async fn run(self, stop: Stop) -> Result<Drained, Error> {
        if self.options.queues.is_empty() {
            return Err(Error::NoQueues);
        }
        self.broker.serves(&self.options.queues);
        let grace = self.options.grace;
        let renewing = CancellationToken::new();
        let _end_with_us = renewing.clone().drop_guard();
        let mut parts = self.start(&stop, &renewing)?;
        tokio::select! {
            // In this order, since a stop ends the parts as well.
            biased;
            () = stop.drain.cancelled() => {}
            () = stop.now.cancelled() => stop.drain.cancel(),
            // Without one of these the worker would keep its leases and do nothing.
            _ = &mut parts.fetching => {
                if !stop.drain.is_cancelled() {
                    stop.drain.cancel();
                    return Err(Error::Part("fetcher"));
                }
            }
            _ = &mut parts.settling => {
                stop.drain.cancel();
                return Err(Error::Part("settler"));
            }
            ended = &mut parts.executor => {
                stop.drain.cancel();
                return Err(match ended {
                    Ok(Err(error)) => Error::Executor(error.to_string()),
                    Ok(Ok(())) => Error::Executor("it was told to stop by nobody".to_owned()),
                    Err(error) => Error::Executor(error.to_string()),
                });
            }
        }
        Ok(parts.drain(grace, &stop).await)
    }

    fn start(self, stop: &Stop, renewing: &CancellationToken) -> Result<Parts, Error> {
        let (lost, to_absolve) = mpsc::unbounded_channel();
        let concurrency = self.options.concurrency;
        let shares = Arc::new(Shares::new(concurrency, &self.options.queues, &self.slots));
        let inflight = InFlight::new(&self.solitude, &shares, lost);
        tokio::spawn(absolve(Arc::clone(&self.ledger), to_absolve, renewing.clone()));
        let meter = Arc::new(Meter::new(&self.registry));
        let (judgements, to_settle) = mpsc::unbounded_channel();
        let (effects, to_record) = mpsc::unbounded_channel();
        let places = Places::new(shares);
        let (doubts, doubtful) = mpsc::unbounded_channel();
        self.renewer(&inflight, &doubts, renewing).spawn()?;
        let settler = Settler {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            inflight: Arc::clone(&inflight),
            meter: Arc::clone(&meter),
        };
        tokio::spawn(self.reasserter(&inflight, doubtful, renewing).run());
        tokio::spawn(watch_slots(Arc::clone(&inflight), concurrency, renewing.clone()));
        let ends = Ends {
            inflight: Arc::clone(&inflight),
            places: Arc::clone(&places),
            blocks: Arc::clone(&self.blocks),
            meter,
            judgements: judgements.clone(),
            effects,
            watch: Arc::clone(&self.watch),
            tempo: Arc::clone(&self.tempo),
            standstill: Arc::clone(&self.standstill),
            queues: self.registry.queues().cloned().collect(),
        };
        tokio::spawn(Arc::clone(&self.watch).run(renewing.clone()));
        let overdue = Overdue {
            inflight: Arc::clone(&inflight),
            clock: Arc::clone(&self.clock),
            ends: ends.clone(),
            concurrency,
            exits: self.exits_when_stuck,
        };
        tokio::spawn(overdue.run(renewing.clone()));
        let on_ended: OnEnded = Arc::new(move |run, ended| ends.ended(run, &ended));
        let executor = execute(
            &self.options.id,
            concurrency,
            ClaimedJobs { places: Arc::clone(&places), on_ended },
            Attempts {
                inflight: Arc::clone(&inflight),
                clock: Arc::clone(&self.clock),
                blocks: Arc::clone(&self.blocks),
            },
        );
        tokio::spawn(self.welcome().run(stop.drain.clone()));
        let spacing = Spacing::new(Arc::clone(&self.broker));
        let intake = Arc::new(Intake {
            inflight: Arc::clone(&inflight),
            places: Arc::clone(&places),
            judgements: judgements.clone(),
            clock: Arc::clone(&self.clock),
        });
        let (spaced, to_settle_spaced) = mpsc::unbounded_channel();
        tokio::spawn(spacing.run(to_settle, spaced));
        let settling = settler.run(to_record, to_settle_spaced, judgements.clone());
        Ok(Parts {
            inflight,
            places,
            judgements,
            settling: tokio::spawn(settling),
            fetching: tokio::spawn(self.claim(intake, doubts, stop)),
            executor,
        })
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            known: self.registry.versions(),
            calls: Arc::clone(&self.calls),
        }
    }

    fn renewer(
        &self,
        inflight: &Arc<InFlight>,
        doubts: &mpsc::UnboundedSender<Queue>,
        stop: &CancellationToken,
    ) -> Renewer {
        Renewer {
            broker: Arc::clone(&self.broker),
            inflight: Arc::clone(inflight),
            watchdog: Watchdog::new(self.exits_when_stuck, &self.standstill, self.pulse.clone()),
            lease: self.options.lease,
            every: self.options.renew,
            doubts: doubts.clone(),
            stop: stop.clone(),
        }
    }

    fn opener(&self) -> Opener {
        Opener {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            renew: self.options.renew,
            calls: Arc::clone(&self.calls),
        }
    }

    fn reasserter(
        &self,
        inflight: &Arc<InFlight>,
        doubts: mpsc::UnboundedReceiver<Queue>,
        stop: &CancellationToken,
    ) -> Reasserter {
        Reasserter {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            inflight: Arc::clone(inflight),
            opener: self.opener(),
            worker: self.options.id.clone(),
            lease: self.options.lease,
            doubts,
            stop: stop.clone(),
        }
    }

    /// Claims jobs, and asks the ledger about those that need it.
    fn claim(
        self,
        intake: Arc<Intake>,
        doubts: mpsc::UnboundedSender<Queue>,
        stop: &Stop,
    ) -> impl Future<Output = ()> + use<> {
        let opener = self.opener();
        let waits = Waits {
            broker: Arc::clone(&self.broker),
            blocks: self.blocks,
            quotas: self.quotas,
            heedless: self.registry.catalog().heedless().cloned().collect(),
        };
        let admission = Arc::new(Admission {
            registry: self.registry,
            ledger: self.ledger,
            clock: Arc::clone(&self.clock),
            watch: Arc::clone(&self.watch),
        });
        let asker =
            Asker::new(Arc::clone(&admission), Arc::clone(&intake), self.options.concurrency);
        let (asking, to_ask) = mpsc::unbounded_channel();
        let fetcher = Fetcher {
            broker: self.broker,
            opener,
            admission,
            waits,
            inflight: Arc::clone(&intake.inflight),
            intake,
            asking,
            aside_max: self.options.concurrency,
            clock: self.clock,
            worker: self.options.id,
            queues: self.options.queues,
            lease: self.options.lease,
            watch: self.watch,
            doubts,
            stop: stop.drain.clone(),
            solitude: self.solitude,
            quarantines: HashMap::new(),
        };
        async {
            tokio::join!(fetcher.run(), asker.run(to_ask));
        }
    }
}

impl Parts {
    /// Claims have stopped: hands back what waits, lets running jobs finish within the grace,
    /// takes the rest away, and sees that everything is recorded.
    async fn drain(self, grace: Duration, stop: &Stop) -> Drained {
        crate::failpoint!(DrainBegun);
        if !self.fetching.is_finished() {
            let _ = self.fetching.await;
        }
        let mut handed_back = 0;
        while let Some(run) = self.places.take_back() {
            let (judgement, _) = judge(&run, &Ended::TakenAway, 0.0);
            self.inflight.judged_unstarted(&run.cx.queue);
            let _ = self.judgements.send(judgement);
            handed_back += 1;
        }
        let idle = self.inflight.until(|held| held.active() == 0);
        tokio::select! {
            () = idle => {}
            () = tokio::time::sleep(grace) => {}
            () = stop.now.cancelled() => {}
        }
        handed_back += self.inflight.active();
        self.inflight.cancel_all();
        let gone = self.inflight.until(|held| held.active() == 0);
        if tokio::time::timeout(LET_GO, gone).await.is_err() {
            tracing::warn!(jobs = self.inflight.active(), "handlers that do not let go");
        }
        let recorded = self.inflight.until(|held| held.len() == 0);
        let _ = tokio::time::timeout(FLUSH, recorded).await;
        let unsettled = self.inflight.len();
        self.executor.abort();
        self.settling.abort();
        Drained { handed_back, unsettled }
    }
}

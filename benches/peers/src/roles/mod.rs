//! The systems that are written in Rust, each as the two processes that it consists of: one that
//! enqueues and one that works. Each file uses its system as its documentation says.

mod apalis;
mod minimal;
mod postworks;
mod rusty;
mod seen;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::postworks::job::Durability;
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::protocol::{Args, Event, Order, Setup, kind_of};
use seen::Seen;

/// Which of a system's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Produce,
    Work,
    /// Both in one, for systems that are one process.
    Both,
}

/// Enqueues for one caller.
trait Producer: Clone + Send + Sync + 'static {
    /// Enqueues one job of a kind; returns when the system has accepted it.
    fn one(&mut self, job: Args, kind: usize) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues jobs of the first kind with one call.
    fn bulk(&mut self, jobs: Vec<Args>) -> impl Future<Output = Result<()>> + Send;

    /// Returns when nothing is left to be done for jobs that were accepted.
    fn flush(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Runs jobs.
trait Consumer: Send + 'static {
    /// Works, and reports to `seen` when all jobs have run.
    fn run(self, seen: Arc<Seen>) -> impl Future<Output = Result<()>> + Send;
}

/// Serves one process of a system until nobody gives orders any more.
pub(crate) async fn play(system: &str, role: Role, setup: Setup) -> Result<()> {
    match system {
        "postworks-broker" => postworks::play(role, setup, Durability::Broker).await,
        "postworks-ledger" | "postworks-embedded" => {
            postworks::play(role, setup, Durability::Ledger).await
        }
        "rusty-sidekiq" => rusty::play(role, setup).await,
        "apalis-redis" => apalis::play(role, setup).await,
        "minimal" => minimal::play(role, setup).await,
        other => bail!("no system {other} is written in Rust"),
    }
}

/// Follows orders.
async fn serve<P: Producer, C: Consumer>(
    setup: Setup,
    mut producer: Option<P>,
    mut consumer: Option<C>,
) -> Result<()> {
    let mut orders = orders();
    say(&Event::Ready);
    while let Some(order) = orders.recv().await {
        let Order::Go = order else {
            let producer = producer.as_mut().context("this process does not enqueue")?;
            let seconds = enqueue(producer, order).await?;
            producer.flush().await;
            say(&Event::Done { seconds });
            continue;
        };
        let consumer = consumer.take().context("this process does not work, or does already")?;
        let seen = Arc::new(Seen::new(&setup));
        tokio::spawn(async move {
            if let Err(error) = consumer.run(seen).await {
                eprintln!("the worker ended: {error:#}");
                std::process::exit(1);
            }
        });
    }
    Ok(())
}

/// Carries out one order of enqueueing; answers the seconds it took.
async fn enqueue<P: Producer>(producer: &mut P, order: Order) -> Result<f64> {
    let start = Instant::now();
    match order {
        Order::Single { jobs, in_flight } => {
            let calling: Vec<_> = (0..in_flight)
                .map(|caller| {
                    let mut producer = producer.clone();
                    tokio::spawn(async move {
                        for at in (caller..jobs).step_by(in_flight) {
                            producer.one(Args::new(at), 0).await?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            for caller in calling {
                caller.await??;
            }
        }
        Order::Bulk { jobs, call } => {
            for from in (0..jobs).step_by(call) {
                let jobs = (from..jobs.min(from + call)).map(Args::new).collect();
                producer.bulk(jobs).await?;
            }
        }
        Order::Pace { rate, jobs, mixed } => pace(producer, rate, jobs, mixed).await?,
        Order::Go => {}
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn pace<P: Producer>(producer: &P, rate: u32, jobs: usize, mixed: bool) -> Result<()> {
    let mut arrivals = tokio::time::interval(Duration::from_secs(1) / rate);
    arrivals.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = Vec::with_capacity(jobs);
    for at in 0..jobs {
        arrivals.tick().await;
        let mut producer = producer.clone();
        let (job, kind) = (Args::new(at), if mixed { kind_of(at) } else { 0 });
        sending.push(tokio::spawn(async move { producer.one(job, kind).await }));
    }
    for sent in sending {
        sent.await??;
    }
    Ok(())
}

/// The runner's orders. When it is gone, so is this process.
fn orders() -> mpsc::UnboundedReceiver<Order> {
    let (told, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => drop(told.send(order)),
                Err(error) => eprintln!("not an order: {line}: {error}"),
            }
        }
        std::process::exit(0);
    });
    orders
}

/// Tells the runner.
fn say(event: &Event) {
    let line = serde_json::to_string(event).unwrap_or_default();
    // A runner that is gone hears nothing; then this process ends as well.
    let _ = writeln!(std::io::stdout(), "{line}");
}

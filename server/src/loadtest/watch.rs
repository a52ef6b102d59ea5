//! Looks once a second at what waits, at memory, and at who uses the processor, while a scenario
//! runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postworks::job::Queue;
use postworks::telemetry::metrics::DB_POOL_CONNECTIONS;
use postworks_workers::node::Node;
use redis::cmd;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::findings::{Plot, Series};
use super::machine::{cpu_s, machine_cpu_s, resident};
use super::moment::Moment;
use super::stores::{Private, Stores, keys};
use super::system::{Child, System};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Processor time used so far, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) workers: f64,
    /// `None` of servers whose processes are not ours to look at.
    pub(crate) servers: Option<[f64; 2]>,
    /// By everybody on this machine, and as much as there was.
    pub(crate) machine: (f64, f64),
}

impl Cpu {
    /// What was used until now.
    pub(crate) fn now(workers: &[i32], private: Option<&Private>) -> Self {
        let servers = private.map(|private| private.pids().map(|pids| cpu_s(&pids)));
        Self { workers: cpu_s(workers), servers, machine: machine_cpu_s() }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        let servers = self.servers.zip(earlier.servers);
        Self {
            workers: self.workers - earlier.workers,
            servers: servers.map(|(now, then)| [now[0] - then[0], now[1] - then[1]]),
            machine: (self.machine.0 - earlier.machine.0, self.machine.1 - earlier.machine.1),
        }
    }

    /// The part of the machine's processors that was busy.
    pub(crate) fn busy(self) -> f64 {
        if self.machine.1 > 0.0 { self.machine.0 / self.machine.1 } else { 0.0 }
    }
}

/// Looks until it is ended, or dropped.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: DropGuard,
    looking: JoinHandle<()>,
}

/// What was seen.
pub(crate) struct Watched {
    /// Over time.
    pub(crate) series: Vec<Series>,
    /// Connections to PostgreSQL that one worker used, at most.
    pub(crate) connections: Option<f64>,
}

/// A look without an answer is a gap.
#[derive(Debug, Default)]
struct Seen {
    waiting: Vec<(f64, Option<f64>)>,
    running: Vec<(f64, Option<f64>)>,
    redis: Vec<(f64, Option<f64>)>,
    workers: Vec<(f64, Option<f64>)>,
    connections: Option<f64>,
}

/// What one look saw.
#[derive(Debug, Default)]
struct Look {
    /// Jobs that wait and run.
    depth: Option<(f64, f64)>,
    /// Bytes of Redis.
    redis: Option<f64>,
    /// Bytes of the workers, if any are looked at.
    workers: Option<f64>,
    /// Connections in use, of the worker with most.
    connections: Option<f64>,
}

impl Seen {
    fn note(&mut self, at: f64, look: Look) {
        self.waiting.push((at, look.depth.map(|(waiting, _)| waiting)));
        self.running.push((at, look.depth.map(|(_, running)| running)));
        self.redis.push((at, look.redis));
        self.workers.push((at, look.workers));
        self.connections = self.connections.into_iter().chain(look.connections).reduce(f64::max);
    }
}

impl Watch {
    /// Starts to look, at these workers too, with `begun` as the origin of time.
    pub(crate) fn start(system: &System, workers: &[Child], begun: Moment) -> anyhow::Result<Self> {
        let pids: Vec<i32> = workers.iter().map(Child::pid).collect();
        let pages: Vec<String> =
            workers.iter().map(|worker| format!("{}/metrics", worker.url())).collect();
        let client = reqwest::Client::builder().timeout(EVERY).no_proxy().build()?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let (noted, ended) = (Arc::clone(&seen), stop.clone());
        let (node, redis) = (Arc::clone(&system.node), system.place.redis.clone());
        let looking = tokio::spawn(async move {
            let queues: Vec<Queue> = node.registry.queues().cloned().collect();
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let at = Moment::now().since(begun).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "bytes of a process fit")]
                let look = Look {
                    depth: depth(&node, &queues).await,
                    redis: used_memory(&redis).await,
                    workers: (!pids.is_empty()).then(|| resident(&pids) as f64),
                    connections: most_connections(&client, &pages).await,
                };
                noted.lock().unwrap_or_else(PoisonError::into_inner).note(at, look);
            }
        });
        Ok(Self { seen, stop: stop.drop_guard(), looking })
    }

    /// Stops looking; answers what was seen.
    pub(crate) async fn end(self) -> Watched {
        drop(self.stop);
        // It is at a look at most, which has limits of its own.
        let _ = self.looking.await;
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let series = |plot, name: &str, unit: &str, points| Series {
            plot,
            name: name.to_owned(),
            unit: unit.to_owned(),
            points,
        };
        let series = vec![
            series(Plot::Depth, "waiting", "jobs", seen.waiting),
            series(Plot::Depth, "running", "jobs", seen.running),
            series(Plot::Memory, "Redis", "bytes", seen.redis),
            series(Plot::Memory, "workers", "bytes", seen.workers),
        ];
        Watched { series, connections: seen.connections }
    }
}

/// Jobs that wait and run, as the broker has it; `None` while it does not answer.
#[expect(clippy::cast_precision_loss, reason = "counts of jobs fit")]
async fn depth(node: &Node, queues: &[Queue]) -> Option<(f64, f64)> {
    let looking = tokio::time::timeout(EVERY, node.broker.depth(queues)).await;
    let depths = looking.ok()?.ok()?;
    let sum = depths.iter().flatten().fold((0, 0), |(waiting, running), depth| {
        (waiting + depth.ready + depth.delayed, running + depth.running)
    });
    Some((sum.0 as f64, sum.1 as f64))
}

async fn used_memory(redis: &secrecy::SecretString) -> Option<f64> {
    let looking = async {
        let mut redis = keys::connect(redis).await.ok()?;
        let info: String = cmd("INFO").arg("memory").query_async(&mut redis).await.ok()?;
        keys::line(&info, "used_memory")?.parse().ok()
    };
    tokio::time::timeout(EVERY, looking).await.ok()?
}

/// Connections to PostgreSQL that are in use, of the worker with most.
async fn most_connections(client: &reqwest::Client, pages: &[String]) -> Option<f64> {
    let mut most = None;
    for page in pages {
        let Ok(answer) = client.get(page).send().await else { continue };
        let text = answer.text().await.unwrap_or_default();
        most = most.into_iter().chain(busy_connections(&text)).reduce(f64::max);
    }
    most
}

/// What a page of metrics says of it.
fn busy_connections(page: &str) -> Option<f64> {
    let busy = |line: &&str| line.contains("state=\"busy\"");
    let lines = page.lines().filter(|line| line.starts_with(DB_POOL_CONNECTIONS.name));
    lines.filter(busy).find_map(|line| line.rsplit_once(' ')?.1.parse().ok())
}

/// What a scenario uses of the processors between two moments.
pub(crate) struct Meter<'a> {
    stores: &'a Stores,
    workers: Vec<i32>,
    before: Cpu,
}

impl<'a> Meter<'a> {
    /// Counts from now on.
    pub(crate) fn start(stores: &'a Stores, workers: Vec<i32>) -> Self {
        let before = Cpu::now(&workers, stores.private());
        Self { stores, workers, before }
    }

    /// What was used since.
    pub(crate) fn read(&self) -> Cpu {
        Cpu::now(&self.workers, self.stores.private()).since(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_page_says_how_many_connections_are_in_use() {
        let name = DB_POOL_CONNECTIONS.name;
        let page = format!(
            "# TYPE {name} gauge\n{name}{{state=\"idle\"}} 3\n{name}{{state=\"busy\"}} 7\n"
        );
        assert_eq!(busy_connections(&page), Some(7.0));
        assert_eq!(busy_connections("nothing"), None);
    }

    #[test]
    fn while_redis_does_not_answer_there_is_a_gap() {
        let mut seen = Seen::default();
        let answered = Look { depth: Some((3.0, 2.0)), redis: Some(9.0), ..Look::default() };
        seen.note(0.0, answered);
        seen.note(1.0, Look { workers: Some(7.0), ..Look::default() });
        assert_eq!(seen.waiting, [(0.0, Some(3.0)), (1.0, None)]);
        assert_eq!(seen.running, [(0.0, Some(2.0)), (1.0, None)]);
        assert_eq!(seen.redis, [(0.0, Some(9.0)), (1.0, None)]);
        assert_eq!(seen.workers, [(0.0, None), (1.0, Some(7.0))]);
    }

    #[test]
    fn what_was_used_is_counted_from_a_moment_on() {
        let at = |workers, redis, machine| Cpu {
            workers,
            servers: Some([redis, 1.0]),
            machine: (machine, machine * 2.0),
        };
        let used = at(3.0, 2.0, 10.0).since(at(1.0, 0.5, 4.0));
        assert_eq!((used.workers, used.servers), (2.0, Some([1.5, 0.0])));
        assert_eq!(used.busy(), 0.5);
    }
}

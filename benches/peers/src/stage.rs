//! What one measurement runs on: a Redis and a PostgreSQL of its own, and the processes of a system.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use tempfile::TempDir;

use crate::machine::cpu_of_tree;
use crate::process::Process;
use crate::protocol::{Order, Setup};
use crate::roles::Role;
use crate::systems::System;

/// The longest that anything but a crash may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Jobs of one call that enqueues many.
pub(crate) const CALL: usize = 1_000;
/// Calls in flight where jobs are enqueued one by one.
pub(crate) const IN_FLIGHT: usize = 50;

/// Nothing on disk. A histogram for each command in use would be counted as jobs' memory.
const SETTINGS: &[&str] = &["--save", "", "--appendonly", "no", "--latency-tracking", "no"];

/// Between two looks whether Redis still gives memory back, and how many there are at most.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const LOOKS_MAX: usize = 20;

/// How the jobs of a measurement are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) concurrency: usize,
    pub(crate) sleep: Duration,
    pub(crate) jobs: usize,
    pub(crate) mixed: bool,
    pub(crate) latencies: bool,
    pub(crate) journal: bool,
}

/// Servers of one measurement's own. They are gone when this value is.
pub(crate) struct Stage {
    pub(crate) system: &'static System,
    redis: Option<RedisServer>,
    postgres: Option<(PostgresServer, u32)>,
    setup: Setup,
    folder: TempDir,
    started: std::cell::Cell<usize>,
}

/// A system's processes: one that enqueues and one that works, or one that is both.
pub(crate) struct Crew {
    pub(crate) producer: Process,
    worker: Option<Process>,
}

impl Crew {
    pub(crate) fn worker(&mut self) -> &mut Process {
        self.worker.as_mut().unwrap_or(&mut self.producer)
    }

    /// A producer of its own, if there is one, and the worker.
    pub(crate) fn part(self) -> (Option<Process>, Process) {
        match self.worker {
            Some(worker) => (Some(self.producer), worker),
            None => (None, self.producer),
        }
    }
}

impl Stage {
    pub(crate) async fn new(system: &'static System, load: Load) -> Result<Self> {
        let redis = system.redis.then(|| RedisServer::start_with(SETTINGS));
        let folder = tempfile::Builder::new().prefix("pw-peers-").tempdir()?;
        let (mut postgres, mut url) = (None, None);
        if system.postgres {
            let server = PostgresServer::launch_durable().await;
            url = Some(server.database().await);
            let id = server.pids().first().and_then(|id| u32::try_from(*id).ok());
            postgres = Some((server, id.context("PostgreSQL's process id")?));
        }
        let socket = redis.as_ref().map(|redis| redis.url().replace("unix://", "").into());
        let setup = Setup {
            redis: socket.unwrap_or_default(),
            postgres: url,
            folder: folder.path().to_owned(),
            concurrency: load.concurrency,
            sleep_ms: u64::try_from(load.sleep.as_millis())?,
            jobs: load.jobs,
            mixed: load.mixed,
            latencies: load.latencies,
            journal: load.journal,
        };
        Ok(Self { system, redis, postgres, setup, folder, started: Default::default() })
    }

    /// Starts the process that enqueues.
    pub(crate) async fn crew(&self) -> Result<Crew> {
        let role = if self.system.two_processes { Role::Produce } else { Role::Both };
        Ok(Crew { producer: self.start(role).await?, worker: None })
    }

    /// Adds the process that works, if that is another one.
    pub(crate) async fn hire(&self, crew: &mut Crew) -> Result<()> {
        if self.system.two_processes {
            crew.worker = Some(self.start(Role::Work).await?);
        }
        Ok(())
    }

    /// A process that works, and enqueues nothing.
    pub(crate) async fn worker(&self) -> Result<Process> {
        let role = if self.system.two_processes { Role::Work } else { Role::Both };
        self.start(role).await
    }

    async fn start(&self, role: Role) -> Result<Process> {
        let number = self.started.get();
        self.started.set(number + 1);
        let log = self.folder.path().join(format!("{number}.log"));
        Process::start(self.system.command(role, &self.setup)?, log).await
    }

    /// The order that enqueues so many jobs the quickest way there is.
    pub(crate) fn fill(&self, jobs: usize) -> Order {
        if self.system.bulk {
            Order::Bulk { jobs, call: CALL }
        } else {
            Order::Single { jobs, in_flight: IN_FLIGHT }
        }
    }

    /// The processor time that Redis has used, in seconds.
    pub(crate) fn redis_cpu(&self) -> Result<Option<f64>> {
        let Some(redis) = &self.redis else { return Ok(None) };
        cpu_of_tree(redis.pid()).map(Some)
    }

    /// The processor time that PostgreSQL has used, in seconds.
    pub(crate) fn postgres_cpu(&self) -> Result<Option<f64>> {
        let Some((_, id)) = &self.postgres else { return Ok(None) };
        cpu_of_tree(*id).map(Some)
    }

    /// The bytes that Redis uses for data: without its clients' buffers and scripts' texts.
    pub(crate) fn redis_bytes(&self) -> Result<Option<f64>> {
        let Some(redis) = &self.redis else { return Ok(None) };
        let info = redis.command("INFO memory");
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok())
        };
        let used = field("used_memory:").context("Redis tells its memory")?;
        let of_clients = field("mem_clients_normal:").unwrap_or(0.0);
        let of_scripts = field("used_memory_scripts_eval:").unwrap_or(0.0);
        Ok(Some(used - of_clients - of_scripts))
    }

    /// The same once Redis has given back what it does so piece by piece: tables that became too
    /// large, connections that are gone. It does not tell when that is.
    pub(crate) async fn redis_bytes_at_rest(&self) -> Result<Option<f64>> {
        let mut before = self.redis_bytes()?;
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.redis_bytes()?;
            if now >= before {
                break;
            }
            before = now;
        }
        Ok(before)
    }

    /// How many commands Redis has carried out, those that scripts call as well, without ours.
    pub(crate) fn commands(&self) -> Result<Option<f64>> {
        let Some(redis) = &self.redis else { return Ok(None) };
        Ok(Some(calls(&redis.command("INFO commandstats")).values().sum()))
    }
}

/// The calls of each command in what Redis says of its commands.
fn calls(stats: &str) -> BTreeMap<&str, f64> {
    let lines =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let counted = lines.filter(|(command, _)| !["info", "quit"].contains(command));
    counted
        .filter_map(|(command, rest)| Some((command, rest.split(',').next()?.parse::<f64>().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_without_our_own_looks() {
        let stats = "# Commandstats\r\ncmdstat_info:calls=9,usec=1\r\ncmdstat_lpush:calls=3,usec=2\r\n\
                     cmdstat_script|load:calls=1,usec=2";
        assert_eq!(calls(stats).values().sum::<f64>(), 4.0);
    }
}

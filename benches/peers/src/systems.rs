//! What is measured: each system, how its processes are started, and what it can bear.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::machine::{first_line, installed, locked};
use crate::protocol::Setup;
use crate::roles::Role;

/// What a system is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    Ours,
    Peer,
    /// Not a job queue: what none can be better than.
    Limit,
}

/// How its processes are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Processes of this program.
    Rust,
    Node,
    Ruby,
}

/// One system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) rank: Rank,
    program: Program,
    /// Whether it needs PostgreSQL, and Redis.
    pub(crate) postgres: bool,
    pub(crate) redis: bool,
    /// Whether producer and worker are two processes.
    pub(crate) two_processes: bool,
    /// Whether it can enqueue many jobs with one call.
    pub(crate) bulk: bool,
    /// Jobs at the same time where the jobs do nothing: what suits it best.
    pub(crate) concurrency: usize,
    /// The longest backlog it bears.
    pub(crate) backlog_max: usize,
    /// After this a job of a killed worker that has not run again is lost.
    pub(crate) patience: Duration,
    /// What of its own must be known to read its figures.
    pub(crate) note: &'static str,
}

const OURS: System = System {
    id: "",
    title: "",
    rank: Rank::Ours,
    program: Program::Rust,
    postgres: true,
    redis: true,
    two_processes: true,
    bulk: true,
    concurrency: 100,
    backlog_max: usize::MAX,
    patience: Duration::from_secs(30),
    note: "",
};

const PEER: System = System {
    rank: Rank::Peer,
    postgres: false,
    concurrency: 50,
    patience: Duration::from_secs(90),
    ..OURS
};

/// All, in the order of the table.
pub(crate) const SYSTEMS: [System; 8] = [
    System {
        id: "postworks-broker",
        title: "Postworks, broker",
        note: "A job is in Redis alone, as with the peers: kinds of the durability `broker`.",
        ..OURS
    },
    System {
        id: "postworks-ledger",
        title: "Postworks, ledger",
        note: "A job is accepted when it is committed in PostgreSQL, which waits for the disk, and \
               what became of it is committed as well. No peer does that.",
        ..OURS
    },
    System {
        id: "postworks-embedded",
        title: "Postworks, embedded",
        redis: false,
        postgres: false,
        two_processes: false,
        note: "One process without servers: each job and each outcome is committed in SQLite, which \
               waits for the disk; producer and worker share the process. The backlog fits the \
               window of its broker in memory.",
        ..OURS
    },
    System {
        id: "bullmq",
        title: "BullMQ",
        program: Program::Node,
        note: "Keeps completed jobs, as by default.",
        ..PEER
    },
    System {
        id: "sidekiq",
        title: "Sidekiq",
        program: Program::Ruby,
        patience: Duration::from_secs(70),
        note: "Takes a job out of Redis before it runs: what runs when a worker dies is lost. Logs \
               warnings only.",
        ..PEER
    },
    System {
        id: "rusty-sidekiq",
        title: "rusty-sidekiq",
        bulk: false,
        patience: Duration::from_secs(70),
        note: "As Sidekiq, in Rust. Has no call that enqueues many jobs.",
        ..PEER
    },
    System {
        id: "apalis-redis",
        title: "apalis-redis",
        concurrency: 500,
        backlog_max: 7_000,
        patience: Duration::from_secs(330),
        note: "A backlog of 8,000 jobs or more ends its worker (\"too many results to unpack\"), so \
               it drains 7,000, with 500 at the same time in batches of 500, its best. It does not \
               wake up for a new job, so it polls every 10 ms. Keeps completed jobs, as by default.",
        ..PEER
    },
    System {
        id: "minimal",
        title: "minimal script loop",
        rank: Rank::Limit,
        note: "Our own, and no job queue: push, claim under a lease, settle by the lease, in batches \
               of 256, nothing else. The limit of whoever keeps a job in Redis until it has run.",
        ..PEER
    },
];

/// Where this package is.
pub(crate) fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl System {
    /// One process of it.
    pub(crate) fn command(&self, role: Role, setup: &Setup) -> Result<Command> {
        let step = if role == Role::Produce { "produce" } else { "work" };
        let mut command = match self.program {
            Program::Rust => {
                let mut command = Command::new(std::env::current_exe().context("this program")?);
                let role = if role == Role::Both { "both" } else { step };
                command.args(["role", self.id, role]);
                command
            }
            Program::Node => with(Command::new("node"), &home().join("bullmq"), step, "mjs"),
            Program::Ruby => with(Command::new("ruby"), &home().join("sidekiq"), step, "rb"),
        };
        command.arg(serde_json::to_string(setup)?);
        Ok(command)
    }

    /// What was measured, to the patch.
    pub(crate) fn version(&self) -> String {
        let lock = include_str!("../Cargo.lock");
        let modules = home().join("bullmq/node_modules");
        match self.id {
            "bullmq" => format!(
                "bullmq {}, ioredis {}, Node {}",
                installed(&modules, "bullmq"),
                installed(&modules, "ioredis"),
                first_line("node", &["--version"], "v"),
            ),
            "sidekiq" => format!(
                "Sidekiq {}, Ruby {}",
                first_line("sidekiq", &["--version"], "Sidekiq "),
                first_line("ruby", &["--version"], "ruby "),
            ),
            "minimal" => format!("redis-rs {}", locked(lock, "redis")),
            "rusty-sidekiq" | "apalis-redis" => format!("{} {}", self.id, locked(lock, self.id)),
            _ => format!("postworks {}", locked(lock, "postworks")),
        }
    }
}

fn with(mut command: Command, folder: &Path, step: &str, ending: &str) -> Command {
    command.arg(folder.join(format!("{step}.{ending}"))).current_dir(folder);
    command
}

//! Counts instructions, which do not depend on who else uses the machine: under valgrind's
//! callgrind, of this program for the pure parts, and of Redis for the scripts.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Push, Settlement, Then};
use postworks::job::{Queue, WorkerId};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::{limit, pure};

/// Jobs that go through the scripts; a tenth more or less changes the count of each by nothing.
const JOBS: usize = 2_000;
/// Jobs a call, as a busy worker has them.
const BATCH: usize = 250;
/// Repeats of a pure part.
const REPEATS: usize = 2_000;
/// Longest wait for a Redis under callgrind, which is fifty times as slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Under callgrind, with what it found on the error output and nowhere else.
const CALLGRIND: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// Instructions of each pure part.
pub(crate) fn pure_parts() -> Vec<(String, f64)> {
    let count = |part: &str, repeats: usize| {
        let program = std::env::current_exe().expect("this program has a path");
        let repeats = repeats.to_string();
        let mut command = Command::new("valgrind");
        command.args(CALLGRIND).arg(program).args(["--part", part, &repeats]);
        let output = command.output().expect("valgrind is installed: `make setup-bench`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        collected(&String::from_utf8_lossy(&output.stderr))
    };
    let each = pure::PARTS.iter().map(|(name, _)| {
        // Twice, since starting a program costs more than most parts.
        let more = count(name, REPEATS).saturating_sub(count(name, 0));
        ((*name).to_owned(), more as f64 / REPEATS as f64)
    });
    each.collect()
}

/// How far jobs go.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Nothing,
    Pushed,
    Claimed,
    Settled,
}

const STAGES: [(Stage, &str); 3] =
    [(Stage::Pushed, "push"), (Stage::Claimed, "claim"), (Stage::Settled, "settle")];

/// Instructions of Redis for a job, as parts of what the least scripts need, which knows no Redis
/// but the one that is installed.
pub(crate) async fn scripts() -> Vec<(String, f64)> {
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for stage in [Stage::Nothing, Stage::Pushed, Stage::Claimed, Stage::Settled] {
        ours.push(count_ours(stage).await as f64);
        least.push(count_least(stage).await as f64);
    }
    let of = |counts: &[f64], at: usize| counts[at + 1] - counts[at];
    let each = STAGES.iter().enumerate().map(|(at, (_, name))| {
        let (ours, least) = (of(&ours, at), of(&least, at));
        eprintln!("  {name}: {:.0} instructions of {:.0}", ours / JOBS as f64, least / JOBS as f64);
        ((*name).to_owned(), ours / least)
    });
    each.collect()
}

async fn count_ours(until: Stage) -> u64 {
    let redis = CountedRedis::start().await;
    let worker = WorkerId::new("bench", 1, uuid::Uuid::nil());
    let broker = RedisBroker::connect(RedisOptions::new(redis.url(), worker.clone())).unwrap();
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let queue = Queue::parse("bench.counted").unwrap();
    broker.open(&queue, 1).await.unwrap();
    let jobs = pure::envelopes(if until >= Stage::Pushed { JOBS } else { 0 });
    for part in jobs.chunks(BATCH) {
        let push = |envelope: &postworks::job::Envelope| Push {
            envelope: envelope.clone(),
            flagged: false,
            fresh_until: envelope.expires_at,
        };
        let pushes: Vec<Push> = part.iter().map(push).collect();
        broker.push(&queue, &pushes).await.unwrap();
    }
    if until >= Stage::Claimed {
        for _ in 0..JOBS / BATCH {
            let lease = Duration::from_secs(3_600);
            let claimed = broker.claim(&queue, &worker, BATCH, lease).await.unwrap().deliveries;
            assert_eq!(claimed.len(), BATCH, "as many as were asked for");
            let gone = |delivery: postworks::broker::Delivery| Settlement {
                lease: delivery.lease,
                then: Then::Gone,
            };
            let settlements: Vec<Settlement> = claimed.into_iter().map(gone).collect();
            if until == Stage::Settled {
                broker.settle(&queue, &settlements).await.unwrap();
            }
        }
    }
    drop(broker);
    redis.count()
}

async fn count_least(until: Stage) -> u64 {
    let redis = CountedRedis::start().await;
    let mut connection = redis.connect().await.expect("it answers");
    if until >= Stage::Pushed {
        limit::push(connection.clone(), JOBS).await;
    }
    if until >= Stage::Claimed {
        for _ in 0..JOBS / BATCH {
            let claimed = limit::claim(&mut connection, BATCH).await;
            if until == Stage::Settled {
                assert_eq!(limit::settle(&mut connection, &claimed).await, BATCH);
            }
        }
    }
    redis.count()
}

/// A Redis whose instructions are counted.
struct CountedRedis {
    folder: TempDir,
    process: Child,
}

impl CountedRedis {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a Redis");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let process = Command::new("valgrind")
            .args(CALLGRIND)
            .args(["redis-server", "--port", "0", "--save", "", "--hz", "1", "--unixsocket"])
            .arg(socket(folder.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("valgrind and Redis are installed: `make setup-bench`");
        let started = Self { folder, process };
        let since = Instant::now();
        while started.connect().await.is_err() {
            assert!(since.elapsed() < PATIENCE, "no answer from Redis:\n{}", started.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started
    }

    fn url(&self) -> String {
        format!("unix://{}", socket(self.folder.path()))
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        // The library's is half a second; counting makes each instruction fifty.
        connection.set_response_timeout(Duration::from_secs(60));
        Ok(connection)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it in good order; answers what it took from its start.
    fn count(mut self) -> u64 {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        self.process.wait().expect("it ends");
        collected(&self.log())
    }
}

impl Drop for CountedRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(folder: &Path) -> String {
    folder.join("redis.sock").display().to_string()
}

/// The number that callgrind ends with.
fn collected(log: &str) -> u64 {
    let line = log.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.unwrap_or_else(|| panic!("callgrind counted nothing:\n{log}"));
    count.trim().parse().expect("a count of instructions")
}

//! The least that a queue with leases can do: the scripts in `benches/least`, and nothing around them.
//!
//! No retry, no gates, no window, no wake-ups, no handlers, no records. What the engine carries is
//! told as a part of this, since it is of the same minute and machine.

use std::time::{Duration, Instant};

use postworks::testing::redis_server::RedisServer;
use redis::aio::MultiplexedConnection;
use redis::{Script, ScriptInvocation};
use uuid::Uuid;

use crate::machine::{cpu_time, redis_cpu_time};
use crate::report::{Report, median};

const PUSH: &str = include_str!("../least/push.lua");
const CLAIM: &str = include_str!("../least/claim.lua");
const SETTLE: &str = include_str!("../least/settle.lua");
/// Jobs a claim; more gain nothing.
const BATCH: usize = 256;
/// Claims that are under way at the same time, so that Redis never waits.
const LOOPS: usize = 2;
/// As long as a job of the engine's bench.
const VALUE: [u8; 216] = [b'x'; 216];

/// A claim's token, the ids and the values.
pub(crate) type Claimed = (i64, Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Says how many jobs a second that carries, the median of some rounds.
pub(crate) async fn measure(backlog: usize, rounds: usize, report: &mut Report) {
    let mut speeds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        speeds.push(drain(backlog).await.speed);
    }
    report.figure("limit", "three scripts and nothing else", median(speeds), "jobs/s");
}

/// What a drain came to.
pub(crate) struct Drained {
    /// Jobs a second.
    pub(crate) speed: f64,
    /// Processor time of this process and of Redis.
    pub(crate) cpu: Duration,
}

/// Drains a backlog with the least effort.
pub(crate) async fn drain(backlog: usize) -> Drained {
    let redis = RedisServer::start();
    let client = redis::Client::open(redis.url()).expect("the server's own address");
    let connection = client.get_multiplexed_async_connection().await.expect("the server answers");
    push(connection.clone(), backlog).await;
    let used = || cpu_time() + redis_cpu_time(&redis);
    let (start, before) = (Instant::now(), used());
    let draining: Vec<_> =
        (0..LOOPS).map(|_| tokio::spawn(claim_and_settle(connection.clone()))).collect();
    let mut settled = 0;
    for drained in draining {
        settled += drained.await.expect("nothing fails");
    }
    assert_eq!(settled, backlog, "each is settled, once");
    let speed = backlog as f64 / start.elapsed().as_secs_f64();
    Drained { speed, cpu: used() - before }
}

async fn claim_and_settle(mut connection: MultiplexedConnection) -> usize {
    let mut settled = 0;
    loop {
        let claimed = claim(&mut connection, BATCH).await;
        if claimed.1.is_empty() {
            return settled;
        }
        settled += settle(&mut connection, &claimed).await;
    }
}

/// Stores jobs.
pub(crate) async fn push(mut connection: MultiplexedConnection, jobs: usize) {
    let script = Script::new(PUSH);
    for from in (0..jobs).step_by(500) {
        let mut call = with_keys(&script);
        call.arg(1_760_000_000_000_u64);
        for n in from..jobs.min(from + 500) {
            call.arg(Uuid::from_u128(n as u128).as_bytes().as_slice()).arg(VALUE.as_slice());
        }
        let () = call.invoke_async(&mut connection).await.expect("jobs are stored");
    }
}

/// Claims so many jobs, or what is left.
pub(crate) async fn claim(connection: &mut MultiplexedConnection, jobs: usize) -> Claimed {
    let script = Script::new(CLAIM);
    let mut call = with_keys(&script);
    call.arg(jobs).arg(1_760_000_010_000_u64);
    call.invoke_async(connection).await.expect("a claim")
}

/// Settles what was claimed; answers how many jobs it was.
pub(crate) async fn settle(
    connection: &mut MultiplexedConnection,
    (token, ids, _): &Claimed,
) -> usize {
    let script = Script::new(SETTLE);
    let mut call = with_keys(&script);
    call.arg(token).arg(ids);
    call.invoke_async(connection).await.expect("a settle")
}

fn with_keys(script: &Script) -> ScriptInvocation<'_> {
    let mut call = script.prepare_invoke();
    call.key("{least}:jobs").key("{least}:ready").key("{least}:leases").key("{least}:sequence");
    call
}

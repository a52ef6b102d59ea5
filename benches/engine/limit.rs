//! The least that a queue with leases can do: two scripts, and nothing around them.
//!
//! A claim pops jobs, reads them and writes a lease each; a settle removes the leases, which is its
//! fence, and the jobs. No retry, no gates, no window, no wake-ups, no handlers, no records. What
//! the engine carries is told as a part of this, since it is of the same minute and machine.

use std::time::Instant;

use postworks::testing::redis_server::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

use crate::report::{Report, median};

/// KEYS jobs ready leases sequence; ARGV most jobs, deadline. Returns a token, then id and value each.
const CLAIM: &str = "\
    local popped = redis.call('ZPOPMIN', KEYS[2], ARGV[1])\n\
    if #popped == 0 then return {} end\n\
    local ids = {}\n\
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end\n\
    local values = redis.call('HMGET', KEYS[1], unpack(ids))\n\
    local token = tostring(redis.call('INCR', KEYS[4]))\n\
    local leased, answer = {}, { token }\n\
    for i, id in ipairs(ids) do\n\
      leased[#leased + 1] = ARGV[2]\n\
      leased[#leased + 1] = id .. '|' .. token\n\
      answer[#answer + 1] = id\n\
      answer[#answer + 1] = values[i]\n\
    end\n\
    redis.call('ZADD', KEYS[3], unpack(leased))\n\
    return answer";
/// KEYS jobs ready leases sequence; ARGV token, ids. Returns how many were ours.
const SETTLE: &str = "\
    local gone = {}\n\
    for i = 2, #ARGV do\n\
      if redis.call('ZREM', KEYS[3], ARGV[i] .. '|' .. ARGV[1]) == 1 then gone[#gone + 1] = ARGV[i] end\n\
    end\n\
    if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end\n\
    return #gone";
const KEYS: [&str; 4] = ["{limit}:jobs", "{limit}:ready", "{limit}:leases", "{limit}:sequence"];
/// Jobs a claim; more gain nothing.
const BATCH: usize = 256;
/// Claims that may wait to be settled.
const AHEAD: usize = 8;

/// A claim's token and what it claimed.
pub(crate) type Claimed = (String, Vec<String>);

/// Drains a backlog of `backlog` jobs with the least effort, `rounds` times; answers the jobs a
/// second of each.
pub(crate) async fn drain(backlog: usize, rounds: usize) -> Vec<f64> {
    let mut speeds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let redis = RedisServer::start();
        let client = redis::Client::open(redis.url()).expect("the server's own address");
        let connect = || async {
            client.get_multiplexed_async_connection().await.expect("the server answers")
        };
        let (claiming, settling) = (connect().await, connect().await);
        fill(claiming.clone(), backlog).await;
        let start = Instant::now();
        let (claimed, to_settle) = mpsc::channel(AHEAD);
        let (_, settled) = tokio::join!(
            tokio::spawn(claim(claiming, BATCH, claimed)),
            tokio::spawn(settle(settling, to_settle)),
        );
        speeds.push(backlog as f64 / start.elapsed().as_secs_f64());
        assert_eq!(settled.expect("nothing fails"), backlog, "each is settled, once");
    }
    speeds
}

/// Says how fast that is.
pub(crate) async fn measure(backlog: usize, rounds: usize, report: &mut Report) -> f64 {
    let speed = median(drain(backlog, rounds).await);
    report.figure("limit", "two scripts and nothing else", speed, "jobs/s");
    speed
}

/// Claims everything there is.
pub(crate) async fn claim_all(connection: MultiplexedConnection, batch: usize) -> Vec<Claimed> {
    let (claimed, mut all) = mpsc::channel(AHEAD);
    let claiming = tokio::spawn(claim(connection, batch, claimed));
    let mut gathered = Vec::new();
    while let Some(claimed) = all.recv().await {
        gathered.push(claimed);
    }
    claiming.await.expect("nothing fails");
    gathered
}

/// Settles all that; answers how many jobs that was.
pub(crate) async fn settle_all(connection: MultiplexedConnection, all: Vec<Claimed>) -> usize {
    let (claimed, to_settle) = mpsc::channel(AHEAD);
    let settling = tokio::spawn(settle(connection, to_settle));
    for one in all {
        claimed.send(one).await.expect("somebody settles");
    }
    drop(claimed);
    settling.await.expect("nothing fails")
}

/// Stores jobs.
pub(crate) async fn fill(mut connection: MultiplexedConnection, backlog: usize) {
    for from in (0..backlog).step_by(500) {
        let mut calls = redis::pipe();
        for n in from..backlog.min(from + 500) {
            let id = format!("{n:032x}");
            calls.hset(KEYS[0], &id, "x".repeat(216)).ignore();
            calls.zadd(KEYS[1], &id, n).ignore();
        }
        let () = calls.query_async(&mut connection).await.expect("jobs are stored");
    }
}

async fn claim(
    mut connection: MultiplexedConnection,
    batch: usize,
    claimed: mpsc::Sender<Claimed>,
) {
    let script = redis::Script::new(CLAIM);
    loop {
        let mut call = script.prepare_invoke();
        for key in KEYS {
            call.key(key);
        }
        call.arg(batch).arg(1_000_000);
        let answer: Vec<String> = call.invoke_async(&mut connection).await.expect("a claim");
        let mut answer = answer.into_iter();
        let Some(token) = answer.next() else { return };
        // A worker reads the values, too.
        let ids = answer.by_ref().enumerate().filter(|(n, _)| n % 2 == 0).map(|(_, id)| id);
        let ids = ids.collect();
        claimed.send((token, ids)).await.expect("somebody settles");
    }
}

async fn settle(
    mut connection: MultiplexedConnection,
    mut to_settle: mpsc::Receiver<Claimed>,
) -> usize {
    let script = redis::Script::new(SETTLE);
    let mut settled = 0;
    while let Some((token, ids)) = to_settle.recv().await {
        let mut call = script.prepare_invoke();
        for key in KEYS {
            call.key(key);
        }
        call.arg(token);
        call.arg(ids);
        settled += call.invoke_async::<usize>(&mut connection).await.expect("a settle");
    }
    settled
}

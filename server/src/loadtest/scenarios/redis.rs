//! `redis`: Redis' own commands, as a queue uses them, on keys of our own.

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, cmd};
use secrecy::SecretString;

use super::Ground;
use super::draft::{Draft, count, figure};
use crate::loadtest::findings::Figure;
use crate::loadtest::mix::{Mix, dice};
use crate::loadtest::moment::Moment;
use crate::loadtest::openloop::{self, Due};
use crate::loadtest::profile::Calls;
use crate::loadtest::schedule::Arrivals;
use crate::loadtest::stores::keys;
use crate::loadtest::system::System;
use crate::loadtest::tally::Tally;

/// About as long as an envelope.
const PAYLOAD: &str = "00000000000000000000000000001{\"id\":\"0198f3a0-0000-7000-8000-000000000001\",\
    \"kind\":\"connector_sync\",\"args\":{\"connector_id\":\"0198f3a0-0000-7000-8000-000000000002\"},\
    \"attempt\":1,\"max_attempts\":8}";
/// Jobs that are kept at the same time, at most.
const JOBS: u64 = 10_000;
/// A claim in small: the best of a sorted set, with its envelope, leased.
const CLAIM: &str = "local id = redis.call('ZPOPMIN', KEYS[1]) \
    if #id == 0 then return false end \
    redis.call('ZADD', KEYS[2], ARGV[1], id[1]) \
    return redis.call('HGET', KEYS[3], id[1])";
const GROUP: &str = "command";
const ALL: &str = "all commands";

#[derive(Debug, Clone, Copy)]
enum Command {
    Hset,
    Zadd,
    Claim,
    Hget,
    Zrem,
    Hdel,
    Zcard,
    Ping,
}

const MIX: Mix<Command> = Mix::of(&[
    (Command::Hset, 20),
    (Command::Zadd, 20),
    (Command::Claim, 20),
    (Command::Hget, 10),
    (Command::Zrem, 10),
    (Command::Hdel, 10),
    (Command::Zcard, 5),
    (Command::Ping, 5),
]);

impl Command {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hset => "HSET",
            Self::Zadd => "ZADD",
            Self::Claim => "EVALSHA (claim)",
            Self::Hget => "HGET",
            Self::Zrem => "ZREM",
            Self::Hdel => "HDEL",
            Self::Zcard => "ZCARD",
            Self::Ping => "PING",
        }
    }
}

/// A caller: its connection, and its keys.
struct Caller {
    redis: MultiplexedConnection,
    keys: [String; 3],
    claim: Script,
}

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &Calls,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let shape = part.shape();
    draft.about(format!(
        "{} commands a second on {} connections, in about the proportions in which a queue uses \
         them; values of {} bytes.",
        shape.rate,
        part.connections,
        PAYLOAD.len()
    ));
    let address = &system.place.redis;
    let before = info(address).await?;
    let mut callers = Vec::new();
    for _ in 0..part.connections {
        let key = |part: &str| format!("{}:{{commands}}:{part}", system.place.prefix);
        callers.push(Caller {
            redis: keys::connect(address).await?,
            keys: [key("ready"), key("leases"), key("jobs")],
            claim: Script::new(CLAIM),
        });
    }
    let mut bar = ground.screen.bar("redis", shape.span());
    let begun = draft.begin();
    draft.phases_of(&shape);
    let tally = Tally::new(begun);
    bar.follow(&tally);
    let line = openloop::start(Arrivals::new(shape, ground.seed), begun, ground.stop.clone())?;
    let (counting, seed) = (tally.clone(), ground.seed);
    openloop::call(&line, callers, move |mut caller: Caller, due| {
        let tally = counting.clone();
        async move {
            caller.command(due, seed, &tally).await;
            caller
        }
    })
    .await;
    drop(bar);
    draft.timings(tally.timings());
    draft.series(tally.series("command"));
    draft.table("Memory", memory(system, &before).await?);
    Ok(())
}

impl Caller {
    async fn command(&mut self, due: Due, seed: u64, tally: &Tally) {
        tally.asked(due.at);
        let command = MIX.draw(&mut dice(seed, due.n)).unwrap_or(Command::Ping);
        let sent = self.send(command, due.n % JOBS).await;
        tally.done(GROUP, (command.as_str(), ALL), due.at, Moment::now(), sent.is_ok());
    }

    async fn send(&mut self, command: Command, job: u64) -> RedisResult<()> {
        let [ready, leases, jobs] = &self.keys;
        let redis = &mut self.redis;
        match command {
            Command::Hset => cmd("HSET").arg(jobs).arg(job).arg(PAYLOAD).query_async(redis).await,
            Command::Zadd => cmd("ZADD").arg(ready).arg(job).arg(job).query_async(redis).await,
            Command::Claim => {
                let mut claim = self.claim.prepare_invoke();
                claim.key(ready).key(leases).key(jobs).arg(job);
                claim.invoke_async::<Option<String>>(redis).await.map(drop)
            }
            Command::Hget => {
                let value: Option<String> =
                    cmd("HGET").arg(jobs).arg(job).query_async(redis).await?;
                debug_assert!(value.is_none_or(|value| value == PAYLOAD));
                Ok(())
            }
            Command::Zrem => cmd("ZREM").arg(leases).arg(job).query_async(redis).await,
            Command::Hdel => cmd("HDEL").arg(jobs).arg(job).query_async(redis).await,
            Command::Zcard => cmd("ZCARD").arg(ready).query_async(redis).await,
            Command::Ping => cmd("PING").query_async(redis).await,
        }
    }
}

async fn info(redis: &SecretString) -> anyhow::Result<String> {
    let mut redis = keys::connect(redis).await?;
    Ok(cmd("INFO").query_async(&mut redis).await?)
}

/// What the server says of its memory.
async fn memory(system: &System, before: &str) -> anyhow::Result<Vec<Figure>> {
    let after = info(&system.place.redis).await?;
    let number = |info: &str, name: &str| keys::line(info, name)?.parse::<f64>().ok();
    let mut rows = Vec::new();
    for (title, name, unit) in [
        ("used", "used_memory", "bytes"),
        ("used at most since the server started", "used_memory_peak", "bytes"),
        ("resident", "used_memory_rss", "bytes"),
        ("fragmentation, resident by used", "mem_fragmentation_ratio", ""),
    ] {
        rows.extend(number(&after, name).map(|value| figure(title, value, unit)));
    }
    for (title, name, unit) in [
        ("more than before", "used_memory", "bytes"),
        ("given up for want of room", "evicted_keys", "keys"),
    ] {
        if let (Some(then), Some(now)) = (number(before, name), number(&after, name)) {
            rows.push(figure(title, now - then, unit));
        }
    }
    rows.push(count("keys of this scenario", system.place.held().await?.all, "bytes"));
    Ok(rows)
}

//! `redis`: Redis' own commands, as a queue uses them, on keys of our own.

use anyhow::ensure;
use redis::aio::MultiplexedConnection;
use redis::{Script, cmd};
use secrecy::SecretString;

use super::Ground;
use super::calls::{Called, Calls, drive};
use super::draft::{Draft, count, figure};
use crate::loadtest::findings::Figure;
use crate::loadtest::mix::{Mix, dice};
use crate::loadtest::openloop::Due;
use crate::loadtest::profile;
use crate::loadtest::stores::keys;
use crate::loadtest::system::System;
use crate::loadtest::tally::Group;

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
const GROUP: Group = Group { name: "command", sum: Some("all commands") };

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

const MIX: Mix<(Command, &str)> = Mix::of(&[
    ((Command::Hset, "HSET"), 20),
    ((Command::Zadd, "ZADD"), 20),
    ((Command::Claim, "EVALSHA (claim)"), 20),
    ((Command::Hget, "HGET"), 10),
    ((Command::Zrem, "ZREM"), 10),
    ((Command::Hdel, "HDEL"), 10),
    ((Command::Zcard, "ZCARD"), 5),
    ((Command::Ping, "PING"), 5),
]);

/// A caller: its connection, and its keys.
struct Caller {
    redis: MultiplexedConnection,
    keys: [String; 3],
    claim: Script,
}

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &profile::Calls,
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
    let calls = Calls { shape, group: GROUP, one: "command" };
    let seed = ground.seed;
    drive(ground, draft, calls, callers, move |caller: Caller, due| caller.command(due, seed))
        .await?;
    draft.table("Memory", memory(system, &before).await?);
    Ok(())
}

impl Caller {
    async fn command(mut self, due: Due, seed: u64) -> Called<Self> {
        let (command, name) = MIX.draw(&mut dice(seed, due.n));
        let well = self.send(command, due.n % JOBS).await.is_ok();
        Called { caller: self, name, well }
    }

    async fn send(&mut self, command: Command, job: u64) -> anyhow::Result<()> {
        let [ready, leases, jobs] = &self.keys;
        let redis = &mut self.redis;
        match command {
            Command::Hset => {
                cmd("HSET").arg(jobs).arg(job).arg(PAYLOAD).query_async::<()>(redis).await?;
            }
            Command::Zadd => {
                cmd("ZADD").arg(ready).arg(job).arg(job).query_async::<()>(redis).await?;
            }
            Command::Claim => {
                let mut claim = self.claim.prepare_invoke();
                claim.key(ready).key(leases).key(jobs).arg(job);
                is_payload(claim.invoke_async(redis).await?)?;
            }
            Command::Hget => {
                is_payload(cmd("HGET").arg(jobs).arg(job).query_async(redis).await?)?;
            }
            Command::Zrem => cmd("ZREM").arg(leases).arg(job).query_async::<()>(redis).await?,
            Command::Hdel => cmd("HDEL").arg(jobs).arg(job).query_async::<()>(redis).await?,
            Command::Zcard => cmd("ZCARD").arg(ready).query_async::<()>(redis).await?,
            Command::Ping => cmd("PING").query_async::<()>(redis).await?,
        }
        Ok(())
    }
}

/// Whether an envelope is as it was written, if it is there.
fn is_payload(found: Option<String>) -> anyhow::Result<()> {
    ensure!(found.is_none_or(|found| found == PAYLOAD), "Redis answers what nobody wrote");
    Ok(())
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
        rows.extend(number(&after, name).map(|value| figure(title, value, unit).better_less()));
    }
    for (title, name, unit) in [
        ("more than before", "used_memory", "bytes"),
        ("given up for want of room", "evicted_keys", "keys"),
    ] {
        if let (Some(then), Some(now)) = (number(before, name), number(&after, name)) {
            rows.push(figure(title, now - then, unit).better_less());
        }
    }
    let held = system.place.held().await?;
    rows.push(count("keys of this scenario", held.all, "bytes").better_less());
    Ok(rows)
}

//! What a worker costs that has nothing to do.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

use crate::Plan;
use crate::machine::cpu_time;
use crate::report::Report;
use crate::world::World;

/// One idle worker with its relay and its reaper.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    let world = World::new(postgres, 0).await;
    let working = world.start_worker();
    // Past what every start costs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (calls, cpu) = (calls(&world.redis), cpu_time());
    tokio::time::sleep(plan.idle_for).await;
    let (cpu, after) = (cpu_time().saturating_sub(cpu), self::calls(&world.redis));
    let seconds = plan.idle_for.as_secs_f64();
    let made: Vec<(String, u64)> = after
        .into_iter()
        .map(|(command, count)| (command.clone(), count - calls.get(&command).unwrap_or(&0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let sum: u64 = made.iter().map(|(_, count)| count).sum();
    report.figure("idle", "CPU", cpu.as_secs_f64() * 1_000.0 / seconds, "ms/s");
    report.at_most("idle", "Redis commands", sum as f64 / seconds, "1/s", 2.0);
    let made: Vec<String> =
        made.iter().map(|(command, count)| format!("{command} {count}")).collect();
    report.note(format!(
        "Redis commands in {seconds} s, those inside scripts as well: {}",
        made.join(", ")
    ));
    working.drain().await;
}

/// How often each command was carried out so far, without our own looks.
fn calls(redis: &RedisServer) -> BTreeMap<String, u64> {
    let stats = redis.command("INFO commandstats");
    stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
        .filter(|(command, _)| !["info", "quit"].contains(command))
        .map(|(command, rest)| {
            let count = rest.split(',').next().and_then(|count| count.parse().ok());
            (command.to_owned(), count.expect("a count of calls"))
        })
        .collect()
}

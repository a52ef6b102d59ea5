//! What the figures were measured on.

use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

/// Name and value, in the order in which they are printed.
pub(crate) type Facts = Vec<(&'static str, String)>;

/// What a reader needs to compare figures.
pub(crate) async fn facts(postgres: &PostgresServer) -> Facts {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let redis = RedisServer::start().command("INFO server");
    let redis = redis.lines().find_map(|line| line.strip_prefix("redis_version:"));
    vec![
        ("cores", format!("{cores} (servers and bench share them)")),
        ("processor", cpu.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())),
        ("Redis", format!("{}, nothing on disk", redis.unwrap_or("unknown").trim())),
        ("PostgreSQL", format!("{}, waits for the disk at every commit", postgres.version().await)),
    ]
}

/// The processor time this process has used, all threads; zero where the system does not tell.
pub(crate) fn cpu_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// The processor time that a Redis has used.
pub(crate) fn redis_cpu_time(redis: &RedisServer) -> Duration {
    let info = redis.command("INFO cpu");
    let used = ["used_cpu_user:", "used_cpu_sys:"].map(|name| {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<f64>().ok()).expect("Redis tells its time")
    });
    Duration::from_secs_f64(used.iter().sum())
}

/// The processor time that everything on this machine has used; zero where the system does not tell.
pub(crate) fn busy_time() -> Duration {
    /// Ticks a second of `/proc/stat`, on every Linux.
    const TICKS: u32 = 100;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq
    let ticks = fields.take(7).map(|field| field.parse::<u64>().unwrap_or(0)).enumerate();
    let busy: u64 =
        ticks.filter(|(place, _)| ![3, 4].contains(place)).map(|(_, ticks)| ticks).sum();
    Duration::from_millis(busy * 1_000 / u64::from(TICKS))
}

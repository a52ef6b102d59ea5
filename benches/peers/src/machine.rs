//! What the figures were measured on, and what the system knows of processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
use postworks::testing::redis_server::RedisServer;

/// Memory of a process in MB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

/// The processor time that a living process has used itself, in seconds.
pub(crate) fn cpu_of(id: u32) -> Result<f64> {
    Ok(Times::of(id)?.own)
}

/// The processor time of a process, of the children it has, and of those that ended, in seconds.
pub(crate) fn cpu_of_tree(id: u32) -> Result<f64> {
    let root = Times::of(id)?;
    let mut sum = root.own + root.ended_children;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // One that has ended meanwhile is counted in its parent.
        if let Some(times) = child.and_then(|child| Times::of(child).ok())
            && times.parent == id
        {
            sum += times.own + times.ended_children;
        }
    }
    Ok(sum)
}

/// The processor time of each living thread of a process, in nanoseconds: finer than the system's
/// account of the whole process, but without threads that have ended.
#[derive(Debug)]
pub(crate) struct Threads(BTreeMap<String, u64>);

impl Threads {
    pub(crate) fn of(id: u32) -> Result<Self> {
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).context("a process")?.flatten();
        let times = threads.filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanos = stat.split(' ').next()?.parse().ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), nanos))
        });
        Ok(Self(times.collect()))
    }

    /// The seconds that these have used since `before`.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        let used = self.0.iter().map(|(thread, nanos)| {
            nanos.saturating_sub(before.0.get(thread).copied().unwrap_or(0))
        });
        used.sum::<u64>() as f64 / 1e9
    }
}

struct Times {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Times {
    fn of(id: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("a process")?;
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("clock ticks a second")?;
        parse_stat(&stat, ticks as f64).context("a line of /proc/…/stat")
    }
}

fn parse_stat(stat: &str, ticks: f64) -> Option<Times> {
    // The name before may hold spaces and brackets.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let time = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own: (time(11)? + time(12)?) / ticks,
        ended_children: (time(13)? + time(14)?) / ticks,
    })
}

/// The memory of a process.
pub(crate) fn memory_of(id: u32) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("a process")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kb.map(|kb| kb / 1_024.0).context("memory of a process")
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// What a reader needs to compare figures: name and value.
pub(crate) fn facts() -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let processor = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = line_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    let gib = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        fact("processor", format!("{processor}, {cores} cores, shared by all")),
        fact("memory", format!("{gib:.0} GiB")),
        fact("system", format!("Linux {}", kernel.trim())),
        fact("Redis", redis_version() + ", nothing on disk"),
    ]
}

fn redis_version() -> String {
    let info = RedisServer::start().command("INFO server");
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    version.unwrap_or("unknown").trim().to_owned()
}

fn line_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The word that follows `after` in the first line that a program prints.
pub(crate) fn first_line(program: &str, args: &[&str], after: &str) -> String {
    let printed = Command::new(program).args(args).output().map(|output| output.stdout);
    let printed = String::from_utf8(printed.unwrap_or_default()).unwrap_or_default();
    let line = printed.lines().next().unwrap_or_default();
    let found = line.split_once(after).map_or("", |(_, rest)| rest);
    found.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The version of a crate in a lock file.
pub(crate) fn locked(lock: &str, name: &str) -> String {
    let start = format!("name = \"{name}\"\nversion = \"");
    let found = lock.split_once(&start).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or("unknown", |(version, _)| version).to_owned()
}

/// The version of an installed package of npm.
pub(crate) fn installed(modules: &Path, name: &str) -> String {
    let file = std::fs::read(modules.join(name).join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_slice(&file).unwrap_or_default();
    package["version"].as_str().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b (c) S 3 0 0 0 0 0 0 0 0 0 150 50 20 30 20 0";
        let times = parse_stat(stat, 100.0).unwrap();
        assert_eq!((times.parent, times.own, times.ended_children), (3, 2.0, 0.5));
    }

    #[test]
    fn a_version_is_that_of_the_crate_of_exactly_this_name() {
        let lock =
            "name = \"redis-test\"\nversion = \"1\"\n\nname = \"redis\"\nversion = \"2.1\"\n";
        assert_eq!(locked(lock, "redis"), "2.1");
        assert_eq!(locked(lock, "bullmq"), "unknown");
    }

    #[test]
    fn time_is_counted_of_threads_that_are_new_and_not_of_those_that_ended() {
        let threads = |list: &[(&str, u64)]| {
            Threads(list.iter().map(|(name, nanos)| ((*name).to_owned(), *nanos)).collect())
        };
        let before = threads(&[("1", 1_000_000_000), ("2", 5)]);
        let after = threads(&[("1", 1_500_000_000), ("3", 500_000_000)]);
        assert_eq!(after.since(&before), 1.0);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        assert!(cpu_of_tree(std::process::id()).unwrap() >= cpu_of(std::process::id()).unwrap());
        let memory = memory_of(std::process::id()).unwrap();
        assert!(memory.now > 0.5 && memory.peak >= memory.now);
    }
}

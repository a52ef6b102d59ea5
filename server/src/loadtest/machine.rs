//! What this machine is, and what processes on it use, as Linux tells in `/proc`.

use std::fs;

/// Processor time is told in hundredths of a second, on every Linux that we know of.
const TICKS_PER_S: f64 = 100.0;

/// Names and facts, in the order to show. What the system does not tell is left out.
pub(crate) fn facts() -> Vec<(String, String)> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let memory = memory.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| (name.to_owned(), value.trim().to_owned())));
    };
    fact("processor", model.map(|(_, model)| model.to_owned()));
    fact("cores", Some(format!("{cores}, shared by the load, the system and private servers")));
    fact("memory", memory.map(|kib| format!("{:.1} GiB", kib / (1024.0 * 1024.0))));
    fact("kernel", kernel.map(|release| format!("Linux {release}")));
    let build = if cfg!(debug_assertions) { "debug: its figures say little" } else { "release" };
    fact("build", Some(build.to_owned()));
    facts
}

/// The processor time that these processes have used so far, in seconds, with that of children that
/// have ended.
pub(crate) fn cpu_s(pids: &[i32]) -> f64 {
    let ticks = pids.iter().map(|pid| {
        let fields = stat(*pid);
        // utime, stime, cutime and cstime are the 12th to 15th after the name. The children that live
        // are processes of their own.
        fields.iter().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
    });
    ticks.sum::<f64>() / TICKS_PER_S
}

/// The memory that these processes have resident, in bytes.
pub(crate) fn resident(pids: &[i32]) -> u64 {
    let pages = pids.iter().filter_map(|pid| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    });
    pages.sum::<u64>() * rustix::param::page_size() as u64
}

/// The processor time that the whole machine has used, and that it had, in seconds.
pub(crate) fn machine_cpu_s() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        first.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    // The fourth and fifth are idle, and idle while waiting for a disk.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    ((all - idle) / TICKS_PER_S, all / TICKS_PER_S)
}

/// The fields of a process' line after its name, which may hold spaces.
fn stat(pid: i32) -> Vec<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = line.rsplit_once(") ").map(|(_, after)| after).unwrap_or_default();
    after.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_the_processor_and_memory() {
        let own = [i32::try_from(std::process::id()).unwrap()];
        let before = cpu_s(&own);
        let mut sum = 0_u64;
        while cpu_s(&own) < before + 0.03 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident(&own) > 1 << 20);
        let (used, had) = machine_cpu_s();
        assert!(used > 0.0 && had >= used, "{used} of {had}");
        assert_eq!(cpu_s(&[i32::MAX]), 0.0);
    }

    #[test]
    fn the_machine_is_named() {
        let facts = facts();
        let names: Vec<_> = facts.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"cores") && names.contains(&"kernel"), "{facts:?}");
    }
}

//! What Redis can do on this machine, by its own benchmark.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use postworks::testing::redis_server::RedisServer;
use tokio::process::Command;
use tokio::time::timeout;

use crate::stage::LIMIT;

const DEPTHS: [usize; 3] = [1, 16, 64];
const COMMANDS: [&str; 2] = ["lpush", "rpop"];

/// Operations a second of single commands with 200 bytes from 50 connections, by how many each
/// connection sends at once: name and figure.
pub(crate) async fn redis_benchmark(requests: usize) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for depth in DEPTHS {
        let redis = RedisServer::start();
        let socket = redis.url().replace("unix://", "");
        let (count, depth) = ((requests * depth.min(8)).to_string(), depth.to_string());
        let running = Command::new("redis-benchmark")
            .args(["-s", &socket, "-c", "50", "-d", "200", "--csv", "-n", &count, "-P", &depth])
            .args(["-t", &COMMANDS.join(",")])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran = timeout(LIMIT, running).await.context("redis-benchmark")??;
        ensure!(ran.status.success(), "redis-benchmark: {}", ran.status);
        let csv = String::from_utf8(ran.stdout)?;
        for command in COMMANDS {
            let name = format!("{}, {depth} at once", command.to_uppercase());
            let speed = speed_of(&csv, command).context("redis-benchmark's table")?;
            found.push((name, speed));
        }
    }
    Ok(found)
}

/// The requests a second of a command in redis-benchmark's table.
fn speed_of(csv: &str, command: &str) -> Option<f64> {
    let name = format!("\"{}\",\"", command.to_uppercase());
    let line = csv.lines().find_map(|line| line.strip_prefix(&name))?;
    line.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_of_a_command_is_read_from_its_own_line() {
        let csv = "\"test\",\"rps\"\n\"LPUSH\",\"1200.50\",\"0.1\"\n\"RPOP\",\"900.00\",\"0.1\"\n";
        assert_eq!(speed_of(csv, "rpop"), Some(900.0));
        assert_eq!(speed_of(csv, "lpop"), None);
    }
}

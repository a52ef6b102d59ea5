//! A private Redis with a replica, and three sentinels that watch over both.

use std::time::Duration;

use super::redis_server::RedisServer;
use super::several::{free_port, until};

/// What the sentinels call the master.
pub const MASTER: &str = "main";
/// How long a master must be silent before a sentinel takes it for dead. Sentinels ping once a second,
/// and the first ping of a master that they have just switched to leaves after a second, too: with no
/// more patience than that they take it for dead at once, and may make the old one the master again.
pub const DOWN_AFTER: Duration = Duration::from_secs(2);
const SENTINELS: usize = 3;

/// Two Redis servers, one of which is the master, and three sentinels. Everything listens on
/// ports of the loopback interface, and is gone when this value is.
///
/// Everything here panics when it does not work. Every call blocks its thread.
#[derive(Debug)]
pub struct SentinelServers {
    sentinels: Vec<(RedisServer, u16)>,
    /// The first was the master at the start. Either may be killed, frozen and resumed.
    pub servers: [RedisServer; 2],
    ports: [u16; 2],
}

impl SentinelServers {
    /// Starts all five, which keep nothing on disk; returns once the sentinels know each other and
    /// the replica, so that they can fail over at once.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts all five, the two servers with these command-line settings.
    pub fn start_with(settings: &[&str]) -> Self {
        let ports = [free_port(), free_port()];
        let server = |port: u16, more: &[&str]| {
            let port = port.to_string();
            // A replica is to be in step at once, not after the usual five seconds.
            let own = ["--port", &port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"];
            RedisServer::start_with(&[&own[..], settings, more].concat())
        };
        let leader = format!("127.0.0.1 {}", ports[0]);
        let servers = [server(ports[0], &[]), server(ports[1], &["--replicaof", &leader])];
        let config = format!(
            "sentinel monitor {MASTER} {leader} 2\n\
             sentinel down-after-milliseconds {MASTER} {}\n\
             sentinel failover-timeout {MASTER} 3000\n",
            DOWN_AFTER.as_millis()
        );
        let sentinels = (0..SENTINELS)
            .map(|_| {
                let port = free_port();
                let text = port.to_string();
                let own = ["--port", &text, "--bind", "127.0.0.1"];
                (RedisServer::start_sentinel(&config, &own), port)
            })
            .collect();
        let started = Self { sentinels, servers, ports };
        until("the sentinels do not find each other", || started.is_complete());
        started
    }

    /// What `REDIS_URL` is for these.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// One of the sentinels, to ask it, kill it or freeze it.
    pub fn sentinel(&mut self, number: usize) -> &mut RedisServer {
        &mut self.sentinels[number].0
    }

    /// Which of the servers most sentinels name as the master; `None` if they are not agreed.
    pub fn master(&self) -> Option<usize> {
        let named = |port: u16| {
            let port = port.to_string();
            let says = |sentinel: &RedisServer| {
                let answer =
                    sentinel.try_command(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"));
                answer.is_ok_and(|answer| answer.lines().any(|line| line == port))
            };
            self.sentinels.iter().filter(|(sentinel, _)| says(sentinel)).count()
        };
        (0..self.ports.len()).find(|&number| 2 * named(self.ports[number]) > SENTINELS)
    }

    /// Returns once the sentinels name this server as the master and it says so itself.
    pub fn until_master_is(&self, number: usize) {
        until("there is no failover", || {
            self.master() == Some(number) && self.role(number).as_deref() == Some("master")
        });
    }

    /// Returns once this server says that it is a replica.
    pub fn until_replica_is(&self, number: usize) {
        until("it does not become a replica", || self.role(number).as_deref() == Some("slave"));
    }

    /// What a server says that it is: `master` or `slave`; `None` if it does not answer.
    fn role(&self, number: usize) -> Option<String> {
        let answer = self.servers[number].try_command("ROLE").ok()?;
        answer.lines().find(|line| line.starts_with(char::is_alphabetic)).map(str::to_owned)
    }

    fn is_complete(&self) -> bool {
        let knows_all = |sentinel: &RedisServer| {
            let facts = sentinel.command(&format!("SENTINEL MASTER {MASTER}"));
            let facts: Vec<&str> = facts.lines().filter(|line| !line.starts_with('$')).collect();
            let says = |name: &str, value: &str| {
                facts.windows(2).any(|pair| pair[0] == name && pair[1] == value)
            };
            says("num-slaves", "1") && says("num-other-sentinels", "2")
        };
        self.servers[0].command("INFO replication").contains("state=online")
            && self.sentinels.iter().all(|(sentinel, _)| knows_all(sentinel))
    }
}

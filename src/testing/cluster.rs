//! A private Redis Cluster of three masters, perhaps with a replica each.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::redis_server::RedisServer;
use super::several::{free_port, until};
use crate::job::Queue;

/// How long a node must be silent before the others take it for dead.
pub const DOWN_AFTER: Duration = Duration::from_millis(1_500);
const MASTERS: usize = 3;
/// The slots of each master at the start.
const SLOTS: [RangeInclusive<u16>; MASTERS] = [0..=5_460, 5_461..=10_922, 10_923..=16_383];

/// A Cluster: three masters that hold a third of the slots each. Everything listens on ports of the
/// loopback interface, and is gone when this value is. A node that is away takes only its own slots
/// with it.
///
/// Everything here panics when it does not work. Every call blocks its thread.
#[derive(Debug)]
pub struct ClusterServers {
    /// The masters at the start, and after them the first one's replica and so on, if there are any.
    /// Each may be killed, frozen and resumed.
    pub servers: Vec<RedisServer>,
    ports: Vec<u16>,
}

impl ClusterServers {
    /// Starts three masters that keep nothing on disk but what they know of each other; returns once
    /// all of them serve, two seconds later.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts three masters with these command-line settings.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::of(MASTERS, settings)
    }

    /// Starts three masters with a replica each; nothing is kept on disk.
    pub fn start_replicated() -> Self {
        let started = Self::of(2 * MASTERS, &["--save", "", "--appendonly", "no"]);
        for number in 0..MASTERS {
            let master = started.id(number);
            let replica = &started.servers[number + MASTERS];
            // It may not have heard of its master yet.
            until("a replica finds its master", || {
                replica.command(&format!("CLUSTER REPLICATE {master}")) == "+OK"
            });
        }
        until("the replicas are not in step", || {
            (0..MASTERS).all(|number| {
                started.servers[number].command("INFO replication").contains("state=online")
            })
        });
        started
    }

    fn of(count: usize, settings: &[&str]) -> Self {
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let buses: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let down_after = DOWN_AFTER.as_millis().to_string();
        let servers: Vec<RedisServer> = ports
            .iter()
            .zip(&buses)
            .map(|(port, bus)| {
                let (port, bus) = (port.to_string(), bus.to_string());
                let own = ["--port", &port, "--cluster-port", &bus, "--bind", "127.0.0.1"];
                let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", &down_after];
                let partly = ["--cluster-require-full-coverage", "no"];
                let quickly = ["--repl-diskless-sync-delay", "0"];
                RedisServer::start_with(&[&own[..], &cluster, &partly, &quickly, settings].concat())
            })
            .collect();
        for (number, server) in servers.iter().enumerate() {
            if let Some(slots) = SLOTS.get(number) {
                let (first, last) = (slots.start(), slots.end());
                ok(server, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            }
            ok(server, &format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
        }
        for (port, bus) in ports.iter().zip(&buses).skip(1) {
            ok(&servers[0], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        let started = Self { servers, ports };
        until("the nodes do not find each other", || {
            (0..count).all(|number| started.knows(number, count) && started.serves(number))
        });
        started
    }

    /// What `REDIS_URL` is for these.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.ports.iter().take(MASTERS).map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Where a server listens.
    pub fn port(&self, number: usize) -> u16 {
        self.ports[number]
    }

    /// The slot of a queue's keys.
    pub fn slot(&self, queue: &Queue) -> u16 {
        let command = format!("CLUSTER KEYSLOT {{{queue}}}");
        let server = self.servers.iter().find(|server| server.is_running());
        let answer = server.expect("a server that runs").command(&command);
        answer.trim_start_matches(':').parse().expect("a slot")
    }

    /// The master that held a queue at the start.
    pub fn home(&self, queue: &Queue) -> usize {
        let slot = self.slot(queue);
        SLOTS.iter().position(|slots| slots.contains(&slot)).expect("every slot is held")
    }

    /// A queue for each master, which held it at the start.
    pub fn queues(&self) -> [Queue; MASTERS] {
        std::array::from_fn(|number| {
            (0..)
                .map(|name| Queue::parse(&format!("connector_sync.test{name}")).expect("a name"))
                .find(|queue| self.home(queue) == number)
                .expect("some queue lies on each node")
        })
    }

    /// Begins to move a queue from one master to another: one gives, the other takes, and no key has
    /// moved.
    pub fn begin_to_move(&self, queue: &Queue, from: usize, to: usize) {
        let slot = self.slot(queue);
        let (giver, taker) = (self.id(from), self.id(to));
        ok(&self.servers[to], &format!("CLUSTER SETSLOT {slot} IMPORTING {giver}"));
        ok(&self.servers[from], &format!("CLUSTER SETSLOT {slot} MIGRATING {taker}"));
    }

    /// Moves up to `most` keys of a queue; answers how many there were.
    pub fn move_keys(&self, queue: &Queue, from: usize, to: usize, most: usize) -> usize {
        let slot = self.slot(queue);
        let listed = self.servers[from].command(&format!("CLUSTER GETKEYSINSLOT {slot} {most}"));
        let keys: Vec<&str> = listed.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
        if !keys.is_empty() {
            let port = self.ports[to];
            let keys = keys.join(" ");
            let command = format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {keys}");
            ok(&self.servers[from], &command);
        }
        keys.len()
    }

    /// Ends a move: all masters are told.
    pub fn end_move(&self, queue: &Queue, to: usize) {
        let (slot, taker) = (self.slot(queue), self.id(to));
        // The taker first, so that the slot is never nobody's.
        let others = (0..MASTERS).filter(|number| *number != to);
        for number in std::iter::once(to).chain(others) {
            ok(&self.servers[number], &format!("CLUSTER SETSLOT {slot} NODE {taker}"));
        }
    }

    /// Returns once a server says that it is a master and serves.
    pub fn until_master_is(&self, number: usize) {
        until("there is no failover", || {
            let role = self.servers[number].try_command("ROLE");
            role.is_ok_and(|role| role.contains("master")) && self.serves(number)
        });
    }

    /// Returns once a server that was started again serves, two seconds later.
    pub fn until_serves(&self, number: usize) {
        until("a node does not come back", || self.serves(number));
    }

    /// Returns once the servers that run take another for dead.
    pub fn until_missed(&self, number: usize) {
        let port = format!(":{}@", self.ports[number]);
        let misses = |server: &RedisServer| {
            let nodes = server.command("CLUSTER NODES");
            let line = nodes.lines().find(|line| line.contains(&port)).map(str::to_owned);
            line.is_some_and(|line| {
                line.split(' ').any(|field| field.split(',').any(|flag| flag == "fail"))
            })
        };
        until("a node is not missed", || {
            self.servers.iter().filter(|server| server.is_running()).all(misses)
        });
    }

    fn id(&self, number: usize) -> String {
        let answer = self.servers[number].command("CLUSTER MYID");
        answer.lines().nth(1).expect("an id").to_owned()
    }

    fn knows(&self, number: usize, count: usize) -> bool {
        let info = self.servers[number].command("CLUSTER INFO");
        info.contains(&format!("cluster_known_nodes:{count}"))
            && info.contains(&format!("cluster_size:{MASTERS}"))
    }

    fn serves(&self, number: usize) -> bool {
        let info = self.servers[number].try_command("CLUSTER INFO");
        info.is_ok_and(|info| info.contains("cluster_state:ok"))
    }
}

fn ok(server: &RedisServer, command: &str) {
    let answer = server.command(command);
    assert_eq!(answer, "+OK", "{command}");
}

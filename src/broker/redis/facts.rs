//! What kind of Redis this is: for the log at start and for the doctor.

use std::collections::HashMap;

use crate::broker::ServerUse;
use crate::finding::{Finding, of_clock};

/// Where a permanent setting goes, after the command that changes it now.
const FOR_GOOD: &str = "and put it into redis.conf (config/redis.conf has it)";
/// The first version whose scripts can say what they may do.
const VERSION_MIN: u32 = 7;
/// From this part of a limit on, in percent, it counts as nearly reached.
const NEARLY: u64 = 80;
/// Slots of a Cluster.
const SLOTS: u64 = 16_384;

/// What a Redis says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as in `7.0.15`; of a Valkey, the Redis version it is compatible with.
    pub version: String,
    /// Its own version if it is a Valkey; empty if it is a Redis.
    pub valkey_version: String,
    /// Changes with every start.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// Bytes it uses.
    pub used_memory: u64,
    /// Bytes it may use; 0 is no limit.
    pub maxmemory: u64,
    /// What it does when they are used up. Anything but `noeviction` loses jobs until they are
    /// pushed again.
    pub maxmemory_policy: String,
    /// Whether it writes an append-only file.
    pub appendonly: bool,
    /// Whether its last attempts to write to the disk worked; while not, it may refuse all writes.
    pub disk_works: bool,
    /// When it writes snapshots (`save`); `None` if it does not tell, empty for never.
    pub save: Option<String>,
    /// Connections it has.
    pub clients: u64,
    /// Connections it takes; 0 if it does not tell.
    pub maxclients: u64,
    /// How far its clock is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
    /// Commands that our user may not run, as an ACL rule names them.
    pub lacking: Vec<String>,
    /// Whether it is a node of a Cluster.
    pub cluster_enabled: bool,
    /// Replicas that are in touch with it.
    pub replicas: u64,
    /// What it says of the Cluster, if it is addressed as a node of one.
    pub cluster: Option<ClusterFacts>,
}

/// What a node says about its Cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Whether it serves; a node that was just started does so after two seconds.
    pub is_ok: bool,
    /// Nodes that hold slots.
    pub masters: u64,
    /// Slots that belong to a node, of 16,384.
    pub slots_assigned: u64,
    /// Slots whose node is there.
    pub slots_ok: u64,
    /// Whether no node serves unless all slots are served; `None` if it does not tell.
    pub all_needed: Option<bool>,
}

impl ServerFacts {
    /// Reads the answer to `INFO`. What is missing stays empty.
    pub(super) fn read(info: &str) -> Self {
        let facts = fields(info);
        let text = |name: &str| facts.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| text(name).parse().unwrap_or(0);
        let works = |name: &str| facts.get(name).is_none_or(|status| *status == "ok");
        Self {
            version: text("redis_version"),
            valkey_version: text("valkey_version"),
            run_id: text("run_id"),
            role: text("role"),
            used_memory: number("used_memory"),
            maxmemory: number("maxmemory"),
            maxmemory_policy: text("maxmemory_policy"),
            appendonly: text("aof_enabled") == "1",
            disk_works: works("rdb_last_bgsave_status") && works("aof_last_write_status"),
            save: None,
            clients: number("connected_clients"),
            maxclients: number("maxclients"),
            ahead_ms: 0,
            lacking: Vec::new(),
            cluster_enabled: text("cluster_enabled") == "1",
            replicas: number("connected_slaves"),
            cluster: None,
        }
    }

    /// Adds what a node answers to `CLUSTER INFO`.
    pub(super) fn join(&mut self, info: &str, all_needed: Option<bool>) {
        let facts = fields(info);
        let number = |name: &str| facts.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        self.cluster = Some(ClusterFacts {
            is_ok: facts.get("cluster_state") == Some(&"ok"),
            masters: number("cluster_size"),
            slots_assigned: number("cluster_slots_assigned"),
            slots_ok: number("cluster_slots_ok"),
            all_needed,
        });
    }

    /// Whether scripts of ours can run at all.
    pub(super) fn is_recent(&self) -> bool {
        self.version.split('.').next().and_then(|major| major.parse().ok()) >= Some(VERSION_MIN)
    }

    /// What is right and wrong with it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        [
            self.of_version(),
            self.of_role(),
            self.of_eviction(),
            self.of_memory(),
            self.of_persistence(),
            self.of_clients(),
            self.of_permissions(),
            of_clock("redis clock", self.ahead_ms),
        ]
        .into_iter()
        .chain(self.of_cluster())
        .collect()
    }

    fn of_cluster(&self) -> Option<Finding> {
        const CHECK: &str = "redis cluster";
        let Some(cluster) = &self.cluster else {
            let found = "this Redis is a node of a Cluster, which holds a part of the queues only";
            let advice = "REDIS_URL=redis+cluster://host:port,host:port";
            return self.cluster_enabled.then(|| Finding::fail(CHECK, found, advice).unfit());
        };
        let lacks = |slots: u64, what: &str, advice: &str| {
            let left = SLOTS.saturating_sub(slots);
            Finding::fail(
                CHECK,
                format!("{left} of {SLOTS} slots {what}: their queues wait"),
                advice,
            )
        };
        Some(if cluster.slots_assigned < SLOTS {
            lacks(cluster.slots_assigned, "belong to no node", "redis-cli --cluster fix HOST:PORT")
        } else if cluster.slots_ok < SLOTS {
            lacks(
                cluster.slots_ok,
                "are on a node that is away",
                "start it again, or let a replica take its place (CLUSTER FAILOVER TAKEOVER)",
            )
        } else if !cluster.is_ok {
            Finding::fail(
                CHECK,
                "this node is out of touch with the others, and serves nothing",
                "a node that was just started needs two seconds; else look at its network",
            )
        } else if cluster.all_needed == Some(true) {
            Finding::warn(
                CHECK,
                "a node that is away stops all queues, not only its own",
                format!("CONFIG SET cluster-require-full-coverage no on each node, {FOR_GOOD}"),
            )
        } else {
            let (masters, replicas) = (cluster.masters, self.replicas);
            Finding::ok(CHECK, format!("one of {masters} nodes; it has {replicas} replicas"))
        })
    }

    fn of_version(&self) -> Finding {
        const CHECK: &str = "redis version";
        if self.is_recent() {
            return Finding::ok(
                CHECK,
                match self.valkey_version.as_str() {
                    "" => self.version.clone(),
                    valkey => format!("Valkey {valkey}, which works as Redis {}", self.version),
                },
            );
        }
        let found = format!("this Redis is {}: its scripts cannot do what ours need", self.version);
        Finding::fail(CHECK, found, format!("Redis {VERSION_MIN}.0 or later is needed")).unfit()
    }

    fn of_role(&self) -> Finding {
        const CHECK: &str = "redis role";
        if self.role == "master" {
            return Finding::ok(CHECK, "master");
        }
        Finding::fail(
            CHECK,
            "this Redis is a replica, which takes no writes: nothing runs",
            "let REDIS_URL name the master, or the sentinels: redis+sentinel://host,host/master",
        )
    }

    fn of_eviction(&self) -> Finding {
        const CHECK: &str = "redis eviction";
        let policy = &self.maxmemory_policy;
        if policy == "noeviction" {
            return Finding::ok(CHECK, policy);
        }
        Finding::fail(
            CHECK,
            format!(
                "maxmemory-policy is {policy}: a full Redis drops jobs, which run late once they \
                 are missed, and leases, whose jobs run again"
            ),
            format!("CONFIG SET maxmemory-policy noeviction, {FOR_GOOD}"),
        )
    }

    fn of_memory(&self) -> Finding {
        const CHECK: &str = "redis memory";
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let used = mib(self.used_memory);
        if self.maxmemory == 0 {
            return Finding::ok(CHECK, format!("{used} used, no limit"));
        }
        let detail = format!("{used} of {} used", mib(self.maxmemory));
        if is_nearly(self.used_memory, self.maxmemory) {
            let meaning = "new jobs are about to wait in PostgreSQL until there is room";
            return Finding::warn(CHECK, format!("{detail}: {meaning}"), "raise maxmemory");
        }
        Finding::ok(CHECK, detail)
    }

    fn of_persistence(&self) -> Finding {
        const CHECK: &str = "redis persistence";
        if !self.disk_works {
            return Finding::fail(
                CHECK,
                "Redis could not write to its disk: it may refuse all writes until it can",
                "look into its log, and at the disk",
            );
        }
        match (self.appendonly, self.save.as_deref()) {
            (true, _) => Finding::ok(CHECK, "an append-only file"),
            (false, Some("")) => Finding::warn(
                CHECK,
                "none: nothing is lost, but after a restart everything is pushed again from \
                 PostgreSQL",
                format!("CONFIG SET appendonly yes, {FOR_GOOD}"),
            ),
            (false, Some(_)) => Finding::ok(CHECK, "snapshots"),
            (false, None) => {
                Finding::ok(CHECK, "no append-only file; it does not tell whether it snapshots")
            }
        }
    }

    fn of_clients(&self) -> Finding {
        const CHECK: &str = "redis clients";
        let detail = format!("{} of {} connections", self.clients, self.maxclients);
        if self.maxclients > 0 && is_nearly(self.clients, self.maxclients) {
            let each =
                if self.cluster.is_some() { "two, and one a queue of the node's" } else { "three" };
            let meaning = format!("the next worker may find no place (each takes {each})");
            return Finding::warn(CHECK, format!("{detail}: {meaning}"), "raise maxclients");
        }
        Finding::ok(CHECK, detail)
    }

    fn of_permissions(&self) -> Finding {
        const CHECK: &str = "redis permissions";
        if self.lacking.is_empty() {
            return Finding::ok(CHECK, "all that is needed");
        }
        let lacking = self.lacking.join(", ");
        let rule: Vec<String> = self.lacking.iter().map(|name| format!("+{name}")).collect();
        Finding::fail(
            CHECK,
            format!("the user of REDIS_URL may not run {lacking}, or not on our keys"),
            format!("ACL SETUSER <user> {}; config/redis.conf has the whole rule", rule.join(" ")),
        )
    }
}

/// The fields of an answer to `INFO`.
fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

/// Reads what a server uses from the answer to `INFO`. What is missing is 0.
pub(super) fn server_use(info: &str) -> ServerUse {
    let facts = fields(info);
    let number = |name: &str| facts.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let ratio = facts.get("mem_fragmentation_ratio").and_then(|text| text.parse().ok());
    ServerUse {
        memory_used: number("used_memory"),
        memory_rss: number("used_memory_rss"),
        memory_max: Some(number("maxmemory")).filter(|max| *max > 0),
        fragmentation: ratio.unwrap_or(0.0),
        clients: number("connected_clients"),
        evicted_keys: number("evicted_keys"),
    }
}

fn is_nearly(used: u64, limit: u64) -> bool {
    used.saturating_mul(100) >= limit.saturating_mul(NEARLY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\nmaxmemory:1024\r\n\
         used_memory:10\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n\
         connected_clients:3\r\nmaxclients:100\r\naof_last_write_status:ok\r\n";

    #[test]
    fn facts_are_read_and_missing_ones_stay_empty() {
        let facts = ServerFacts::read(GOOD);
        assert_eq!(facts.version, "7.0.15");
        assert_eq!((facts.maxmemory, facts.appendonly), (1_024, true));
        let valkey = GOOD.replace("run_id", "valkey_version:8.1.4\r\nrun_id");
        let told = ServerFacts::read(&valkey).of_version();
        assert_eq!(told, Finding::ok("redis version", "Valkey 8.1.4, which works as Redis 7.0.15"));
        let nothing = ServerFacts { disk_works: true, ..ServerFacts::default() };
        assert_eq!(ServerFacts::read(""), nothing);
    }

    #[test]
    fn what_a_server_uses_is_read_and_no_limit_is_none() {
        let info = "used_memory:512\r\nused_memory_rss:1024\r\nmaxmemory:1024\r\n\
             mem_fragmentation_ratio:2.00\r\nconnected_clients:3\r\nevicted_keys:7\r\n";
        let used = server_use(info);
        assert_eq!((used.memory_percent(), used.evicted_keys, used.clients), (Some(50), 7, 3));
        assert!((used.fragmentation - 2.0).abs() < f64::EPSILON);
        assert_eq!(server_use(&info.replace("maxmemory:1024", "maxmemory:0")).memory_max, None);
    }

    #[test]
    fn each_fault_is_found_alone_and_says_what_to_do() {
        let statuses = |facts: &ServerFacts| -> Vec<(&str, Status)> {
            let wrong = facts.findings().into_iter().filter(|found| found.status != Status::Ok);
            wrong
                .inspect(|found| assert!(found.advice.is_some()))
                .map(|f| (f.check, f.status))
                .collect()
        };
        assert_eq!(statuses(&ServerFacts::read(GOOD)), []);
        for (good, bad, check, status) in [
            ("version:7.0.15", "version:6.2.0", "redis version", Status::Fail),
            ("role:master", "role:slave", "redis role", Status::Fail),
            ("noeviction", "allkeys-lru", "redis eviction", Status::Fail),
            ("used_memory:10", "used_memory:900", "redis memory", Status::Warn),
            ("status:ok", "status:err", "redis persistence", Status::Fail),
            ("clients:3", "clients:80", "redis clients", Status::Warn),
        ] {
            let facts = ServerFacts::read(&GOOD.replace(good, bad));
            assert_eq!(statuses(&facts), [(check, status)]);
        }
        let mut facts = ServerFacts::read(&GOOD.replace("aof_enabled:1", "aof_enabled:0"));
        assert_eq!(statuses(&facts), []);
        facts.save = Some(String::new());
        assert_eq!(statuses(&facts), [("redis persistence", Status::Warn)]);
        assert_eq!(
            statuses(&ServerFacts::read(&format!("{GOOD}cluster_enabled:1\r\n"))),
            [("redis cluster", Status::Fail)]
        );
        let late = ServerFacts { ahead_ms: -1_500, ..ServerFacts::read(GOOD) };
        assert_eq!(statuses(&late), [("redis clock", Status::Warn)]);
    }

    #[test]
    fn a_node_tells_what_is_wrong_with_its_cluster() {
        let info = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n\
             cluster_slots_ok:16384\r\ncluster_size:3\r\n";
        let found = |info: &str, all_needed: Option<bool>| {
            let mut facts = ServerFacts::read(&format!("{GOOD}connected_slaves:1\r\n"));
            facts.join(info, all_needed);
            facts.of_cluster().unwrap()
        };
        let good = Finding::ok("redis cluster", "one of 3 nodes; it has 1 replicas");
        assert_eq!(found(info, Some(false)), good);
        assert_eq!(found(info, None), good);
        for (good, bad, words) in [
            ("assigned:16384", "assigned:16000", "384 of 16384 slots belong to no node"),
            ("_ok:16384", "_ok:10923", "5461 of 16384 slots are on a node that is away"),
            ("state:ok", "state:fail", "out of touch"),
        ] {
            let found = found(&info.replace(good, bad), None);
            assert!(found.status == Status::Fail && found.detail.contains(words), "{found:?}");
        }
        assert_eq!(found(info, Some(true)).status, Status::Warn);
    }
}

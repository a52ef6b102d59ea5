//! What kind of Redis this is: for warnings at start and for the doctor.

use std::collections::HashMap;

/// What a Redis says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as in `7.0.15`; of a Valkey, the Redis version it is compatible with.
    pub version: String,
    /// Changes with every start.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// Bytes it may use; 0 is no limit.
    pub maxmemory: u64,
    /// What it does when they are used up. Anything but `noeviction` loses jobs until the
    /// reconciler notices.
    pub maxmemory_policy: String,
    /// Whether it writes an append-only file.
    pub appendonly: bool,
    /// When it writes snapshots (`save`); `None` if it does not tell, empty for never.
    pub save: Option<String>,
}

impl ServerFacts {
    /// Reads the answer to `INFO`. What is missing stays empty.
    pub(super) fn read(info: &str, save: Option<String>) -> Self {
        let facts: HashMap<&str, &str> =
            info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |name: &str| facts.get(name).copied().unwrap_or_default().to_owned();
        Self {
            version: text("redis_version"),
            run_id: text("run_id"),
            role: text("role"),
            maxmemory: text("maxmemory").parse().unwrap_or(0),
            maxmemory_policy: text("maxmemory_policy"),
            appendonly: text("aof_enabled") == "1",
            save,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_and_missing_ones_stay_empty() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\nmaxmemory:1024\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n";
        let facts = ServerFacts::read(info, None);
        assert_eq!(facts.version, "7.0.15");
        assert_eq!((facts.maxmemory, facts.appendonly), (1_024, true));
        assert_eq!(ServerFacts::read("", None), ServerFacts::default());
    }
}

//! What a broker's server uses of its machine.

/// What a broker's server says that it uses. Of a Cluster the memory is that of the fullest node, since
/// its queues are the first to take no more; connections and keys are those of all nodes together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerUse {
    /// Bytes that its data take.
    pub memory_used: u64,
    /// Bytes that it has from the system.
    pub memory_rss: u64,
    /// Bytes that its data may take; `None` if there is no limit.
    pub memory_max: Option<u64>,
    /// What it has from the system, divided by what its data take.
    pub fragmentation: f64,
    /// Connections that it has.
    pub clients: u64,
    /// Keys that it threw out for want of memory since it was started.
    pub evicted_keys: u64,
}

impl ServerUse {
    /// The part of the memory it may use that is used, in percent; `None` if it has no limit.
    pub fn memory_percent(&self) -> Option<u64> {
        self.memory_used.saturating_mul(100).checked_div(self.memory_max?)
    }

    /// What two servers use that hold queues side by side.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        let fullness = |one: &Self| (one.memory_percent(), one.memory_used);
        let fuller = if fullness(&other) > fullness(&self) { other } else { self };
        Self {
            clients: self.clients + other.clients,
            evicted_keys: self.evicted_keys + other.evicted_keys,
            ..fuller
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_servers_the_fuller_tells_the_memory_and_both_the_rest() {
        let with = |memory_used, memory_max, clients| ServerUse {
            memory_used,
            memory_rss: memory_used * 2,
            memory_max,
            fragmentation: 2.0,
            clients,
            evicted_keys: 1,
        };
        let (large, full) = (with(700, Some(1_000), 3), with(80, Some(100), 4));
        for both in [large.beside(full), full.beside(large)] {
            assert_eq!((both.memory_used, both.memory_percent()), (80, Some(80)));
            assert_eq!((both.clients, both.evicted_keys), (7, 2));
        }
        let unbounded = with(5_000, None, 1);
        assert_eq!(unbounded.beside(full).memory_used, 80, "only what has a limit can be full");
        assert_eq!(with(1, None, 1).beside(unbounded).memory_used, 5_000);
    }
}

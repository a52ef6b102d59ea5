//! What a broker's server uses of its machine.

/// What a broker's server says that it uses.
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
}

//! What a broker's server is asked, for metrics.

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Putting jobs in.
    Push,
    /// Taking due jobs.
    Claim,
    /// Ending leases.
    Settle,
    /// Lengthening leases.
    Renew,
    /// Claiming leases back that the broker lost.
    Reassert,
    /// Finding vanished workers, and taking their leases.
    Reap,
    /// Taking a waiting job out.
    Remove,
    /// Asking where jobs are.
    Find,
    /// Counting.
    Depth,
    /// Opening a queue in a generation.
    Open,
    /// Breakers, pauses, and platforms' windows.
    Gate,
    /// Accounts' windows, quotas, and slots for retries.
    Limit,
    /// Filling and trimming windows.
    Window,
    /// Giving an office to one node.
    Elect,
    /// Saying who lives, and asking who does.
    Roster,
    /// Cheap looks.
    Look,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Push,
        Self::Claim,
        Self::Settle,
        Self::Renew,
        Self::Reassert,
        Self::Reap,
        Self::Remove,
        Self::Find,
        Self::Depth,
        Self::Open,
        Self::Gate,
        Self::Limit,
        Self::Window,
        Self::Elect,
        Self::Roster,
        Self::Look,
    ];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Claim => "claim",
            Self::Settle => "settle",
            Self::Renew => "renew",
            Self::Reassert => "reassert",
            Self::Reap => "reap",
            Self::Remove => "remove",
            Self::Find => "find",
            Self::Depth => "depth",
            Self::Open => "open",
            Self::Gate => "gate",
            Self::Limit => "limit",
            Self::Window => "window",
            Self::Elect => "elect",
            Self::Roster => "roster",
            Self::Look => "look",
        }
    }
}

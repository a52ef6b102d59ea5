//! Every key name, in one place.
//!
//! A queue's keys share one hash tag, so that a queue lies on one node of a Cluster and queues
//! spread over all nodes.

use uuid::Uuid;

use crate::broker::Scope;
use crate::job::Queue;

/// Longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 60;

/// Names the keys of one installation.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// Names keys under `prefix`; `None` if it could break out of the name.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let fits = (1..=PREFIX_BYTES_MAX).contains(&prefix.len())
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
        fits.then(|| Self { prefix: prefix.to_owned() })
    }

    /// A queue's keys, in the order in which every script takes them.
    ///
    /// - `jobs`, hash: id → header and envelope (`value.rs`)
    /// - `ready`, sorted set: ids by due time less head start, in ms
    /// - `delayed`, sorted set: ids by due time, in ms
    /// - `leases`, sorted set: `id|token|worker` by deadline, in ms; the only record of "running"
    /// - `wake`, list: at most one token, for waiters to block on
    /// - `boot`, hash: `run` (the run id of the Redis that the queue was opened on), `generation`
    ///   and `sequence` (the last claim's number in it)
    /// - `gate`, hash, there once anything kept jobs from being claimed. What people want: `paused`,
    ///   `forced`, `revision`. A platform's window: `shut` (ms). The breaker: `epoch`, `open` (until
    ///   when, ms) or `closing` (since when, ms), `cooldown` (ms), `rate` (calls a second); what went
    ///   through it in this epoch: `probes` (left) and `since` (ms), or `ramped`
    /// - `quarantine`, sorted set: ids of due jobs that run alone, in the order of `ready`
    /// - `window`, hash, there if the queue has a gap: `gap` and `cutoff` (turns), and of the
    ///   refill under way `round` (its name) and `until` (when another may begin)
    pub(super) fn of(&self, queue: &Queue) -> [String; 9] {
        ["jobs", "ready", "delayed", "leases", "wake", "boot", "gate", "quarantine", "window"]
            .map(|part| self.key(queue, part))
    }

    /// What the scripts of gates take: the gate; the calls of the breaker's epoch, a hash of `n` and
    /// `b` with a second, for all and for the bad ones; and the list that waiters block on.
    pub(super) fn gate(&self, queue: &Queue) -> [String; 3] {
        ["gate", "calls", "wake"].map(|part| self.key(queue, part))
    }

    /// The list that waiters for a queue block on.
    pub(super) fn wake(&self, queue: &Queue) -> String {
        self.key(queue, "wake")
    }

    /// Where the jobs of these queues wait, and what says that more wait in the ledger.
    pub(super) fn waiting(&self, queues: &[Queue]) -> Vec<String> {
        let parts = ["ready", "delayed", "quarantine", "window"];
        parts.iter().flat_map(|part| self.each(queues, part)).collect()
    }

    /// One part of each queue's keys.
    pub(super) fn each(&self, queues: &[Queue], part: &str) -> Vec<String> {
        queues.iter().map(|queue| self.key(queue, part)).collect()
    }

    /// The string that says that somebody does a chore now; it goes by itself. The first name is the
    /// usual one; others lie on other nodes of a Cluster.
    pub(super) fn chore(&self, chore: &str, number: usize) -> String {
        match number {
            0 => format!("{}:chore:{chore}", self.prefix),
            _ => format!("{}:chore:{chore}:{number}", self.prefix),
        }
    }

    /// Who lives: a hash of processes, with until when each is believed, in ms, and what it said.
    pub(super) fn roster(&self) -> String {
        format!("{}:roster", self.prefix)
    }

    /// The string that says until when an account is blocked, in ms; it goes by itself. All lie on
    /// one node, so that a batch's accounts are asked for in one round trip.
    pub(super) fn account(&self, account: Uuid) -> String {
        format!("{}:{{accounts}}:{}", self.prefix, account.simple())
    }

    /// The string that says how much of a quota is used, and who waits (`room.lua`); it goes by
    /// itself. All lie on the node of the accounts, so that a call takes room in several at once.
    pub(super) fn quota(&self, scope: &Scope) -> String {
        let scope = match scope {
            Scope::App(platform) => format!("app:{platform}"),
            Scope::Account(account) => format!("account:{}", account.simple()),
            Scope::Endpoint(queue) => format!("endpoint:{queue}"),
        };
        format!("{}:{{accounts}}:quota:{scope}", self.prefix)
    }

    /// The string that says when the next slot for a retry is free, in µs; it goes by itself.
    pub(super) fn retries(&self, queue: &Queue) -> String {
        self.key(queue, "retries")
    }

    /// A key that nothing is stored under, to ask what may be done with ours.
    pub(super) fn example(&self) -> String {
        format!("{}:example", self.prefix)
    }

    fn key(&self, queue: &Queue, part: &str) -> String {
        format!("{}:{{{queue}}}:{part}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_queue_share_its_hash_tag() {
        let keys = Keys::new("postworks").unwrap();
        let queue = Queue::parse("post_publication.bluesky").unwrap();
        for key in keys.of(&queue) {
            assert!(key.starts_with("postworks:{post_publication.bluesky}:"), "{key}");
        }
        assert_eq!(keys.of(&queue)[4], keys.wake(&queue));
    }

    #[test]
    fn a_prefix_with_a_hash_tag_of_its_own_is_refused() {
        for bad in ["", "a{b}", "a b", "a\n", &"a".repeat(61)] {
            assert!(Keys::new(bad).is_none(), "{bad:?}");
        }
    }
}

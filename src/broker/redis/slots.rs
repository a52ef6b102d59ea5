//! The slots of a Cluster, and the nodes that hold them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use redis::cluster_routing::Slot;
use redis::{Cmd, ConnectionAddr, Value};

/// A server that keys lie on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The one that there is.
    Only,
    /// One of a Cluster.
    At {
        /// Its name or address. It is copied for each command.
        host: Arc<str>,
        /// Where it listens.
        port: u16,
    },
}

impl Node {
    /// The node that an address names; none if that is no network address.
    pub(super) fn named(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) => {
                Some(Self::At { host: host.as_str().into(), port: *port })
            }
            _ => None,
        }
    }

    /// The node that this one names as `host:port`. It leaves out a host that is its own.
    pub(super) fn beside(&self, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.naming(host, port.parse().ok()?)
    }

    fn naming(&self, host: &str, port: u16) -> Option<Self> {
        let host = match (host, self) {
            // It knows the port only.
            ("?", _) | ("", Self::Only) => return None,
            ("", Self::At { host, .. }) => Arc::clone(host),
            (host, _) => host.into(),
        };
        Some(Self::At { host, port })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("Redis"),
            Self::At { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::At { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Which node holds which slot.
#[derive(Default)]
pub(super) struct Slots {
    nodes: Vec<Node>,
    /// The places of their masters among the nodes.
    owners: HashMap<Slot, usize>,
}

impl Slots {
    /// Reads what a node answered to `CLUSTER SLOTS`: ranges, each with its master first. What
    /// cannot be read is held by nobody.
    pub(super) fn read(answer: &Value, told_by: &Node) -> Self {
        let mut slots = Self::default();
        let Value::Array(ranges) = answer else { return slots };
        for range in ranges {
            let Value::Array(range) = range else { continue };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else {
                continue;
            };
            let [host, Value::Int(port), ..] = &master[..] else { continue };
            let host = match host {
                Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
                _ => String::new(),
            };
            let Some(node) = u16::try_from(*port).ok().and_then(|port| told_by.naming(&host, port))
            else {
                continue;
            };
            let owner = slots.know(node);
            let slot = |number: i64| u16::try_from(number).ok().and_then(Slot::new);
            slots.owners.extend((*first..=*last).map_while(slot).map(|slot| (slot, owner)));
        }
        slots
    }

    /// Whether no node is known.
    pub(super) fn are_unknown(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node that holds a slot.
    pub(super) fn owner(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(*self.owners.get(&slot)?)
    }

    /// Every node that holds slots.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Puts a slot on a node.
    pub(super) fn moved(&mut self, slot: Slot, to: Node) {
        let owner = self.know(to);
        self.owners.insert(slot, owner);
    }

    /// Answers the place of a node.
    fn know(&mut self, node: Node) -> usize {
        let known = self.nodes.iter().position(|known| *known == node);
        known.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }
}

/// Without the thousands of slots.
impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// The slot that a command's keys lie in; none if it has no key.
pub(super) fn slot_of(command: &Cmd) -> Option<Slot> {
    let mut args = command.args_iter().filter_map(|arg| match arg {
        redis::Arg::Simple(arg) => Some(arg),
        _ => None,
    });
    let key = match args.next()? {
        b"EVALSHA" | b"EVAL" => {
            let count = args.nth(1)?;
            if count == b"0" { None } else { args.next() }
        }
        b"PING" | b"TIME" | b"INFO" | b"CLIENT" | b"CONFIG" | b"CLUSTER" => None,
        _ => args.next(),
    };
    key.map(Slot::for_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Node {
        Node::At { host: host.into(), port }
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())];
        let replica = vec![Value::BulkString(b"replica".to_vec()), Value::Int(1)];
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            Value::Array(replica),
        ])
    }

    #[test]
    fn slots_lie_on_masters_and_a_node_that_names_no_host_means_its_own() {
        let host = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let told = Value::Array(vec![
            range(0, 99, host("a"), 1),
            range(100, 16_000, Value::Nil, 2),
            range(16_001, 16_001, host("a"), 1),
            range(16_002, 16_002, host("?"), 3),
            range(16_003, 70_000, host(""), 4),
            Value::Okay,
        ]);
        let slots = Slots::read(&told, &node("me", 9));
        let owner = |number| slots.owner(Slot::new(number).unwrap()).cloned();
        assert_eq!(owner(99), Some(node("a", 1)));
        assert_eq!(owner(100), Some(node("me", 2)));
        assert_eq!(owner(16_001), Some(node("a", 1)));
        assert_eq!(owner(16_002), None, "a node that nobody can name");
        assert_eq!(owner(16_003), Some(node("me", 4)));
        assert_eq!(owner(16_383), Some(node("me", 4)));
        assert_eq!(slots.nodes(), [node("a", 1), node("me", 2), node("me", 4)]);
        let mut slots = slots;
        slots.moved(Slot::new(99).unwrap(), node("c", 1));
        assert_eq!(slots.owner(Slot::new(99).unwrap()), Some(&node("c", 1)));
        assert_eq!(slots.owner(Slot::new(98).unwrap()), Some(&node("a", 1)));
        for garbage in [Value::Nil, Value::Okay, Value::Array(vec![Value::Nil])] {
            assert!(Slots::read(&garbage, &node("me", 9)).are_unknown());
        }
    }

    #[test]
    fn commands_lie_where_their_first_key_does() {
        let slot = Slot::for_key("{a}");
        for (of, expected) in [
            ("EXISTS p:{a}:ready p:{a}:delayed", Some(slot)),
            ("BLPOP p:{a}:wake 5", Some(slot)),
            ("EVALSHA 0123 2 p:{a}:jobs p:{a}:ready x", Some(slot)),
            ("EVAL return 1 {a} x", Some(slot)),
            ("EVALSHA 0123 0 {a}", None),
            ("TIME", None),
            ("INFO memory", None),
            ("CLIENT LIST", None),
        ] {
            let mut command = Cmd::new();
            command.arg(of.split(' ').collect::<Vec<_>>());
            assert_eq!(slot_of(&command), expected, "{of}");
        }
        // What the specification of Redis Cluster gives as an example.
        assert_eq!(Slot::for_key("123456789"), Slot::new(12_739).unwrap());
    }

    #[test]
    fn a_node_is_shown_and_named_with_its_port() {
        let here = node("::1", 7_000);
        assert_eq!(here.to_string(), "[::1]:7000");
        assert_eq!(here.beside(":7001"), Some(node("::1", 7_001)));
        assert_eq!(here.beside("::2:7001"), Some(node("::2", 7_001)));
        assert_eq!(here.beside("b:7001"), Some(node("b", 7_001)));
        assert_eq!(here.beside("?:7001"), None);
        assert_eq!(here.beside("nonsense"), None);
    }
}

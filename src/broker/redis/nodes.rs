//! Which server a key lies on.
//!
//! One server holds everything, whether the address names it or the sentinels do. Of a Cluster each
//! node holds some of the slots that keys are spread over. Which ones is asked of the nodes when it
//! is first needed; again when one of them points elsewhere, or is away, since another may have
//! taken its place; and once in a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::seq::IndexedRandom as _;
use redis::aio::MultiplexedConnection;
use redis::cluster_routing::Slot;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::Instant;

use super::connect::{self, Connector};
use super::connection::Pace;
use super::slots::{Node, Slots};

/// Longest wait for a node that is asked where slots lie; others are asked meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes that are asked at the same time: one that is away must not keep the others from telling.
const ASKED: usize = 4;
/// After this, what is known is asked for again.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// If it is doubted, after this; a Cluster that is being changed points elsewhere all the time.
const DOUBTED_FOR: Duration = Duration::from_millis(200);

/// The servers, and what is known of where slots lie.
#[derive(Debug)]
pub(super) struct Nodes {
    connector: Connector,
    cluster: Option<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    /// The nodes that the address names.
    seeds: Vec<Node>,
    known: Mutex<Known>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    slots: Slots,
    asked_at: Option<Instant>,
    doubted: bool,
    pace: Pace,
    /// Why the last attempt failed.
    failure: Option<RedisError>,
}

impl Nodes {
    pub(super) fn new(connector: Connector) -> Self {
        let cluster = connector.seeds().map(|seeds| Cluster {
            seeds,
            known: Mutex::default(),
            asking: Arc::default(),
        });
        Self { connector, cluster }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether keys of different queues may lie on different servers.
    pub(super) fn are_several(&self) -> bool {
        self.cluster.is_some()
    }

    /// The node that holds a slot; for none, any.
    ///
    /// # Errors
    /// No node holds it, or none can be asked.
    pub(super) async fn of(self: &Arc<Self>, slot: Option<Slot>) -> RedisResult<Node> {
        let Some(cluster) = &self.cluster else { return Ok(Node::Only) };
        self.refresh(cluster).await?;
        let known = cluster.lock();
        let node = match slot {
            Some(slot) => known.slots.owner(slot),
            None => known.slots.nodes().choose(&mut rand::rng()),
        };
        node.cloned().ok_or_else(|| {
            // In the words of a node that is asked for it.
            let kind = ErrorKind::Server(ServerErrorKind::ClusterDown);
            RedisError::from((kind, "no node of the Cluster serves this slot"))
        })
    }

    /// Every node that holds slots.
    ///
    /// # Errors
    /// None can be asked.
    pub(super) async fn all(self: &Arc<Self>) -> RedisResult<Vec<Node>> {
        let Some(cluster) = &self.cluster else { return Ok(vec![Node::Only]) };
        self.refresh(cluster).await?;
        Ok(cluster.lock().slots.nodes().to_vec())
    }

    /// The node that is known to hold a slot.
    pub(super) fn known(&self, slot: Slot) -> Option<Node> {
        match &self.cluster {
            None => Some(Node::Only),
            Some(cluster) => cluster.lock().slots.owner(slot).cloned(),
        }
    }

    /// Whether a node still holds slots, as far as is known.
    pub(super) fn has(&self, node: &Node) -> bool {
        match &self.cluster {
            None => true,
            Some(cluster) => cluster.lock().slots.nodes().contains(node),
        }
    }

    /// Opens a connection whose commands are given up when no answer came within `answer`.
    pub(super) async fn open(
        &self,
        node: &Node,
        answer: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        self.connector.open(node, answer).await
    }

    /// Takes note that a slot lies elsewhere, as a node said; others may as well.
    pub(super) fn moved(&self, slot: Slot, to: Node) {
        if let Some(cluster) = &self.cluster {
            let mut known = cluster.lock();
            known.slots.moved(slot, to);
            known.doubted = true;
        }
    }

    /// Takes note that a node is away: another may have taken its place.
    pub(super) fn doubt(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.lock().doubted = true;
        }
    }

    /// Asks where slots lie if that is not known; if it is old or doubted, beside the callers, who
    /// go by what is known.
    async fn refresh(self: &Arc<Self>, cluster: &Cluster) -> RedisResult<()> {
        if !cluster.lock().slots.are_unknown() {
            if cluster.lock().is_due()
                && let Ok(asking) = Arc::clone(&cluster.asking).try_lock_owned()
            {
                let nodes = Arc::clone(self);
                tokio::spawn(async move {
                    if let Some(cluster) = &nodes.cluster {
                        // Whoever finds a node away says so.
                        let _ = nodes.ask(cluster).await;
                    }
                    drop(asking);
                });
            }
            return Ok(());
        }
        let _asking = cluster.asking.lock().await;
        {
            let known = cluster.lock();
            if !known.slots.are_unknown() {
                return Ok(());
            }
            if let Some(failure) = known.failure.as_ref().filter(|_| known.pace.must_pause()) {
                return Err(failure.clone());
            }
        }
        // Rare, and large.
        Box::pin(self.ask(cluster)).await
    }

    /// Asks some nodes at once; the first that is in touch with the others is believed.
    async fn ask(&self, cluster: &Cluster) -> RedisResult<()> {
        let candidates = cluster.candidates();
        let mut asked: FuturesUnordered<_> =
            candidates.iter().map(|node| self.ask_one(node)).collect();
        let (mut cut_off, mut failure) = (None, None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok((slots, true)) => return cluster.learn(Ok(slots)),
                Ok((slots, false)) => cut_off = Some(slots),
                // What a node says explains more than that another is away.
                Err(error) if failure.is_none() || !error.is_io_error() => failure = Some(error),
                Err(_) => {}
            }
        }
        cluster.learn(cut_off.ok_or_else(|| {
            failure.unwrap_or_else(|| RedisError::from((ErrorKind::Io, "no node to ask")))
        }))
    }

    /// Asks one node; answers also whether it is in touch with the others.
    async fn ask_one(&self, node: &Node) -> RedisResult<(Slots, bool)> {
        let mut connection = self.open(node, ANSWER_TIMEOUT).await?;
        let mut question = redis::pipe();
        question.cmd("CLUSTER").arg("SLOTS");
        question.cmd("CLUSTER").arg("INFO");
        let answers = connect::send_all(&mut connection, &question).await?;
        let [slots, state] = &answers[..] else { return Err(nonsense()) };
        let Value::BulkString(state) = state else { return Err(nonsense()) };
        let state = String::from_utf8_lossy(state);
        Ok((Slots::read(slots, node), state.contains("cluster_state:ok")))
    }
}

impl Cluster {
    /// Some nodes to ask, of those that are known and those that the address names.
    fn candidates(&self) -> Vec<Node> {
        let mut rng = rand::rng();
        let mut chosen: Vec<Node> = Vec::new();
        let known = self.lock();
        let of_all = known.slots.nodes().sample(&mut rng, ASKED);
        for node in of_all.chain(self.seeds.sample(&mut rng, ASKED)) {
            if chosen.len() < ASKED && !chosen.contains(node) {
                chosen.push(node.clone());
            }
        }
        chosen
    }

    fn learn(&self, told: RedisResult<Slots>) -> RedisResult<()> {
        let mut known = self.lock();
        known.asked_at = Some(Instant::now());
        match told {
            Ok(slots) => {
                known.slots = slots;
                known.doubted = false;
                known.failure = None;
                known.pace.succeeded();
                Ok(())
            }
            Err(error) => {
                known.pace.failed();
                known.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_due(&self) -> bool {
        let after = if self.doubted { DOUBTED_FOR } else { KNOWN_FOR };
        self.asked_at.is_none_or(|time| time.elapsed() >= after)
    }
}

fn nonsense() -> RedisError {
    RedisError::from((ErrorKind::Parse, "a node does not say where slots lie"))
}

/// Where a node sends us instead of answering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// There, from now on.
    Moved(Node),
    /// There, this once: the slot is on its way.
    Ask(Node),
    /// Nowhere yet: a part of the keys is here and a part there.
    Later,
}

impl Elsewhere {
    /// Reads the answer of a node; `None` if it does not send us away.
    pub(super) fn of(error: &RedisError, from: &Node) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Self::Later),
            ErrorKind::Server(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
                let (address, _) = error.redirect_node()?;
                let to = from.beside(address)?;
                Some(if kind == ServerErrorKind::Moved { Self::Moved(to) } else { Self::Ask(to) })
            }
            _ => None,
        }
    }
}

//! Waiting for a wake token.
//!
//! A waiter blocks on the server (`BLPOP`), on a connection of its own. Dropping the wait must not
//! lose a token that the server has already handed out, so the blocking call lives in a task of
//! its own, and the next wait takes it over. A token that arrives while nobody waits is put back
//! for others. What remains is a hint all the same: workers also look by themselves, seldom.
//!
//! Several keys in one `BLPOP` must lie in one slot, so on a Cluster each queue takes a call, and a
//! connection, of its own. A node that is away takes no other's queues along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connection::Pace;
use super::error::classify;
use super::nodes::{Elsewhere, Nodes};
use super::script::WAKE;
use super::slots::{Node, slot_of};
use crate::broker::Error;

/// Longest that the server is asked to block: so long a dead connection may go unnoticed.
const SLICE: Duration = Duration::from_secs(5);
/// How much later than that an answer may come.
const GRACE: Duration = Duration::from_secs(2);
/// Blocking calls and connections that are kept for the next wait, beyond those that one takes.
const KEPT_MAX: usize = 3;

/// A connection to wait on, and where it leads.
type Place = (Node, MultiplexedConnection);

/// Waits for tokens.
#[derive(Debug)]
pub(super) struct Listener {
    nodes: Arc<Nodes>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unattended: Vec<Blocking>,
    spare: Vec<Place>,
    /// Calls that the last wait took.
    taken: usize,
    /// Of those that failed last, by their first key.
    paces: HashMap<String, Pace>,
}

/// A blocking call that is under way.
#[derive(Debug)]
struct Blocking {
    keys: Vec<String>,
    attended: Arc<AtomicBool>,
    task: JoinHandle<RedisResult<(Place, Option<String>)>>,
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A blocking call that somebody waits for; when he stops, it is kept for the next.
struct Attended<'a> {
    listener: &'a Listener,
    blocking: Option<Blocking>,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if let Some(blocking) = self.blocking.take() {
            blocking.attended.store(false, Ordering::SeqCst);
            self.listener.keep(blocking);
        }
    }
}

impl Listener {
    pub(super) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, state: Mutex::default() }
    }

    /// Returns the key to which a token came, or `None` after `timeout`. Each part of the keys takes
    /// a call of its own.
    ///
    /// # Errors
    /// After a bounded pause if no server can be reached.
    pub(super) async fn wait(
        &self,
        parts: Vec<Vec<String>>,
        timeout: Duration,
    ) -> Result<Option<String>, Error> {
        self.with(|state| state.taken = parts.len());
        let over = tokio::time::sleep(timeout);
        tokio::pin!(over);
        let deadline = over.deadline();
        let mut calls: FuturesUnordered<_> =
            parts.into_iter().map(|keys| self.wait_for(keys, deadline)).collect();
        let mut failure = None;
        while !calls.is_empty() {
            tokio::select! {
                () = &mut over => return Ok(None),
                Some(ended) = calls.next() => match ended {
                    Ok(woken) => return Ok(woken),
                    Err(error) => failure = Some(error),
                },
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        // There was nothing to wait for.
        over.await;
        Ok(None)
    }

    /// Returns the key of these to which a token came.
    async fn wait_for(
        &self,
        keys: Vec<String>,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        loop {
            let mut attended = self.attend(&keys);
            let Some(blocking) = attended.blocking.as_mut() else { return Ok(None) };
            let ended_before = blocking.task.is_finished();
            let ended = (&mut blocking.task).await;
            attended.blocking = None;
            match ended {
                Ok(Ok((place, woken))) => {
                    self.with(|state| {
                        state.paces.remove(first(&keys));
                        let kept = state.kept_max();
                        state.spare.truncate(kept - 1);
                        state.spare.push(place);
                    });
                    if woken.is_some() {
                        return Ok(woken);
                    }
                }
                // It broke while nobody waited, perhaps long ago.
                Ok(Err(_)) if ended_before => {}
                Ok(Err(error)) => return Err(self.failed(&keys, error, deadline).await),
                Err(_aborted) => return Ok(None),
            }
        }
    }

    /// Pauses, so that a caller who tries again at once does not spin.
    async fn failed(&self, keys: &[String], error: RedisError, deadline: Instant) -> Error {
        let pause =
            self.with(|state| state.paces.entry(first(keys).to_owned()).or_default().failed());
        tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
        classify(error)
    }

    /// Takes over the call that blocks on these keys, or starts one.
    fn attend(&self, keys: &[String]) -> Attended<'_> {
        let node = slot_of(&blpop(keys)).and_then(|slot| self.nodes.known(slot));
        let kept = self.with(|state| {
            let found = state.unattended.iter().position(|blocking| blocking.keys == keys);
            found.map(|at| state.unattended.swap_remove(at)).ok_or_else(|| {
                let spare =
                    state.spare.iter().position(|(leads_to, _)| Some(leads_to) == node.as_ref());
                spare.map(|at| state.spare.swap_remove(at))
            })
        });
        let blocking = match kept {
            Ok(blocking) => {
                blocking.attended.store(true, Ordering::SeqCst);
                blocking
            }
            Err(spare) => self.start(keys, spare),
        };
        Attended { listener: self, blocking: Some(blocking) }
    }

    fn start(&self, keys: &[String], spare: Option<Place>) -> Blocking {
        let attended = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(block(
            Arc::clone(&self.nodes),
            spare,
            keys.to_vec(),
            Arc::clone(&attended),
        ));
        Blocking { keys: keys.to_vec(), attended, task }
    }

    fn keep(&self, blocking: Blocking) {
        self.with(|state| {
            if state.unattended.len() >= state.kept_max() {
                state.unattended.remove(0);
            }
            state.unattended.push(blocking);
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn kept_max(&self) -> usize {
        self.taken.max(1) + KEPT_MAX
    }
}

fn first(keys: &[String]) -> &str {
    keys.first().map_or("", String::as_str)
}

fn blpop(keys: &[String]) -> Cmd {
    let mut blpop = redis::cmd("BLPOP");
    blpop.arg(keys).arg(SLICE.as_secs());
    blpop
}

/// Blocks once; answers the connection and the key of a token that came for somebody.
async fn block(
    nodes: Arc<Nodes>,
    spare: Option<Place>,
    keys: Vec<String>,
    attended: Arc<AtomicBool>,
) -> RedisResult<(Place, Option<String>)> {
    let blpop = blpop(&keys);
    let slot = slot_of(&blpop);
    let (mut node, mut connection) = match spare {
        Some(place) => place,
        None => connect(&nodes, nodes.of(slot).await?).await?,
    };
    let answer: Value = match blpop.query_async(&mut connection).await {
        Ok(answer) => answer,
        Err(error) => match (Elsewhere::of(&error, &node), slot) {
            (Some(Elsewhere::Moved(to)), Some(slot)) if nodes.are_several() => {
                nodes.moved(slot, to.clone());
                (node, connection) = connect(&nodes, to).await?;
                blpop.query_async(&mut connection).await?
            }
            _ => {
                nodes.doubt();
                return Err(error);
            }
        },
    };
    let place = (node, connection.clone());
    let Value::Array(answer) = answer else { return Ok((place, None)) };
    let Some(Value::BulkString(key)) = answer.first() else { return Ok((place, None)) };
    if attended.load(Ordering::SeqCst) {
        return Ok((place, Some(String::from_utf8_lossy(key).into_owned())));
    }
    redis::cmd("EVAL").arg(WAKE).arg(1).arg(key).exec_async(&mut connection).await?;
    Ok((place, None))
}

async fn connect(nodes: &Nodes, node: Node) -> RedisResult<Place> {
    match nodes.open(&node, SLICE + GRACE).await {
        Ok(connection) => Ok((node, connection)),
        Err(error) => {
            nodes.doubt();
            Err(error)
        }
    }
}

//! Waiting for a wake token.
//!
//! A waiter blocks on the server (`BLPOP`), on a connection of its own. Dropping the wait must not
//! lose a token that the server has already handed out, so the blocking call lives in a task of
//! its own, and the next wait takes it over. A token that arrives while nobody waits is put back
//! for others. What remains is a hint all the same: workers also look by themselves, seldom.
//!
//! Several keys in one `BLPOP` must lie on one node; on a Cluster this will take one call a node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connect::Connector;
use super::connection::Pace;
use super::error::classify;
use super::script::WAKE;
use crate::broker::Error;

/// Longest that the server is asked to block: so long a dead connection may go unnoticed.
const SLICE: Duration = Duration::from_secs(5);
/// How much later than that an answer may come.
const GRACE: Duration = Duration::from_secs(2);
/// Blocking calls and connections that are kept for the next wait.
const KEPT_MAX: usize = 4;

/// Waits for tokens.
#[derive(Debug)]
pub(super) struct Listener {
    connector: Arc<Connector>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unattended: Vec<Blocking>,
    spare: Vec<MultiplexedConnection>,
    pace: Pace,
}

/// A blocking call that is under way.
#[derive(Debug)]
struct Blocking {
    keys: Vec<String>,
    attended: Arc<AtomicBool>,
    task: JoinHandle<RedisResult<(MultiplexedConnection, Option<String>)>>,
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
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, state: Mutex::default() }
    }

    /// Returns the key to which a token came, or `None` after `timeout`.
    ///
    /// # Errors
    /// After a bounded pause if the server cannot be reached.
    pub(super) async fn wait(
        &self,
        keys: Vec<String>,
        timeout: Duration,
    ) -> Result<Option<String>, Error> {
        if keys.is_empty() {
            tokio::time::sleep(timeout).await;
            return Ok(None);
        }
        let over = tokio::time::sleep(timeout);
        tokio::pin!(over);
        loop {
            let mut attended = self.attend(&keys);
            let Some(blocking) = attended.blocking.as_mut() else { return Ok(None) };
            let ended_before = blocking.task.is_finished();
            let ended = tokio::select! {
                () = &mut over => return Ok(None),
                ended = &mut blocking.task => ended,
            };
            attended.blocking = None;
            match ended {
                Ok(Ok((connection, woken))) => {
                    self.with(|state| {
                        state.pace.succeeded();
                        state.spare.truncate(KEPT_MAX - 1);
                        state.spare.push(connection);
                    });
                    if woken.is_some() {
                        return Ok(woken);
                    }
                }
                // It broke while nobody waited, perhaps long ago.
                Ok(Err(_)) if ended_before => {}
                Ok(Err(error)) => return Err(self.failed(error, &mut over).await),
                Err(_aborted) => return Ok(None),
            }
        }
    }

    /// Pauses, so that a caller who tries again at once does not spin.
    async fn failed(
        &self,
        error: RedisError,
        over: &mut std::pin::Pin<&mut tokio::time::Sleep>,
    ) -> Error {
        let pause = self.with(|state| state.pace.failed());
        tokio::time::sleep_until(over.deadline().min(Instant::now() + pause)).await;
        classify(error)
    }

    /// Takes over the call that blocks on these keys, or starts one.
    fn attend(&self, keys: &[String]) -> Attended<'_> {
        let kept = self.with(|state| {
            let found = state.unattended.iter().position(|blocking| blocking.keys == keys);
            found.map(|at| state.unattended.swap_remove(at)).ok_or_else(|| state.spare.pop())
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

    fn start(&self, keys: &[String], spare: Option<MultiplexedConnection>) -> Blocking {
        let attended = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(block(
            Arc::clone(&self.connector),
            spare,
            keys.to_vec(),
            Arc::clone(&attended),
        ));
        Blocking { keys: keys.to_vec(), attended, task }
    }

    fn keep(&self, blocking: Blocking) {
        self.with(|state| {
            if state.unattended.len() >= KEPT_MAX {
                state.unattended.remove(0);
            }
            state.unattended.push(blocking);
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Blocks once; answers the connection and the key of a token that came for somebody.
async fn block(
    connector: Arc<Connector>,
    spare: Option<MultiplexedConnection>,
    keys: Vec<String>,
    attended: Arc<AtomicBool>,
) -> RedisResult<(MultiplexedConnection, Option<String>)> {
    let mut connection = match spare {
        Some(connection) => connection,
        None => connector.open(SLICE + GRACE).await?,
    };
    let mut blpop = redis::cmd("BLPOP");
    blpop.arg(&keys).arg(SLICE.as_secs());
    let answer: Value = blpop.query_async(&mut connection).await?;
    let Value::Array(answer) = answer else { return Ok((connection, None)) };
    let Some(Value::BulkString(key)) = answer.first() else { return Ok((connection, None)) };
    if attended.load(Ordering::SeqCst) {
        return Ok((connection, Some(String::from_utf8_lossy(key).into_owned())));
    }
    redis::cmd("EVAL").arg(WAKE).arg(1).arg(key).exec_async(&mut connection).await?;
    Ok((connection, None))
}

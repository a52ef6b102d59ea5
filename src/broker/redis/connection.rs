//! The connection to one server that commands share: bounded in time, replaced when it breaks.
//!
//! The client library's own manager does not name the connections it makes, and a worker whose
//! connection has no name counts as dead. So connections are kept here: made lazily, one attempt
//! at a time, at growing intervals. The command that met the broken connection fails and is not
//! sent again, since nobody knows whether it was carried out.
//!
//! Whoever asks a node of a Cluster that is away is told so at once, and it is tried aside: those
//! who wait here keep others from nodes that are well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::error::{classify, ends_connection, is_away, refused};
use super::nodes::Nodes;
use super::slots::Node;

/// Longest wait for an answer: the slowest script takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// First and longest pause between attempts: a Redis that restarted is found within half a second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// When the next attempt may be made.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// Notes a failure; answers the pause before the next attempt: doubled each time, with jitter
    /// so that a fleet does not come back in step.
    pub(super) fn failed(&mut self) -> Duration {
        let (first, longest) = PAUSE;
        let pause = longest.min(first * 2_u32.saturating_pow(self.failures.min(8)));
        let pause = pause.mul_f64(rand::random_range(0.5..1.0));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
        pause
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn must_pause(&self) -> bool {
        self.not_before.is_some_and(|time| Instant::now() < time)
    }
}

/// The connection to one server.
#[derive(Debug)]
pub(super) struct Line {
    nodes: Arc<Nodes>,
    node: Node,
    current: Mutex<Current>,
    connecting: Arc<tokio::sync::Mutex<()>>,
    /// Whether it was said that this node of several does not serve.
    missed: AtomicBool,
}

#[derive(Debug, Default)]
struct Current {
    /// Counts connections, so that a late error of an old one does not end its successor.
    number: u64,
    connection: Option<MultiplexedConnection>,
    pace: Pace,
    /// Why the last attempt to connect failed, or what hung.
    failure: Option<RedisError>,
    /// Since when, if a connection broke or could not be made before.
    restored: Option<Instant>,
}

impl Line {
    pub(super) fn new(nodes: Arc<Nodes>, node: Node) -> Self {
        Self {
            nodes,
            node,
            current: Mutex::default(),
            connecting: Arc::default(),
            missed: AtomicBool::new(false),
        }
    }

    /// Sends one command.
    pub(super) async fn send(self: &Arc<Self>, command: &Cmd) -> RedisResult<Value> {
        let sent = async {
            let (number, mut connection) = self.connection().await?;
            let answer = command.query_async(&mut connection).await;
            self.note(number, answer)
        };
        let answer: RedisResult<Value> = sent.await;
        self.tell(answer.as_ref().err());
        answer
    }

    /// Sends several commands in one round trip; answers what became of each.
    pub(super) async fn send_all(
        self: &Arc<Self>,
        commands: &Pipeline,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let sent = async {
            let (number, mut connection) = self.connection().await?;
            // The library's own error for several commands has lost the server's words.
            let answers = connection.send_packed_commands(commands, 0, commands.len()).await;
            let answers = self.note(number, answers)?.into_iter().map(Value::extract_error);
            Ok(answers.map(|answer| self.note(number, answer)).collect())
        };
        let answers: RedisResult<Vec<RedisResult<Value>>> = sent.await;
        self.tell(match &answers {
            Ok(answers) => answers.iter().find_map(|answer| answer.as_ref().err()),
            Err(error) => Some(error),
        });
        answers
    }

    /// For how long the connection has held; for ever if none ever broke.
    pub(super) fn unbroken(&self) -> Duration {
        self.lock().restored.map_or(Duration::MAX, |since| since.elapsed())
    }

    /// Whether there is a connection, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.lock().connection.is_some()
    }

    /// The connection, made now if there is none.
    async fn connection(self: &Arc<Self>) -> RedisResult<(u64, MultiplexedConnection)> {
        let failure = {
            let current = self.lock();
            if let Some(found) = current.found() {
                return Ok(found);
            }
            current.failure.clone().filter(|_| self.nodes.are_several())
        };
        if let Some(failure) = failure {
            if !self.lock().pace.must_pause() {
                self.connect_aside();
            }
            return Err(failure);
        }
        // One attempt at a time. Those who waited for it find its connection, or its pause.
        let _connecting = self.connecting.lock().await;
        {
            let current = self.lock();
            if let Some(found) = current.found() {
                return Ok(found);
            }
            // Its cause stays the cause: whoever logs an outage logs the first error that it meets.
            if let Some(failure) = current.failure.as_ref().filter(|_| current.pace.must_pause()) {
                return Err(failure.clone());
            }
        }
        // Rare, and large.
        Box::pin(self.connect()).await
    }

    /// Connects while nobody waits for it.
    fn connect_aside(self: &Arc<Self>) {
        if let Ok(connecting) = Arc::clone(&self.connecting).try_lock_owned() {
            let line = Arc::clone(self);
            tokio::spawn(async move {
                // Kept as the reason, for whoever asks next.
                let _ = line.connect().await;
                drop(connecting);
            });
        }
    }

    async fn connect(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let opened = self.nodes.open(&self.node, ANSWER_TIMEOUT).await;
        let mut current = self.lock();
        match opened {
            Ok(connection) => {
                current.number += 1;
                current.connection = Some(connection.clone());
                if let Some(since) = &mut current.restored {
                    *since = Instant::now();
                }
                current.pace.succeeded();
                current.let_in();
                Ok((current.number, connection))
            }
            Err(error) => {
                current.pace.failed();
                current.restored = Some(Instant::now());
                current.kept_out(&error);
                Err(error)
            }
        }
    }

    fn note<T>(&self, number: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer
            && ends_connection(error)
        {
            let mut current = self.lock();
            if current.number == number {
                current.connection = None;
                current.restored = Some(Instant::now());
                // One that broke may be back at once; one that hangs goes on hanging.
                if error.is_timeout() {
                    current.failure = Some(error.clone());
                }
            }
        }
        answer
    }

    /// Says once that a node of several does not serve, and that it does again. If there is but one,
    /// whoever meets the outage says so.
    fn tell(&self, error: Option<&RedisError>) {
        if !self.nodes.are_several() {
            return;
        }
        let node = &self.node;
        if let Some(error) = error.filter(|error| is_away(error)) {
            self.nodes.doubt();
            if !self.missed.swap(true, Ordering::Relaxed) {
                let error = error as &dyn std::error::Error;
                tracing::warn!(%node, error, "a node of the Cluster does not serve; its queues wait");
            }
        } else if self.missed.load(Ordering::Relaxed) {
            self.missed.store(false, Ordering::Relaxed);
            tracing::info!(%node, "the node of the Cluster serves again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// Notes why there is no connection; says once what a person must put right, since an outage
    /// may have begun, and been logged, with a connection that broke.
    fn kept_out(&mut self, error: &RedisError) {
        let is_known = self.failure.as_ref().is_some_and(refused);
        if refused(error) && !is_known {
            let error = &classify(error.clone()) as &dyn std::error::Error;
            tracing::error!(error, "cannot connect to Redis until a person has put this right");
        }
        self.failure = Some(error.clone());
    }

    fn let_in(&mut self) {
        if self.failure.take().is_some_and(|failure| refused(&failure)) {
            tracing::info!("Redis lets us in again");
        }
    }

    fn found(&self) -> Option<(u64, MultiplexedConnection)> {
        self.connection.clone().map(|connection| (self.number, connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_second_and_no_further() {
        let mut pace = Pace::default();
        assert!(pace.failed() <= PAUSE.0);
        for _ in 0..50 {
            assert!(pace.failed() <= PAUSE.1);
        }
        assert!(pace.must_pause());
        pace.succeeded();
        assert!(!pace.must_pause());
    }
}

//! The connection that commands share: bounded in time, replaced when it breaks.
//!
//! The client library's own manager does not name the connections it makes, and a worker whose
//! connection has no name counts as dead. So connections are kept here: made lazily, one attempt
//! at a time, at growing intervals. The command that met the broken connection fails and is not
//! sent again, since nobody knows whether it was carried out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::connect::{self, Connector};
use super::error::{classify, ends_connection, is_unknown_script, refused};
use super::meter::Meter;
use super::script::Script;
use crate::broker::{Error, Operation};

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

    fn must_pause(&self) -> bool {
        self.not_before.is_some_and(|time| Instant::now() < time)
    }
}

/// The connection that commands share.
#[derive(Debug)]
pub(super) struct Commands {
    connector: Arc<Connector>,
    meter: Meter,
    current: Mutex<Current>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Current {
    /// Counts connections, so that a late error of an old one does not end its successor.
    number: u64,
    connection: Option<MultiplexedConnection>,
    pace: Pace,
    /// Why the last attempt to connect failed.
    failure: Option<RedisError>,
    /// Since when, if a connection broke or could not be made before.
    restored: Option<Instant>,
}

impl Commands {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            meter: Meter::new(),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Sends one command.
    pub(super) async fn query(&self, of: Operation, command: &Cmd) -> Result<Value, Error> {
        self.meter.measure(of, self.send(command)).await.map_err(classify)
    }

    /// Calls a script; sends it as a whole where the server does not know it.
    pub(super) async fn call(&self, script: &Script, call: &Cmd) -> Result<Value, Error> {
        let sent = async {
            match self.send(call).await {
                Err(unknown) if is_unknown_script(&unknown) => self.send(&script.whole(call)).await,
                answer => answer,
            }
        };
        self.meter.measure(script.operation, sent).await.map_err(classify)
    }

    /// Sends several commands in one round trip.
    pub(super) async fn query_all(
        &self,
        of: Operation,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        self.meter.measure(of, self.send_all(commands)).await.map_err(classify)
    }

    /// Calls a script several times in one round trip, beside other commands perhaps.
    pub(super) async fn call_all(
        &self,
        script: &Script,
        calls: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        let sent = async {
            match self.send_all(calls).await {
                Err(unknown) if is_unknown_script(&unknown) => {
                    let mut whole = redis::pipe();
                    for call in calls.cmd_iter() {
                        whole.add_command(script.whole(call));
                    }
                    self.send_all(&whole).await
                }
                answer => answer,
            }
        };
        self.meter.measure(script.operation, sent).await.map_err(classify)
    }

    /// For how long the connection has held; for ever if none ever broke.
    pub(super) fn unbroken(&self) -> Duration {
        self.lock().restored.map_or(Duration::MAX, |since| since.elapsed())
    }

    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let (number, mut connection) = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        self.note(number, answer)
    }

    async fn send_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let (number, mut connection) = self.connection().await?;
        let answer = connect::send_all(&mut connection, commands).await;
        self.note(number, answer)
    }

    /// The connection, made now if there is none.
    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        if let Some(found) = self.lock().found() {
            return Ok(found);
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
        let opened = self.connector.open(ANSWER_TIMEOUT).await;
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
            }
        }
        answer
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

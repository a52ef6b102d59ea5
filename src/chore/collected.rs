//! What the collector has read, between who reads and who shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::telemetry::metrics::Reading;

/// What was collected for the fleet, for as long as this process has the office. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    gained: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Until then nobody else has the office.
    ours_until: Option<Instant>,
    /// What each source said last; nothing if it could not be read.
    parts: BTreeMap<&'static str, Vec<Reading>>,
}

impl Collected {
    /// What there is to show now: nothing if another process shows it.
    pub fn readings(&self) -> Vec<Reading> {
        let state = self.lock();
        if !state.is_ours() {
            return Vec::new();
        }
        state.parts.values().flatten().cloned().collect()
    }

    /// The office is ours until then.
    pub(super) fn ours_until(&self, until: Instant) {
        let mut state = self.lock();
        if !state.is_ours() {
            // What was read in an earlier term is old.
            state.parts.clear();
            self.0.gained.notify_one();
        }
        state.ours_until = Some(until);
    }

    /// The office is another's.
    pub(super) fn lost(&self) {
        *self.lock() = State::default();
    }

    pub(super) fn is_ours(&self) -> bool {
        self.lock().is_ours()
    }

    /// Returns when the office was gained since the last call.
    pub(super) async fn gained(&self) {
        self.0.gained.notified().await;
    }

    /// What a source says now.
    pub(super) fn put(&self, source: &'static str, readings: Vec<Reading>) {
        let mut state = self.lock();
        if state.is_ours() {
            state.parts.insert(source, readings);
        }
    }

    /// A source cannot be read: what it said is shown no more.
    pub(super) fn take_away(&self, source: &'static str) {
        self.lock().parts.remove(source);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ours(&self) -> bool {
        self.ours_until.is_some_and(|until| Instant::now() < until)
    }
}

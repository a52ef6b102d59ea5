//! A channel and tasks for each queue, so that one whose node is slow or away keeps no other waiting.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::job::Queue;

/// Starts what takes a queue's messages.
type Begin<T> = Box<dyn Fn(&Queue, &Handle) -> mpsc::Sender<T> + Send + Sync>;

/// The ways to what takes each queue's messages. They are as many as there are queues that anything
/// was sent to.
pub(super) struct ByQueue<T> {
    runtime: Handle,
    begin: Begin<T>,
    known: RwLock<HashMap<Queue, mpsc::Sender<T>>>,
}

impl<T> ByQueue<T> {
    /// Starts nothing yet; what `begin` starts later runs on the current runtime.
    pub(super) fn new(
        begin: impl Fn(&Queue, &Handle) -> mpsc::Sender<T> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (runtime, begin) = (Handle::current(), Box::new(begin));
        Arc::new(Self { runtime, begin, known: RwLock::default() })
    }

    /// The way to what takes a queue's messages.
    pub(super) fn of(&self, queue: &Queue) -> mpsc::Sender<T> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(queue) {
            return sender.clone();
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(queue.clone()).or_insert_with(|| (self.begin)(queue, &self.runtime)).clone()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<mpsc::Sender<T>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }
}

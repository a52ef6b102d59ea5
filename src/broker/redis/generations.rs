//! The generations that queues were last seen in, so that a pushed job's value can be written
//! whole. One that is out of date costs the script a little work and nothing else.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::value::FLAGGED;
use crate::job::Queue;

/// What no generation is written as, nor a flagged job's.
const NONE: &str = "9999999999";

#[derive(Debug, Default)]
pub(super) struct Generations(RwLock<HashMap<Queue, String>>);

impl Generations {
    /// As values name it: ten digits.
    pub(super) fn of(&self, queue: &Queue) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(queue).cloned().unwrap_or_else(|| NONE.to_owned())
    }

    /// Notes what a push answered. That a queue is not open is no generation: it is written in
    /// values that are flagged.
    pub(super) fn note(&self, queue: &Queue, generation: String) {
        if generation != FLAGGED && self.of(queue) != generation {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(queue.clone(), generation);
        }
    }
}

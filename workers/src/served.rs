//! Which queues the workers of a node serve.

use postworks::job::Queue;

use crate::node::{Error, Node};

impl Node {
    /// The queues that the configured patterns choose. Those of platforms that are switched off are
    /// left alone: their jobs wait.
    pub fn queues(&self) -> Vec<Queue> {
        let mut queues = self.registry.chosen(&self.config.worker.queues);
        queues.retain(|queue| self.config.serves(queue));
        queues
    }

    /// Whether every configured pattern chooses a queue, and one of these is served. A pattern that
    /// chooses none is a slip of the pen that would leave a queue to nobody.
    ///
    /// # Errors
    /// [`Error::NoSuchQueue`], [`Error::AllSwitchedOff`].
    pub fn check_queues(&self) -> Result<(), Error> {
        let patterns = &self.config.worker.queues;
        let chooses = |pattern| !self.registry.chosen(std::slice::from_ref(pattern)).is_empty();
        if let Some(pattern) = patterns.iter().find(|pattern| !chooses(pattern)) {
            let known = names(self.registry.queues());
            return Err(Error::NoSuchQueue { pattern: pattern.to_string(), known });
        }
        if self.queues().is_empty() {
            let queues = names(self.registry.chosen(patterns).iter());
            return Err(Error::AllSwitchedOff { queues });
        }
        Ok(())
    }
}

fn names<'a>(queues: impl Iterator<Item = &'a Queue>) -> String {
    queues.map(Queue::as_str).collect::<Vec<_>>().join(", ")
}

//! Values that are read in one place and shown in another, and the values that labels can have.

use super::{Form, Label, Metric, Values};
use crate::job::Queue;

/// A value that was read for a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    metric: Metric,
    values: Vec<String>,
    value: f64,
}

impl Reading {
    /// What was read, with the values of the metric's labels in order.
    pub fn new(metric: Metric, values: &[&str], value: f64) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Self { metric, values, value }
    }

    /// The same of a whole number.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn count(metric: Metric, values: &[&str], count: u64) -> Self {
        Self::new(metric, values, count as f64)
    }

    /// Tells the present recorder.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are read as whole numbers"
    )]
    pub fn tell(&self) {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        match self.metric.form {
            Form::Counter => self.metric.count(&values).absolute(self.value as u64),
            Form::Gauge => self.metric.level(&values).set(self.value),
            Form::Histogram(_) => self.metric.spread(&values).record(self.value),
        }
    }
}

/// What this process knows that labels are made of.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The queues that jobs can be routed to.
    pub queues: Vec<Queue>,
    /// The platforms' names.
    pub platforms: Vec<String>,
}

impl Known {
    /// All values that these labels can have together; none if one of them is open.
    pub(super) fn combinations(&self, labels: &[Label]) -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = vec![Vec::new()];
        for label in labels {
            all = all.iter().flat_map(|so_far| self.longer(so_far, labels, label)).collect();
        }
        all
    }

    fn longer(&self, so_far: &[String], labels: &[Label], label: &Label) -> Vec<Vec<String>> {
        let next = |value: String| [so_far, &[value]].concat();
        match label.values {
            Values::Queues => self.queues.iter().map(|queue| next(queue.to_string())).collect(),
            Values::Platforms => self.platforms.iter().cloned().map(next).collect(),
            Values::Words(words) => words.iter().map(|word| next((*word).to_owned())).collect(),
            // A queue's jobs are of one kind.
            Values::Kinds => {
                let queue = labels.iter().zip(so_far).find(|(one, _)| one.values == Values::Queues);
                let kind = queue.and_then(|(_, queue)| queue.split('.').next());
                kind.map(|kind| next(kind.to_owned())).into_iter().collect()
            }
            Values::Routes | Values::Statuses | Values::Versions => Vec::new(),
        }
    }
}

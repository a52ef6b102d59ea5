//! What a scenario has found so far.

use std::time::Duration;

use super::Name;
use crate::loadtest::findings::{Capacity, Figure, Phase, Scenario, Series, Table, Timing};
use crate::loadtest::moment::Moment;
use crate::loadtest::schedule::Shape;

/// Grows while a scenario runs, so that what was measured stays if it breaks off.
pub(crate) struct Draft {
    name: Name,
    scenario: Scenario,
    /// What the capacity plan will go by.
    pub(crate) capacity: Capacity,
    made: Moment,
    /// When the load began: the origin of phases and plots.
    begun: Moment,
}

impl Draft {
    pub(super) fn new(name: Name, capacity: Capacity) -> Self {
        let now = Moment::now();
        let scenario = Scenario {
            name: name.as_str().to_owned(),
            about: String::new(),
            took_s: 0.0,
            broke_off: None,
            phases: Vec::new(),
            timings: Vec::new(),
            tables: Vec::new(),
            unmeasurable: Vec::new(),
            series: Vec::new(),
            notes: Vec::new(),
        };
        Self { name, scenario, capacity, made: now, begun: now }
    }

    /// The scenario's name.
    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }

    pub(super) fn broke_off(&mut self, why: &str) {
        self.scenario.broke_off = Some(why.to_owned());
    }

    pub(super) fn finish(mut self) -> (Scenario, Capacity) {
        self.scenario.took_s = Moment::now().since(self.made).as_secs_f64();
        (self.scenario, self.capacity)
    }

    /// Says what is done.
    pub(crate) fn about(&mut self, words: impl Into<String>) {
        self.scenario.about = words.into();
    }

    /// The load begins now.
    pub(crate) fn begin(&mut self) -> Moment {
        self.begun = Moment::now();
        self.begun
    }

    /// Seconds since then.
    pub(crate) fn at(&self, moment: Moment) -> f64 {
        moment.since(self.begun).as_secs_f64()
    }

    /// A stretch of it that has just ended.
    pub(crate) fn phase(&mut self, name: impl Into<String>, from: Moment) {
        let (name, from_s, to_s) = (name.into(), self.at(from), self.at(Moment::now()));
        self.scenario.phases.push(Phase { name, from_s, to_s });
    }

    /// The stretches of a shape.
    pub(crate) fn phases_of(&mut self, shape: &Shape) {
        let parts =
            [("ramp up", shape.ramp), ("sustain", shape.sustain), ("ramp down", shape.ramp)];
        let mut from = Duration::ZERO;
        for (name, span) in parts.into_iter().filter(|(_, span)| !span.is_zero()) {
            let to = from + span;
            let (from_s, to_s) = (from.as_secs_f64(), to.as_secs_f64());
            self.scenario.phases.push(Phase { name: name.to_owned(), from_s, to_s });
            from = to;
        }
    }

    /// How long things took, in place of what was known before.
    pub(crate) fn timings(&mut self, timings: Vec<Timing>) {
        self.scenario.timings = timings;
    }

    /// Figures over time, in addition; a line of gaps alone is none.
    pub(crate) fn series(&mut self, series: Vec<Series>) {
        let has_some = |line: &Series| line.points.iter().any(|(_, value)| value.is_some());
        self.scenario.series.extend(series.into_iter().filter(has_some));
    }

    /// A table; one without rows is none.
    pub(crate) fn table(&mut self, title: &str, rows: Vec<Figure>) {
        if !rows.is_empty() {
            self.scenario.tables.push(Table { title: title.to_owned(), rows });
        }
    }

    /// These tables cannot be there, for this reason: bounds on them are not held against it.
    pub(crate) fn cannot_measure(&mut self, titles: &[&str], why: impl Into<String>) {
        self.scenario.unmeasurable.extend(titles.iter().map(|title| (*title).to_owned()));
        self.note(why);
    }

    /// What the figures do not say.
    pub(crate) fn note(&mut self, words: impl Into<String>) {
        self.scenario.notes.push(words.into());
    }
}

/// One figure of a table, of which neither side is good: see [`Figure::better_less`].
pub(crate) fn figure(name: impl Into<String>, value: f64, unit: &str) -> Figure {
    Figure { name: name.into(), value, unit: unit.to_owned(), good: None }
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of a load test fit")]
pub(crate) fn count(name: impl Into<String>, value: u64, unit: &str) -> Figure {
    figure(name, value as f64, unit)
}

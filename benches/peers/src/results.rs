//! Everything that was measured, as it is kept in a file and the report is made from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::measure::Found;
use crate::ratios::{Spread, spread};

/// The figures of one run of this program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The day.
    pub(crate) date: String,
    /// How often each measurement was made.
    pub(crate) runs: usize,
    /// Whether it was only to see that everything works.
    pub(crate) quick: bool,
    /// Words that the run was limited to.
    pub(crate) only: Vec<String>,
    /// Whether everything was measured as it should be, to the end.
    pub(crate) whole: bool,
    /// Minutes it took.
    pub(crate) minutes: f64,
    /// The machine: name and value.
    pub(crate) machine: Vec<(String, String)>,
    /// The versions of the systems.
    pub(crate) versions: BTreeMap<String, String>,
    /// By system and metric, a figure a run.
    pub(crate) figures: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// By system and metric, why there is no figure.
    pub(crate) gaps: BTreeMap<String, BTreeMap<String, String>>,
    /// What Redis can do by its own benchmark: name and a figure a run.
    pub(crate) limits: Vec<(String, Vec<f64>)>,
}

impl Results {
    /// Adds what one measurement found.
    pub(crate) fn add(&mut self, system: &str, found: Found) {
        let figures = self.figures.entry(system.to_owned()).or_default();
        for (key, value) in found.figures {
            figures.entry(key.to_owned()).or_default().push(value);
        }
        let gaps = self.gaps.entry(system.to_owned()).or_default();
        gaps.extend(found.gaps.into_iter().map(|(key, why)| (key.to_owned(), why)));
    }

    /// Adds what one run of Redis' benchmark found.
    pub(crate) fn add_limits(&mut self, found: Vec<(String, f64)>) {
        for (name, value) in found {
            match self.limits.iter_mut().find(|(known, _)| *known == name) {
                Some((_, runs)) => runs.push(value),
                None => self.limits.push((name, vec![value])),
            }
        }
    }

    /// A figure, if it was measured.
    pub(crate) fn spread(&self, system: &str, metric: &str) -> Option<Spread> {
        spread(self.figures.get(system)?.get(metric)?)
    }

    /// The middle of a figure's runs.
    pub(crate) fn median(&self, system: &str, metric: &str) -> Option<f64> {
        self.spread(system, metric).map(|spread| spread.median)
    }

    /// Why a figure is missing.
    pub(crate) fn gap(&self, system: &str, metric: &str) -> Option<&str> {
        self.gaps.get(system)?.get(metric).map(String::as_str)
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no report", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

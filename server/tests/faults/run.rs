//! One run of one row: its seed, its folder, and what it found.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::checker::{Allowed, Invariant, Violation, check};
use crate::evidence::gather;
use crate::fleet::Process;
use crate::history::History;
use crate::world::{Plan, World};

/// After a row's last fault, its jobs have so long to end. A look-up counts as proof 45 s after
/// its request, and a machine that does much else is slow.
const QUIET_WITHIN: Duration = Duration::from_secs(90);
/// Jobs of a load, unless somebody wants more.
pub(crate) const JOBS: usize = 3_000;
/// A bug that is in shows within this.
const PLANT_SHOWS_WITHIN: Duration = Duration::from_secs(12);

/// A number that the project promises.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) name: String,
    pub(crate) measured: f64,
    /// The most it may be.
    pub(crate) target: f64,
    pub(crate) unit: &'static str,
}

/// So many times the target is wrong on any machine.
const INEXCUSABLE: f64 = 10.0;

impl Figure {
    pub(crate) fn holds(&self) -> bool {
        self.measured <= self.target
    }

    /// Whether it is missed by so much, or is of such a kind (nothing lost, nothing twice), that a
    /// busy machine is no excuse.
    pub(crate) fn is_inexcusable(&self) -> bool {
        self.measured > INEXCUSABLE * self.target
    }
}

/// What a run found so far.
#[derive(Debug, Default)]
struct Found {
    violations: Vec<Violation>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// A run of a row.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) row: &'static str,
    pub(crate) seed: u64,
    pub(crate) folder: PathBuf,
    /// A bug that is put in on purpose.
    pub(crate) plant: Option<&'static str>,
    /// How long rows that repeat themselves go on.
    pub(crate) span: Duration,
    /// How many jobs rows run whose load can be chosen.
    pub(crate) jobs: usize,
    found: Arc<Mutex<Found>>,
}

impl Run {
    pub(crate) fn new(
        row: &'static str,
        seed: u64,
        folder: PathBuf,
        plant: Option<&'static str>,
        span: Duration,
    ) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder for a run's journals");
        Self { row, seed, folder, plant, span, jobs: JOBS, found: Arc::default() }
    }

    /// The same run with another load.
    pub(crate) fn with_jobs(self, jobs: usize) -> Self {
        Self { jobs, ..self }
    }

    /// How long a load of so many jobs may take, on a small machine.
    pub(crate) fn load(&self) -> Duration {
        Duration::from_millis(60 * self.jobs as u64)
    }

    /// A world of this run's own.
    pub(crate) async fn world(&self, plan: Plan) -> World {
        World::start(plan, &self.folder, self.seed, self.plant).await
    }

    /// Dice that fall the same for the same seed.
    pub(crate) fn dice(&self) -> Dice {
        Dice(StdRng::seed_from_u64(self.seed))
    }

    /// Reports what was measured, and the most it may be.
    pub(crate) fn figure(&self, name: &str, measured: f64, target: f64, unit: &'static str) {
        let figure = Figure { row: self.row, name: name.to_owned(), measured, target, unit };
        self.found().figures.push(figure);
    }

    /// Reports a time in seconds.
    pub(crate) fn time(&self, name: &str, measured: Duration, target: f64) {
        self.figure(name, measured.as_secs_f64(), target, "s");
    }

    /// Reports a broken invariant.
    pub(crate) fn violation(&self, invariant: Invariant, what: impl Into<String>) {
        self.found().violations.push(Violation { invariant, what: what.into() });
    }

    /// Reports a broken invariant unless `holds`.
    pub(crate) fn must(&self, holds: bool, invariant: Invariant, what: impl Into<String>) {
        if !holds {
            self.violation(invariant, what);
        }
    }

    /// Says something worth reading.
    pub(crate) fn note(&self, words: impl Into<String>) {
        self.found().notes.push(words.into());
    }

    /// Lets everything come to rest, and checks what was left behind. `lived` are the workers that
    /// are still there; `all_lived` says that no process was killed.
    pub(crate) async fn check(
        &self,
        world: &World,
        lived: &[&Process],
        all_lived: bool,
        allowed: &Allowed,
    ) -> History {
        let within = if self.plant.is_some() { PLANT_SHOWS_WITHIN } else { QUIET_WITHIN };
        if !allowed.waiting {
            world.quiet(within).await;
        }
        let history = gather(world, lived, all_lived).await;
        let allowed = Allowed { peak_mib: Some(256), ..allowed.clone() };
        let violations = check(&history, &allowed);
        self.found().violations.extend(violations);
        history
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.found().violations.clone()
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        self.found().figures.clone()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.found().notes.clone()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run's dice.
pub(crate) struct Dice(StdRng);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// A time span between two.
    pub(crate) fn span(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from_ms..to_ms))
    }
}

/// A row of the matrix.
pub(crate) struct Row {
    /// Its name there.
    pub(crate) id: &'static str,
    /// What is done, and what must hold.
    pub(crate) about: &'static str,
    /// Whether it measures times, and therefore runs alone.
    pub(crate) alone: bool,
    /// Does it.
    pub(crate) act: fn(Run) -> LocalBoxFuture<'static, ()>,
}

/// Declares a row: `row!("W1", alone, "…", kill_points)`.
#[macro_export]
macro_rules! row {
    ($id:literal, $alone:literal, $act:path, $about:literal) => {
        $crate::run::Row { id: $id, about: $about, alone: $alone, act: |run| Box::pin($act(run)) }
    };
}

//! Judges a history: which invariants of the system it breaks.
//!
//! Pure, so that it can be tried on histories that are bad in a known way: `it/fault_checker.rs`
//! does, in every run of the tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use crate::history::{Asked, Change, History, Job, Publication, Told};

/// What must hold, by the numbers of the reliability plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Invariant {
    /// Every accepted job is exactly one of completed, dead, cancelled, parked and waiting.
    I1,
    /// The platform has each publication at most once.
    I2,
    /// Nothing of a refused request ever runs.
    I3,
    /// Nobody's claim changes a job once a later claim has it.
    I4,
    /// No more attempts than allowed, each counted once, one dead letter a dead job.
    I5,
    /// Memory stays bounded.
    I8,
    /// Work goes on within its time, and nothing is left over.
    I9,
    /// Metrics, journals and tables say the same.
    I10,
    /// A platform in trouble is not asked much more often than one that is well.
    I11,
    /// No secret is in a log or in a store.
    I12,
}

impl Invariant {
    /// All that the suite looks at.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::I1, "no accepted job is lost"),
        (Self::I2, "nothing is published twice"),
        (Self::I3, "nothing of a refused request runs"),
        (Self::I4, "an older claim changes nothing"),
        (Self::I5, "attempts are counted once, and bounded"),
        (Self::I8, "memory and connections are bounded"),
        (Self::I9, "work goes on in time, nothing is left over"),
        (Self::I10, "metrics, journals and tables agree"),
        (Self::I11, "retries do not multiply the load"),
        (Self::I12, "no secret gets out"),
    ];
}

/// An invariant that does not hold.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// What a run may leave, beyond what always holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    /// Jobs may still wait: their time has not come.
    pub(crate) waiting: bool,
    /// Publish requests beyond one a publication: what was under way when something was killed.
    pub(crate) extra_calls: Option<u64>,
    /// Categories in which jobs may die.
    pub(crate) dead: &'static [&'static str],
    /// Attempts may have failed, since the platform did.
    pub(crate) failures: bool,
    /// Most memory a process may have had, in MiB.
    pub(crate) peak_mib: Option<u64>,
}

/// Longest list of examples in one violation.
const EXAMPLES: usize = 3;

/// Reads a history; answers what it breaks.
pub(crate) fn check(history: &History, allowed: &Allowed) -> Vec<Violation> {
    let mut faults = Faults::default();
    accepted_jobs(history, allowed, &mut faults);
    effects(history, &mut faults);
    refusals(history, &mut faults);
    claims(history, &mut faults);
    attempts(history, allowed, &mut faults);
    leftovers(history, allowed, &mut faults);
    numbers(history, allowed, &mut faults);
    for leak in &history.leaks {
        faults.add(Invariant::I12, "a secret got out", leak);
    }
    faults.into_violations()
}

/// Groups what is found, so that a thousand lost jobs are one line.
#[derive(Default)]
struct Faults(BTreeMap<(Invariant, &'static str), Vec<String>>);

impl Faults {
    fn add(&mut self, invariant: Invariant, what: &'static str, example: impl ToString) {
        self.0.entry((invariant, what)).or_default().push(example.to_string());
    }

    fn into_violations(self) -> Vec<Violation> {
        let violation = |((invariant, what), found): ((Invariant, &str), Vec<String>)| {
            let shown = found.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join("; ");
            let what = format!("{what} ({} times): {shown}", found.len());
            Violation { invariant, what }
        };
        self.0.into_iter().map(violation).collect()
    }
}

fn accepted_jobs(history: &History, allowed: &Allowed, faults: &mut Faults) {
    let jobs: HashMap<&str, &Job> = history.jobs.iter().map(|job| (job.id.as_str(), job)).collect();
    let publications: HashMap<&str, &Publication> =
        history.publications.iter().map(|row| (row.id.as_str(), row)).collect();
    let published: BTreeSet<_> =
        history.effects.iter().filter_map(|effect| effect.target()).collect();
    for (id, publication) in told(history, Told::Accepted).flat_map(|asked| &asked.jobs) {
        let Some(job) = jobs.get(id.as_str()) else {
            faults.add(Invariant::I1, "an accepted job has no row", id);
            continue;
        };
        match job.state.as_str() {
            "completed" | "cancelled" | "parked" => {}
            "open" if allowed.waiting => {}
            "dead" if allowed.dead.contains(&job.category.as_deref().unwrap_or("")) => {}
            "dead" => {
                let category = job.category.as_deref().unwrap_or("no letter");
                faults.add(
                    Invariant::I1,
                    "a job died that should not",
                    format!("{id}: {category}"),
                );
            }
            state => faults.add(Invariant::I9, "a job has not ended", format!("{id}: {state}")),
        }
        let Some(publication) = publication else { continue };
        let Some(row) = publications.get(publication.as_str()) else {
            faults.add(Invariant::I1, "an accepted publication has no row", publication);
            continue;
        };
        let is_out = published.contains(&row.target());
        if job.state == "completed" && !is_out {
            faults.add(Invariant::I1, "a completed job's post is not out", publication);
        }
        if row.state == "published" && !is_out {
            faults.add(Invariant::I1, "a published post is not out", publication);
        }
        if is_out && matches!(row.state.as_str(), "scheduled" | "failed") && job.state != "open" {
            faults.add(Invariant::I1, "a post is out that is called unsent", publication);
        }
    }
}

fn effects(history: &History, faults: &mut Faults) {
    let mut copies = BTreeMap::<_, u32>::new();
    for target in history.effects.iter().filter_map(|effect| effect.target()) {
        *copies.entry(target).or_default() += 1;
    }
    for (target, copies) in copies.iter().filter(|(_, copies)| **copies > 1) {
        faults.add(Invariant::I2, "a post is out twice", format!("{target:?}: {copies} copies"));
    }
    let known: BTreeSet<_> = history.publications.iter().map(Publication::target).collect();
    for target in copies.keys().filter(|target| !known.contains(*target)) {
        faults.add(Invariant::I3, "a post is out that nobody asked for", format!("{target:?}"));
    }
}

fn refusals(history: &History, faults: &mut Faults) {
    let texts: BTreeSet<&str> =
        history.effects.iter().filter_map(|effect| effect.text.as_deref()).collect();
    let refreshed: BTreeSet<&str> = history
        .effects
        .iter()
        .filter(|effect| !effect.publish)
        .map(|effect| effect.account.as_str())
        .collect();
    let keys: BTreeSet<&str> =
        history.jobs.iter().filter_map(|job| job.unique_key.as_deref()).collect();
    for asked in told(history, Told::Refused) {
        let mark = asked.mark.as_str();
        if texts.contains(mark) || refreshed.contains(mark) {
            faults.add(Invariant::I3, "a refused request ran", mark);
        }
        if keys.contains(mark) {
            faults.add(Invariant::I3, "a refused request left a job", mark);
        }
    }
}

fn claims(history: &History, faults: &mut Faults) {
    // Who stamped each claim, as far as it was stamped.
    let mut claimed: HashMap<(&str, i64), &str> = HashMap::new();
    for change in &history.changes {
        let job = change.job.as_str();
        if let (Some(old), Some(new)) = (change.old_token, change.token)
            && new < old
        {
            faults.add(Invariant::I4, "a token went back", describe(change));
        }
        let ended = matches!(change.old_state.as_deref(), Some("completed" | "cancelled"));
        if ended && change.state != change.old_state.as_deref().unwrap_or("") {
            faults.add(Invariant::I4, "an ended job came to life", describe(change));
        }
        let Some(token) = change.token else { continue };
        if change.stamps() {
            claimed.insert((job, token), &change.app);
        } else if change.settles()
            && let Some(claimer) = claimed.get(&(job, token))
            && *claimer != change.app
        {
            let words = format!("{} (claimed by {claimer})", describe(change));
            faults.add(Invariant::I4, "a job was settled by another than its claimer", words);
        }
    }
}

fn describe(change: &Change) -> String {
    let Change { job, app, old_token, token, state, .. } = change;
    format!("{job} by {app}: {old_token:?} to {token:?}, {state}")
}

fn attempts(history: &History, allowed: &Allowed, faults: &mut Faults) {
    for job in &history.jobs {
        let words = || format!("{}: {} of {}", job.id, job.failed_attempts, job.max_attempts);
        if job.failed_attempts > job.max_attempts {
            faults.add(Invariant::I5, "more attempts than allowed", words());
        }
        if i64::from(job.failed_attempts) > job.attempt_rows {
            faults.add(Invariant::I5, "an attempt was counted that nobody recorded", words());
        }
        if !allowed.failures && job.failed_attempts > 0 && job.state != "dead" {
            faults.add(Invariant::I5, "an attempt was burnt", words());
        }
        let letters = i64::from(job.state == "dead");
        if job.letters != letters {
            let words = format!("{} ({}): {}", job.id, job.state, job.letters);
            faults.add(Invariant::I5, "the wrong number of dead letters", words);
        }
    }
    let jumps = history
        .changes
        .iter()
        .filter(|change| change.old_failed.is_some_and(|old| change.failed > old + 1));
    for change in jumps {
        faults.add(Invariant::I5, "several attempts were counted at once", describe(change));
    }
}

fn leftovers(history: &History, allowed: &Allowed, faults: &mut Faults) {
    for (key, entries) in &history.broker {
        let waits = allowed.waiting && matches!(key.as_str(), "jobs" | "delayed");
        if *entries > 0 && !waits {
            faults.add(
                Invariant::I9,
                "the broker still holds something",
                format!("{key}: {entries}"),
            );
        }
    }
}

fn numbers(history: &History, allowed: &Allowed, faults: &mut Faults) {
    if let Some(peak_mib) = allowed.peak_mib {
        for usage in history.usage.iter().filter(|usage| usage.peak_mib > peak_mib) {
            let words = format!("{}: {} MiB", usage.process, usage.peak_mib);
            faults.add(Invariant::I8, "a process took more memory than it may", words);
        }
    }
    if let Some(extra) = allowed.extra_calls {
        let once = history.publications.len() as u64;
        let most = once + once.div_ceil(10) + extra;
        if history.publish_calls > most {
            let words = format!("{} for {once} publications", history.publish_calls);
            faults.add(Invariant::I11, "too many publish requests", words);
        }
    }
    let same = |name: &str, expected: usize, faults: &mut Faults| {
        if let Some(&counted) = history.metrics.get(name)
            && (counted - expected as f64).abs() > 0.5
        {
            let words = format!("{name} says {counted}, the tables {expected}");
            faults.add(Invariant::I10, "a metric differs", words);
        }
    };
    let of_state = |state: &str| history.jobs.iter().filter(|job| job.state == state).count();
    same("enqueued", history.jobs.len(), faults);
    same("completed", of_state("completed"), faults);
    same("dead", of_state("dead"), faults);
}

fn told(history: &History, told: Told) -> impl Iterator<Item = &Asked> {
    history.asked.iter().filter(move |asked| asked.told == told)
}

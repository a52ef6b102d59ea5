//! What became of the jobs of a load test: when each was due, and what the workers said of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use postworks::job::JobId;
use uuid::Uuid;

use super::moment::Moment;
use super::system::{Kind, Told};
use super::tally::{Group, Tally, Times};

/// All kinds together.
const ALL: &str = "all kinds";
/// From due to the start of the first attempt.
const START: Group = Group { name: "job start", sum: Some(ALL) };
/// From due to the end of the attempt that succeeded.
pub(crate) const END: Group = Group { name: "job end", sum: Some(ALL) };
/// One attempt that succeeded.
const RUN: Group = Group { name: "job run", sum: None };

/// Cheap to clone: all clones know the same.
#[derive(Clone)]
pub(crate) struct Runs(Arc<Mutex<Seen>>);

struct Seen {
    tally: Tally,
    open: HashMap<Uuid, Open>,
    made: u64,
    ended: u64,
    /// Jobs of which an attempt has started.
    begun: u64,
    /// Microseconds of all attempts that have ended, well or not: so long places were busy.
    busy: u64,
    /// Jobs whose every start is to be kept.
    watched: HashMap<Uuid, Vec<Moment>>,
    /// From due to start, since they were taken.
    starts: Times,
    /// Attempts under way now, and at most.
    running: (usize, usize),
    /// A moment, and the first start after it.
    mark: Option<(Moment, Option<Moment>)>,
}

impl Seen {
    fn new(tally: Tally) -> Self {
        Self {
            tally,
            open: HashMap::new(),
            made: 0,
            ended: 0,
            begun: 0,
            busy: 0,
            watched: HashMap::new(),
            starts: Times::default(),
            running: (0, 0),
            mark: None,
        }
    }
}

impl Seen {
    /// A job that was due then has started, or waits still.
    fn note_start(&self, kind: Kind, due: Moment, at: Moment) {
        self.tally.noted(START, kind.as_str(), due, at);
        self.tally.late(due, at);
    }
}

/// A job that has not succeeded yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    due: Moment,
    kind: Kind,
    /// When its present, or last, attempt started.
    started: Option<Moment>,
    /// The worker that runs it now.
    on: Option<usize>,
}

/// One line of a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    Started { at: Moment, id: Uuid },
    Ended { at: Moment, id: Uuid, how: How },
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Well,
    Failed,
    /// It will go on: the platform said when, or another worker takes it. That is no failure.
    Waits,
}

/// What a worker says of such an attempt.
const WAITS: [&str; 3] = ["rate_limited", "unavailable", "taken_away"];

impl Runs {
    /// Counts into `tally`.
    pub(crate) fn new(tally: Tally) -> Self {
        Self(Arc::new(Mutex::new(Seen::new(tally))))
    }

    /// Forgets all that was, and counts into `tally` from now on.
    pub(crate) fn start_anew(&self, tally: Tally) {
        *self.lock() = Seen::new(tally);
    }

    /// A job was made, that was due then.
    pub(crate) fn expect(&self, id: JobId, kind: Kind, due: Moment) {
        let mut seen = self.lock();
        seen.made += 1;
        seen.open.insert(id.as_uuid(), Open { due, kind, started: None, on: None });
    }

    /// It was not made after all, or nobody knows: it is not waited for.
    pub(crate) fn forget(&self, id: JobId) {
        let mut seen = self.lock();
        if seen.open.remove(&id.as_uuid()).is_some() {
            seen.made = seen.made.saturating_sub(1);
        }
    }

    /// Reads what the `n`th worker says until it ends.
    pub(crate) fn listen_to(&self, n: usize, told: Option<Told>) {
        let Some(mut told) = told else { return };
        let runs = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                runs.note(n, &line);
            }
        });
    }

    fn note(&self, worker: usize, line: &str) {
        match parse(line) {
            Some(Line::Started { at, id }) => self.started(worker, at, id),
            Some(Line::Ended { at, id, how }) => self.ended(at, id, how),
            // Where it listens was read before; there is nothing else.
            None => {}
        }
    }

    fn started(&self, worker: usize, at: Moment, id: Uuid) {
        let mut guard = self.lock();
        let seen = &mut *guard;
        if let Some((since, first @ None)) = &mut seen.mark
            && at >= *since
        {
            *first = Some(at);
        }
        if let Some(starts) = seen.watched.get_mut(&id) {
            starts.push(at);
        }
        let Some(open) = seen.open.get_mut(&id) else { return };
        let first = open.started.is_none();
        let anew = open.on.is_none();
        (open.started, open.on) = (Some(at), Some(worker));
        let (due, kind) = (open.due, open.kind);
        if anew {
            seen.running.0 += 1;
            seen.running.1 = seen.running.1.max(seen.running.0);
        }
        if first {
            seen.begun += 1;
            seen.starts.record(u64::try_from(at.since(due).as_micros()).unwrap_or(u64::MAX));
            seen.note_start(kind, due, at);
        }
    }

    /// Counts every job that has not started as if it started now: it has waited that long at least,
    /// and would count nowhere otherwise. To be called once, at the end.
    pub(crate) fn count_waiting(&self) {
        let (seen, now) = (self.lock(), Moment::now());
        for open in seen.open.values().filter(|open| open.started.is_none()) {
            seen.note_start(open.kind, open.due, now);
        }
    }

    fn ended(&self, at: Moment, id: Uuid, how: How) {
        let mut guard = self.lock();
        let seen = &mut *guard;
        let Some(open) = seen.open.get_mut(&id) else { return };
        let ran = open.on.take().is_some();
        let Open { due, kind, started, .. } = *open;
        if let Some(started) = started.filter(|_| ran) {
            seen.running.0 = seen.running.0.saturating_sub(1);
            seen.busy += u64::try_from(at.since(started).as_micros()).unwrap_or(u64::MAX);
        }
        match how {
            How::Waits => return,
            How::Failed => return seen.tally.ended(at, false),
            How::Well => {}
        }
        seen.open.remove(&id);
        seen.ended += 1;
        if let Some(started) = started {
            seen.tally.noted(RUN, kind.as_str(), started, at);
        }
        seen.tally.noted(END, kind.as_str(), due, at);
        seen.tally.ended(at, true);
    }

    /// Jobs that were made and have not succeeded yet.
    pub(crate) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// Jobs of which no attempt has started yet.
    pub(crate) fn waiting(&self) -> Vec<Uuid> {
        self.of(|open| open.started.is_none())
    }

    /// Jobs that the `n`th worker runs.
    pub(crate) fn running_on(&self, n: usize) -> Vec<Uuid> {
        self.of(|open| open.on == Some(n))
    }

    /// How many attempts are under way.
    pub(crate) fn running(&self) -> usize {
        self.lock().running.0
    }

    /// How many there were at once, at most.
    pub(crate) fn peak_running(&self) -> usize {
        self.lock().running.1
    }

    /// Whether none of these is still to start for the first time.
    pub(crate) fn have_started(&self, ids: &[Uuid]) -> bool {
        let seen = self.lock();
        ids.iter().all(|id| seen.open.get(id).is_none_or(|open| open.started.is_some()))
    }

    /// Looks out for the first start after `since`.
    pub(crate) fn mark(&self, since: Moment) {
        self.lock().mark = Some((since, None));
    }

    /// The first start after the mark.
    pub(crate) fn first_since_mark(&self) -> Option<Moment> {
        self.lock().mark.and_then(|(_, first)| first)
    }

    fn of(&self, which: impl Fn(&Open) -> bool) -> Vec<Uuid> {
        let seen = self.lock();
        seen.open.iter().filter(|(_, open)| which(open)).map(|(id, _)| *id).collect()
    }

    /// Jobs that have not succeeded yet.
    pub(crate) fn open_ids(&self) -> Vec<Uuid> {
        self.lock().open.keys().copied().collect()
    }

    /// Jobs that were made, and that have succeeded.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let seen = self.lock();
        (seen.made, seen.ended)
    }

    /// How long a job keeps a place in the mean, with all its attempts, in milliseconds; `None` if
    /// none has started.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a load test fit")]
    pub(crate) fn run_mean_ms(&self) -> Option<f64> {
        let seen = self.lock();
        (seen.begun > 0).then(|| seen.busy as f64 / seen.begun as f64 / 1_000.0)
    }

    /// From due to start of the jobs that started since this was called before; of those that have
    /// not, from due until now.
    pub(crate) fn take_starts(&self) -> Times {
        let (mut seen, now) = (self.lock(), Moment::now());
        let mut times = std::mem::take(&mut seen.starts);
        for open in seen.open.values().filter(|open| open.started.is_none()) {
            times.record(u64::try_from(now.since(open.due).as_micros()).unwrap_or(u64::MAX));
        }
        times
    }

    /// Keeps every start of these jobs from now on.
    pub(crate) fn watch(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.lock().watched = ids.into_iter().map(|id| (id, Vec::new())).collect();
    }

    /// When each watched job started since.
    pub(crate) fn watched(&self) -> HashMap<Uuid, Vec<Moment>> {
        self.lock().watched.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let (what, at, id, of) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (at, id) = (Moment(at.parse().ok()?), id.parse().ok()?);
    match what {
        "S" => Some(Line::Started { at, id }),
        "E" => {
            let how = match of {
                "-" => How::Well,
                waits if WAITS.contains(&waits) => How::Waits,
                _ => How::Failed,
            };
            Some(Line::Ended { at, id, how })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198f3a0-0000-7000-8000-000000000001";
    const OTHER: &str = "0198f3a0-0000-7000-8000-000000000002";

    #[test]
    fn a_jobs_times_count_from_when_it_was_due_and_its_start_counts_once() {
        let tally = Tally::new(Moment(0));
        let runs = Runs::new(tally.clone());
        let id: JobId = ID.parse().unwrap();
        runs.expect(id, Kind::Cleanup, Moment(1_000));
        runs.watch([id.as_uuid()]);
        runs.note(7, &format!("S 3000 {ID} data_cleanup 1"));
        assert_eq!((runs.open(), runs.waiting().len(), runs.running()), (1, 0, 1));
        assert_eq!((runs.running_on(7), runs.running_on(6)), (vec![id.as_uuid()], vec![]));
        runs.note(7, &format!("E 4000 {ID} transient"));
        assert_eq!((runs.open(), runs.running()), (1, 0));
        runs.note(7, &format!("S 9000 {ID} data_cleanup 2"));
        runs.note(7, &format!("E 11000 {ID} -"));
        assert_eq!((runs.open(), runs.counts()), (0, (1, 1)));
        // The place was kept by the attempt that failed as well.
        assert!((runs.run_mean_ms().unwrap() - 3.0).abs() < 0.01);
        assert_eq!(runs.watched()[&id.as_uuid()], [Moment(3_000), Moment(9_000)]);
        let times: Vec<_> = tally
            .timings()
            .into_iter()
            .filter(|row| !row.is_sum)
            .map(|row| (row.group, row.name, row.count, row.max_ms.round()))
            .collect();
        let cleanup = || "data_cleanup".to_owned();
        assert_eq!(
            times,
            [
                (END.name.to_owned(), cleanup(), 1, 10.0),
                (RUN.name.to_owned(), cleanup(), 1, 2.0),
                (START.name.to_owned(), cleanup(), 1, 2.0),
            ]
        );
    }

    #[test]
    fn an_attempt_that_goes_on_later_is_no_failure() {
        let tally = Tally::new(Moment(0));
        let runs = Runs::new(tally.clone());
        let id: JobId = ID.parse().unwrap();
        runs.expect(id, Kind::Publication, Moment(0));
        for error in WAITS.into_iter().chain(["transient"]) {
            runs.note(0, &format!("S 1000 {ID} post_publication 1"));
            runs.note(0, &format!("E 2000 {ID} {error}"));
            let (_, _, failed) = tally.sums();
            assert_eq!((failed, runs.open()), (u64::from(error == "transient"), 1), "{error}");
        }
    }

    #[test]
    fn a_job_that_never_starts_has_waited_until_the_end() {
        let tally = Tally::new(Moment(0));
        let runs = Runs::new(tally.clone());
        let (id, other): (JobId, JobId) = (ID.parse().unwrap(), OTHER.parse().unwrap());
        let ago = |s: u64| Moment(Moment::now().0.saturating_sub(s * 1_000_000));
        runs.expect(id, Kind::Cleanup, ago(9));
        runs.expect(other, Kind::Cleanup, ago(9));
        runs.note(0, &format!("S {} {ID} data_cleanup 1", ago(8).0));
        runs.count_waiting();
        let starts = tally.timings();
        let starts: Vec<_> = starts.iter().filter(|row| row.group == START.name).collect();
        assert_eq!(starts.len(), 2, "{starts:?}");
        for row in starts {
            assert_eq!(row.count, 2);
            assert!(row.p50_ms < 2_000.0 && row.max_ms > 8_900.0, "{row:?}");
        }
    }

    #[test]
    fn lines_of_anything_else_are_passed_over() {
        for line in ["", "{\"event\":\"listening\"}", "S x y z 1", "S 1", &format!("Q 1 {ID} -")] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}

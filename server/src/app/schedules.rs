//! Schedules: checks them, and shows what they will do and have done.

use std::time::Duration;

use postworks::job::schedule::{Cron, JITTER_MAX, Missed, Overlap};
use postworks::job::{FieldError, InvalidRequest, Job as _, PostPublication, Timestamp};
use postworks::ledger::{Added, Fire, Holder, RanNow, SCHEDULES_MAX, Schedule, Schedules};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::paging::Wanted;
use super::types::{
    AddSchedule, EnqueueJob, Enqueued, FireView, HolderView, LastTimes, NextTime, NextTimes, Page,
    RemovedSchedule, ScheduleView, SchedulesQuery, TimesQuery, Why,
};
use super::{App, Error};

/// Longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 60;
/// Most times that are foretold, or remembered.
pub(super) const NEXT_MAX: u32 = 100;
/// The same unless somebody says otherwise.
const NEXT: u32 = 10;
const ZONE: &str = "UTC";

impl App {
    fn schedules_table(&self) -> Schedules {
        self.node.schedules_of(self.tenant)
    }

    /// Adds a schedule.
    pub async fn add_schedule(&self, add: AddSchedule) -> Result<ScheduleView, Error> {
        let note = self.note("schedule.add", &add.name, add.reason.as_deref())?;
        let new = self.checked_schedule(add, note.at).await?;
        match self.schedules_table().add(&new, &note).await? {
            Added::Now => view(new),
            Added::NameTaken => {
                let words = format!(
                    "there is a schedule {} already; remove it first, or choose another name",
                    new.name
                );
                Err(Error::Conflict(words))
            }
            Added::TooMany => {
                Err(Error::Conflict(format!("there are {SCHEDULES_MAX} schedules, the most")))
            }
        }
    }

    /// The schedule as it would be recorded; every fault found.
    async fn checked_schedule(&self, add: AddSchedule, now: Timestamp) -> Result<Schedule, Error> {
        let (mut faults, checked) = match checked(&add) {
            Ok(checked) => (Vec::new(), Some(checked)),
            Err(faults) => (faults, None),
        };
        let job = EnqueueJob {
            priority: add.priority,
            max_attempts: add.max_attempts,
            ..EnqueueJob::new(add.kind, add.args)
        };
        // What stands in the way of a job of it stands in the way of the schedule.
        let job = match self.checked(job).await {
            Ok(job) => Some(job),
            Err(Error::Invalid(found)) => {
                faults.extend(found);
                None
            }
            Err(error) => return Err(error),
        };
        if job.as_ref().is_some_and(|job| job.kind.as_str() == PostPublication::KIND) {
            let words = "a publication is published once; give it a time with POST /api/publish";
            faults.push(FieldError::new("/kind", words));
        }
        let Some((Checked { cron, missed, overlap, jitter }, job)) =
            checked.zip(job).filter(|_| faults.is_empty())
        else {
            return Err(Error::Invalid(faults));
        };
        Ok(Schedule {
            id: self.ids.next(now, rand::random()).as_uuid(),
            tenant: self.tenant,
            name: add.name,
            cron: cron.as_str().to_owned(),
            zone: cron.zone().to_owned(),
            kind: job.kind,
            args: job.args,
            queue: job.queue,
            account: job.account,
            priority_s: job.priority_s,
            max_attempts: add.max_attempts,
            missed,
            overlap,
            jitter,
            created_at: now,
            next_at: cron.next_after(now),
            paused: None,
            fires: 0,
            built_in: false,
        })
    }

    /// Lists schedules.
    pub async fn schedules(&self, query: &SchedulesQuery) -> Result<Page<ScheduleView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        if let Some(name) = query.name.as_deref()
            && !is_name(name)
        {
            return Err(Error::field("/name", "no schedule has such a name"));
        }
        let (table, name) = (self.schedules_table(), query.name.as_deref());
        let found = table.list(self.tenant, name, wanted.before, wanted.probe()).await?;
        let views = found.into_iter().map(view).collect::<Result<Vec<_>, Error>>()?;
        Ok(wanted.page(views, |schedule| schedule.id))
    }

    /// A schedule.
    pub async fn schedule(&self, id: Uuid) -> Result<ScheduleView, Error> {
        view(self.one_schedule(id).await?)
    }

    /// The times at which a schedule will fire.
    pub async fn next_times(&self, id: Uuid, query: &TimesQuery) -> Result<NextTimes, Error> {
        let count = count(query)?;
        let schedule = self.one_schedule(id).await?;
        let cron = Cron::parse(&schedule.cron, &schedule.zone).map_err(Error::Invalid)?;
        // The first is the ledger's, the rest follows from it.
        let first = schedule.next_at.or_else(|| cron.next_after(self.node.clock.now()));
        let times = std::iter::successors(first, |at| cron.next_after(*at)).take(count);
        let times = times.map(|at| NextTime { at, local: cron.local(at) }).collect();
        Ok(NextTimes { times })
    }

    /// The times at which a schedule has fired.
    pub async fn last_times(&self, id: Uuid, query: &TimesQuery) -> Result<LastTimes, Error> {
        let count = u32::try_from(count(query)?).unwrap_or(NEXT_MAX);
        let schedule = self.one_schedule(id).await?;
        let fires = self.schedules_table().fires(schedule.id, count).await?;
        Ok(LastTimes { fires: fires.into_iter().map(FireView::from).collect() })
    }

    /// Lets a schedule fire no more until it is resumed.
    pub async fn pause_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Error> {
        let schedule = self.one_schedule(id).await?;
        let note = self.note("schedule.pause", &schedule.name, why.reason.as_deref())?;
        let (at, by, why) = (note.at, note.actor.clone(), note.why.clone());
        let holder = Holder { at, by, why };
        self.schedules_table().hold(id, Some(&holder), None, &note).await?;
        self.schedule(id).await
    }

    /// Lets a paused schedule go on with its next time; what fell into the pause is not made up for.
    pub async fn resume_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Error> {
        let schedule = self.one_schedule(id).await?;
        if schedule.paused.is_none() {
            return view(schedule);
        }
        let note = self.note("schedule.resume", &schedule.name, why.reason.as_deref())?;
        let cron = Cron::parse(&schedule.cron, &schedule.zone).map_err(Error::Invalid)?;
        let next_at = cron.next_after(self.node.clock.now());
        self.schedules_table().hold(id, None, next_at, &note).await?;
        self.schedule(id).await
    }

    /// Lets a schedule's job run now, once more than its times say.
    pub async fn run_schedule(&self, id: Uuid, why: &Why) -> Result<Enqueued, Error> {
        let schedule = self.one_schedule(id).await?;
        let note = self.note("schedule.run_now", &schedule.name, why.reason.as_deref())?;
        let job = self.producer.scheduled(&schedule, None);
        let job = job.map_err(|InvalidRequest(faults)| Error::Invalid(faults))?;
        let ran = self.schedules_table().run_now(id, &job, &note).await?;
        match ran {
            RanNow::Made => {}
            RanNow::Missing => return Err(missing(id)),
            RanNow::Overlaps(job) => {
                let job = job.map_or_else(String::new, |job| format!(": job {job}"));
                let words = format!(
                    "its last job is not done{job}; wait until it is, or cancel it (its jobs do \
                     not overlap)"
                );
                return Err(Error::Conflict(words));
            }
        }
        let id = job.id;
        self.producer.dispatch(vec![job]);
        Ok(Enqueued { id, state: self.state(id).await?, created: true, replaced: false })
    }

    /// Removes a schedule. Its jobs stay.
    pub async fn remove_schedule(&self, id: Uuid, why: &Why) -> Result<RemovedSchedule, Error> {
        let schedule = self.one_schedule(id).await?;
        if schedule.built_in {
            let words = format!(
                "{} is built in and comes back: pause it instead, or set retention.cleanup = \"\" on \
                 every node",
                schedule.name
            );
            return Err(Error::Conflict(words));
        }
        let note = self.note("schedule.remove", &schedule.name, why.reason.as_deref())?;
        if self.schedules_table().remove(id, &note).await? {
            return Ok(RemovedSchedule { id, name: schedule.name });
        }
        Err(missing(id))
    }

    async fn one_schedule(&self, id: Uuid) -> Result<Schedule, Error> {
        self.schedules_table().one(id).await?.ok_or_else(|| missing(id))
    }
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("there is no schedule {id}"))
}

fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

fn count(query: &TimesQuery) -> Result<usize, Error> {
    let count = query.limit.unwrap_or(NEXT);
    if (1..=NEXT_MAX).contains(&count) {
        return Ok(usize::try_from(count).unwrap_or(1));
    }
    Err(Error::field("/limit", format!("must be 1 to {NEXT_MAX}")))
}

/// What a schedule says of its times.
struct Checked {
    cron: Cron,
    missed: Missed,
    overlap: Overlap,
    jitter: Duration,
}

fn checked(add: &AddSchedule) -> Result<Checked, Vec<FieldError>> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, words: String| faults.push(FieldError::new(field, words));
    if !is_name(&add.name) {
        fault("/name", format!("must be 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _"));
    }
    let jitter = Duration::from_millis(add.jitter_ms.unwrap_or(0));
    if jitter > JITTER_MAX {
        fault("/jitter_ms", format!("must be at most {} (24 h)", JITTER_MAX.as_millis()));
    }
    let missed = add.missed.as_deref().unwrap_or(Missed::default().as_str());
    let missed = Missed::ALL.into_iter().find(|policy| policy.as_str() == missed);
    if missed.is_none() {
        fault("/missed", "must be skip, once or all".to_owned());
    }
    let missed = missed.unwrap_or_default();
    let overlap = add.overlap.as_deref().unwrap_or(missed.overlap().as_str());
    let overlap = Overlap::ALL.into_iter().find(|policy| policy.as_str() == overlap);
    match overlap {
        None => fault("/overlap", "must be skip or allow".to_owned()),
        Some(Overlap::Skip) if missed == Missed::All => {
            let words = "must be allow with missed all, since the jobs of a catch-up overlap each \
                 other; missed once makes one job of all times that were missed";
            fault("/overlap", words.to_owned());
        }
        Some(_) => {}
    }
    match Cron::parse(&add.cron, add.zone.as_deref().unwrap_or(ZONE)) {
        Ok(cron) if faults.is_empty() => {
            let overlap = overlap.unwrap_or(missed.overlap());
            Ok(Checked { cron, missed, overlap, jitter })
        }
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    }
}

fn view(schedule: Schedule) -> Result<ScheduleView, Error> {
    let args = RawValue::from_string(schedule.args);
    Ok(ScheduleView {
        id: schedule.id,
        name: schedule.name,
        cron: schedule.cron,
        zone: schedule.zone,
        kind: schedule.kind,
        args: args.map_err(|error| Error::Broken(Box::new(error)))?,
        queue: schedule.queue,
        priority: schedule.priority_s,
        max_attempts: schedule.max_attempts,
        missed: schedule.missed.as_str().to_owned(),
        overlap: schedule.overlap.as_str().to_owned(),
        jitter_ms: u64::try_from(schedule.jitter.as_millis()).unwrap_or(u64::MAX),
        created_at: schedule.created_at,
        next_at: schedule.next_at,
        paused: schedule.paused.map(HolderView::from),
        fires: schedule.fires,
        built_in: schedule.built_in,
    })
}

impl From<Fire> for FireView {
    fn from(fire: Fire) -> Self {
        Self { at: fire.at, made_at: fire.made_at, job_id: fire.job, by_hand: fire.by_hand }
    }
}

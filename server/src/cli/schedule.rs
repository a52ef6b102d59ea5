//! `postworks schedule …`.

use std::time::Duration;

use clap::{Args, Subcommand};
use postworks::config::{parse_duration, parse_number};
use serde_json::Value;
use uuid::Uuid;

use super::enqueue::{arguments, parse_arg};
use super::failure::{Exit, Failure};
use super::output::{list, or_dash, table};
use super::{Context, Target, target};
use crate::app::types::{
    AddSchedule, LastTimes, NextTimes, Page, ScheduleView, SchedulesQuery, TimesQuery, Why,
};

/// What to do with schedules.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List schedules, newest first
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Let a job be made again and again
    Add(ScheduleAddArgs),
    /// Let a schedule fire no more; its jobs go on
    Pause(ScheduleChange),
    /// Let a paused schedule go on with its next time
    Resume(ScheduleChange),
    /// Remove a schedule; its jobs stay
    Remove(ScheduleChange),
    /// Make a schedule's job now, also while it is paused
    RunNow(ScheduleChange),
    /// Tell when a schedule will fire
    Next(ScheduleTimes),
    /// Tell when a schedule has fired, the newest first
    Fires(ScheduleTimes),
}

/// Arguments of `schedule add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScheduleAddArgs {
    /// Its name: a-z, 0-9, - and _, at most 60
    name: String,
    #[arg(help = "The jobs' kind: connector_sync, token_refresh or data_cleanup")]
    kind: String,
    /// Minute, hour, day of month, month and day of week; or @hourly, @daily, @weekly, @monthly,
    /// @yearly
    #[arg(long, value_name = "CRON")]
    cron: String,
    /// The cron's time zone, by its name in the IANA database
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// The jobs' arguments as a JSON object; - reads them from stdin
    #[arg(long, value_name = "JSON", conflicts_with = "arg")]
    json: Option<String>,
    /// One argument; true, false, null and numbers are read as such
    #[arg(long, value_name = "k=v", value_parser = parse_arg)]
    arg: Vec<(String, Value)>,
    /// What becomes of times that nobody was there for: nothing, one job for all, or one for each
    /// (the newest 100 at most, a second apart)
    #[arg(long, value_name = "POLICY", default_value = "once",
        value_parser = ["skip", "once", "all"])]
    missed: String,
    /// What becomes of a time that comes while the last job is not done: nothing, or a job all the
    /// same [default: skip; allow with --missed all]
    #[arg(long, value_name = "POLICY", value_parser = ["skip", "allow"])]
    overlap: Option<String>,
    /// Spread the jobs over so long after their times, 24h at most
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    jitter: Option<Duration>,
    /// The jobs' head start in seconds (0 to 3600)
    #[arg(long, value_name = "SECONDS", value_parser = |text: &str| parse_number(text, 0, 3_600))]
    priority: Option<u32>,
    /// Their attempts in all
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 1, 100))]
    max_attempts: Option<u32>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A schedule that is to change.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScheduleChange {
    /// The schedule, by its name or id
    schedule: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A schedule whose times are asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScheduleTimes {
    /// The schedule, by its name or id
    schedule: String,
    /// So many times, 1 to 100
    #[arg(value_name = "N", default_value = "10", value_parser = super::parse_limit)]
    count: u32,
}

pub(super) async fn run(context: &Context, command: ScheduleCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    let target = target.as_ref();
    match command {
        ScheduleCommand::Add(args) => {
            context.format.say(&target.add_schedule(added(args)?).await?, summary)
        }
        ScheduleCommand::List { limit, cursor } => {
            let query = SchedulesQuery { name: None, limit, cursor };
            context.format.say(&target.schedules(&query).await?, page)
        }
        ScheduleCommand::Pause(ScheduleChange { schedule, reason }) => {
            let id = found(target, &schedule).await?;
            context.format.say(&target.pause_schedule(id, &Why { reason }).await?, summary)
        }
        ScheduleCommand::Resume(ScheduleChange { schedule, reason }) => {
            let id = found(target, &schedule).await?;
            context.format.say(&target.resume_schedule(id, &Why { reason }).await?, summary)
        }
        ScheduleCommand::Remove(ScheduleChange { schedule, reason }) => {
            let id = found(target, &schedule).await?;
            let removed = target.remove_schedule(id, &Why { reason }).await?;
            context.format.say(&removed, |removed| format!("{} is removed", removed.name))
        }
        ScheduleCommand::RunNow(ScheduleChange { schedule, reason }) => {
            let id = found(target, &schedule).await?;
            let enqueued = target.run_schedule(id, &Why { reason }).await?;
            context.format.say(&enqueued, |job| format!("{}  accepted, {}", job.id, job.state))
        }
        ScheduleCommand::Next(ScheduleTimes { schedule, count }) => {
            let id = found(target, &schedule).await?;
            let query = TimesQuery { limit: Some(count) };
            context.format.say(&target.next_times(id, &query).await?, to_come)
        }
        ScheduleCommand::Fires(ScheduleTimes { schedule, count }) => {
            let id = found(target, &schedule).await?;
            let query = TimesQuery { limit: Some(count) };
            context.format.say(&target.last_times(id, &query).await?, had)
        }
    }
}

fn added(args: ScheduleAddArgs) -> Result<AddSchedule, Failure> {
    let jitter = args.jitter.map(|jitter| u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX));
    Ok(AddSchedule {
        name: args.name,
        cron: args.cron,
        zone: Some(args.zone),
        kind: args.kind,
        args: arguments(args.json, args.arg)?,
        priority: args.priority,
        max_attempts: args.max_attempts,
        missed: Some(args.missed),
        overlap: args.overlap,
        jitter_ms: jitter,
        reason: args.reason,
    })
}

/// The id of the schedule that a person calls so.
async fn found(target: &dyn Target, called: &str) -> Result<Uuid, Failure> {
    if let Ok(id) = called.parse() {
        return Ok(id);
    }
    let query = SchedulesQuery { name: Some(called.to_owned()), ..SchedulesQuery::default() };
    let page = target.schedules(&query).await?;
    page.items.first().map(|schedule| schedule.id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no schedule {called:?}"))
            .advise("postworks schedule list shows them")
    })
}

fn summary(schedule: &ScheduleView) -> String {
    let paused = schedule.paused.as_ref().map(|holder| match &holder.why {
        Some(why) => format!("by {}: {why}", holder.by),
        None => format!("by {}", holder.by),
    });
    list(&[
        ("id", schedule.id.to_string()),
        ("name", schedule.name.clone()),
        ("cron", format!("{} {}", schedule.cron, schedule.zone)),
        ("kind", schedule.kind.to_string()),
        ("missed", schedule.missed.clone()),
        ("overlap", schedule.overlap.clone()),
        ("next", or_dash(schedule.next_at.as_ref())),
        ("paused", or_dash(paused.as_ref())),
    ])
}

fn page(page: &Page<ScheduleView>) -> String {
    let rows = page.items.iter().map(|schedule| {
        vec![
            schedule.name.clone(),
            schedule.cron.clone(),
            schedule.zone.clone(),
            schedule.queue.to_string(),
            schedule.missed.clone(),
            schedule.overlap.clone(),
            or_dash(schedule.next_at.as_ref()),
            schedule.fires.to_string(),
            schedule.paused.as_ref().map_or_else(String::new, |holder| holder.by.clone()),
        ]
    });
    let header =
        ["NAME", "CRON", "ZONE", "QUEUE", "MISSED", "OVERLAP", "NEXT", "FIRES", "PAUSED BY"];
    super::paged(table(&header, rows, "no schedules"), page.next.as_deref())
}

fn to_come(next: &NextTimes) -> String {
    let rows = next.times.iter().map(|time| vec![time.at.to_string(), time.local.clone()]);
    table(&["UTC", "LOCAL"], rows, "it never fires again")
}

fn had(last: &LastTimes) -> String {
    let rows = last.fires.iter().map(|fire| {
        let job =
            fire.job_id.map_or_else(|| "the last was not done".to_owned(), |id| id.to_string());
        let by = if fire.by_hand { "a person" } else { "the clock" };
        vec![fire.at.to_string(), fire.made_at.to_string(), job, by.to_owned()]
    });
    table(&["TIME", "MADE", "JOB", "BY"], rows, "it has not fired yet")
}

//! The routes of schedules.

use serde_json::json;

use crate::api::describe::Tag::Jobs;
use crate::api::describe::{ACCEPTED, CONFLICT, CREATED};
use crate::api::route::{Route, delete, get, post};
use crate::api::schedules;
use crate::app::types::{
    AddSchedule, Enqueued, LastTimes, NextTimes, Page, RemovedSchedule, ScheduleView,
    SchedulesQuery, TimesQuery, Why,
};
use crate::auth::Need::{Cancel, Produce, Read};

/// What is done with a schedule, once its id is known.
const OF_SCHEDULE: &[&str] = &[
    "getSchedule",
    "nextTimes",
    "lastTimes",
    "pauseSchedule",
    "resumeSchedule",
    "runSchedule",
    "removeSchedule",
];

pub(super) fn chapter() -> Vec<Route> {
    let nightly = json!({ "name": "nightly", "cron": "30 4 * * *", "zone": "Europe/Berlin",
        "kind": "data_cleanup", "args": { "dry_run": true } });
    vec![
        get(Read, "/api/schedules", schedules::list)
            .says(Jobs, "listSchedules", "Lists schedules")
            .query::<SchedulesQuery>()
            .ok::<Page<ScheduleView>>()
            .links("/items/0/id", OF_SCHEDULE),
        post(Produce, "/api/schedules", schedules::add)
            .says(Jobs, "addSchedule", "Lets a job be made again and again")
            .more(
                "By a cron in a time zone. One with a single minute and hour is a time of day: where \
                 the clock skips it, it comes at the first moment after; where the clock repeats it, \
                 once. Every other one is a rhythm in real time.",
            )
            .body::<AddSchedule>(nightly)
            .answers::<ScheduleView>(CREATED, "It is kept, and will fire.")
            .links("/id", OF_SCHEDULE)
            .refuses(CONFLICT, "There is one of that name, or there are too many."),
        get(Read, "/api/schedules/{id}", schedules::one)
            .says(Jobs, "getSchedule", "Shows a schedule")
            .ok::<ScheduleView>(),
        get(Read, "/api/schedules/{id}/next", schedules::next)
            .says(Jobs, "nextTimes", "Tells when a schedule will fire")
            .query::<TimesQuery>()
            .ok::<NextTimes>(),
        get(Read, "/api/schedules/{id}/fires", schedules::last)
            .says(Jobs, "lastTimes", "Tells when a schedule has fired")
            .more("The newest hundred are kept, at least.")
            .query::<TimesQuery>()
            .ok::<LastTimes>(),
        post(Cancel, "/api/schedules/{id}/pause", schedules::pause)
            .says(Jobs, "pauseSchedule", "Lets a schedule fire no more")
            .more("Until it is resumed. Its jobs go on.")
            .optional_body::<Why>()
            .ok::<ScheduleView>(),
        post(Cancel, "/api/schedules/{id}/resume", schedules::resume)
            .says(Jobs, "resumeSchedule", "Lets a schedule go on")
            .more("With its next time: what fell into the pause is not made up for.")
            .optional_body::<Why>()
            .ok::<ScheduleView>(),
        post(Produce, "/api/schedules/{id}/run", schedules::run)
            .says(Jobs, "runSchedule", "Makes a schedule's job now")
            .more("Once more than its times say, also while it is paused.")
            .optional_body::<Why>()
            .answers::<Enqueued>(ACCEPTED, "It is recorded, and will run.")
            .links("/id", super::OF_JOB)
            .refuses(CONFLICT, "Its last job is not done, and its jobs do not overlap."),
        delete(Cancel, "/api/schedules/{id}", schedules::remove)
            .says(Jobs, "removeSchedule", "Removes a schedule")
            .more("Its jobs stay.")
            .query::<Why>()
            .ok::<RemovedSchedule>()
            .refuses(CONFLICT, "It is built in: it can only be paused."),
    ]
}

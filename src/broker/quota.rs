//! Room for calls within quotas: what is asked and answered, and the arithmetic that every broker
//! does (GCRA; `room.lua` does it in Redis).

use std::collections::HashMap;

use uuid::Uuid;

use crate::job::{Flow, Queue, Timestamp};

/// A line is so long, in µs, or eight times the distance of its places if that is more. The next
/// that wait begin at its front again.
///
/// So many come back in vain now and then; but were jobs taken out of a line, its room would be
/// idle for no longer than this.
pub(super) const LINE_US: i64 = 300_000_000;
pub(super) const PLACES_MIN: i64 = 8;

/// What a quota is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All calls to a platform.
    App(String),
    /// An account's calls.
    Account(Uuid),
    /// The calls of a kind on a platform.
    Endpoint(Queue),
}

/// A call that a job is about to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The account, which may be blocked.
    pub account: Option<Uuid>,
    /// The quotas that it counts for; at most one of each kind of scope. Every call that names a
    /// scope names the same flow.
    pub quotas: Vec<(Scope, Flow)>,
    /// Whether it may use what is kept for urgent jobs.
    pub urgent: bool,
}

/// What a call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may be made now, and counts for its quotas.
    Granted,
    /// Its account is blocked until then; it counts for nothing.
    Blocked(Timestamp),
    /// One of its quotas, named by its place among them, is used up; it counts for none. Come back
    /// then.
    Full {
        /// When to ask again. Each call has a time of its own, as far apart as room comes free.
        until: Timestamp,
        /// The quota's place.
        quota: usize,
    },
}

/// What a quota's scope is known by: when all of its room is free again, in µs since 1970, and the
/// lines of those that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Vessel {
    free_from: i64,
    ordinary: Line,
    urgent: Line,
}

/// Those that wait: no more than a way to send them off to different times. Nothing is reserved:
/// who comes first takes the room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line {
    /// The time of room that somebody was sent to.
    front: i64,
    /// The last place that was given.
    last: i64,
}

impl Vessel {
    /// When there is room for one more call; not in the future if there is room now.
    fn room_from(&self, flow: Flow, urgent: bool, now: i64) -> i64 {
        let all = i64::from(if urgent { flow.urgent } else { flow.ordinary });
        self.free_from(flow, now) - apart(flow) * (all - 1)
    }

    /// A vessel is never fuller than full, whatever somebody wrote, and should a clock go back.
    fn free_from(&self, flow: Flow, now: i64) -> i64 {
        self.free_from.min(now + apart(flow) * i64::from(flow.urgent))
    }

    fn fill(&mut self, flow: Flow, now: i64) {
        self.free_from = self.free_from(flow, now).max(now) + apart(flow);
    }

    fn line(&mut self, urgent: bool) -> &mut Line {
        if urgent { &mut self.urgent } else { &mut self.ordinary }
    }

    /// Whether it says nothing that an empty one does not say.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.free_from.max(self.ordinary.last).max(self.urgent.last) <= micros(now)
    }
}

impl Line {
    /// Where the next waits: at the front if nobody was sent there since room was last taken, else
    /// behind the last.
    ///
    /// The first rule keeps room from being idle when a job came back too late for its place, and
    /// those behind it come too early for theirs.
    fn next(mut self, room_from: i64, flow: Flow) -> (i64, Self) {
        if self.front != room_from {
            self.front = room_from;
            return (room_from, self);
        }
        let end = room_from + LINE_US.max(apart(flow) * PLACES_MIN);
        let behind = self.last.max(room_from) + apart(flow);
        self.last = if behind > end { room_from + apart(flow) } else { behind };
        (self.last, self)
    }
}

fn apart(flow: Flow) -> i64 {
    i64::try_from(flow.apart_us).unwrap_or(i64::MAX >> 24)
}

fn micros(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(1_000)
}

/// Answers a call whose account is not blocked: it takes room in every vessel, or in none and is
/// sent to the end of the line that takes longest.
pub(super) fn ask(call: &Call, vessels: &mut HashMap<Scope, Vessel>, now: Timestamp) -> Room {
    let now = micros(now);
    let mut longest: Option<(i64, Line, usize)> = None;
    for (place, (scope, flow)) in call.quotas.iter().enumerate() {
        let mut vessel = vessels.get(scope).copied().unwrap_or_default();
        let room_from = vessel.room_from(*flow, call.urgent, now);
        if room_from > now {
            let (at, line) = vessel.line(call.urgent).next(room_from, *flow);
            if longest.is_none_or(|(longest, ..)| at > longest) {
                longest = Some((at, line, place));
            }
        }
    }
    let Some((at, line, quota)) = longest else {
        for (scope, flow) in &call.quotas {
            vessels.entry(scope.clone()).or_default().fill(*flow, now);
        }
        return Room::Granted;
    };
    if let Some((scope, _)) = call.quotas.get(quota) {
        *vessels.entry(scope.clone()).or_default().line(call.urgent) = line;
    }
    // Up to the next millisecond: never early.
    Room::Full { until: Timestamp::from_millis(at.saturating_add(999) / 1_000), quota }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Quota;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The model: every call that was made within a quota, and whether it was urgent.
    #[derive(Debug, Default)]
    struct Log(Vec<(i64, bool)>);

    impl Log {
        /// When one more call of this kind leaves every span up to it within its bound.
        fn room_from(&self, flow: Flow, urgent: bool) -> i64 {
            let (all, apart) =
                (i64::from(if urgent { flow.urgent } else { flow.ordinary }), apart(flow));
            let calls = (1..).zip(self.0.iter().rev());
            calls.map(|(count, (at, _))| at + (count - all + 1) * apart).max().unwrap_or(0)
        }

        /// Urgent calls since the last ordinary one.
        fn urgent_lately(&self) -> usize {
            self.0.iter().rev().take_while(|(_, urgent)| *urgent).count()
        }

        /// The most calls in any span of this length, without its end.
        fn most_within(&self, span_us: i64, counts: impl Fn(bool) -> bool) -> usize {
            let times: Vec<i64> =
                self.0.iter().filter(|(_, urgent)| counts(*urgent)).map(|(at, _)| *at).collect();
            let within =
                |from: i64| times.iter().filter(|at| (from..from + span_us).contains(*at)).count();
            times.iter().map(|from| within(*from)).max().unwrap_or(0)
        }
    }

    fn app() -> Scope {
        Scope::App("bluesky".to_owned())
    }

    /// Somebody who wants to make a call.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Caller {
        asks_at_ms: i64,
        number: u32,
        /// When it was told to come back, if it was.
        told_ms: Option<i64>,
        urgent: bool,
        /// How long after it was told it asks.
        late_ms: i64,
    }

    fn callers() -> impl Strategy<Value = BTreeSet<Caller>> {
        let arrival = (0..3_000_i64, 1..6_u32, any::<bool>(), 0..400_i64);
        prop::collection::vec(arrival, 1..40).prop_map(|arrivals| {
            let (mut asks_at_ms, mut callers) = (1_772_357_400_000, BTreeSet::new());
            for (later_ms, count, urgent, late_ms) in arrivals {
                asks_at_ms += later_ms;
                for _ in 0..count {
                    let number = u32::try_from(callers.len()).unwrap();
                    callers.insert(Caller { asks_at_ms, number, told_ms: None, urgent, late_ms });
                }
            }
            callers
        })
    }

    proptest! {
        /// Callers come back when they were told to, or some time later, until all have called.
        #[test]
        fn a_quota_is_never_exceeded_and_never_idle_while_somebody_waits(
            calls in 1..40_u32, seconds in 1..60_u64, percent in 0..=50_u32, waiting in callers(),
        ) {
            let flow = format!("{calls}/{seconds}s").parse::<Quota>().unwrap().flow(percent);
            let (calls, kept) = (calls as usize, (flow.urgent - flow.ordinary) as usize);
            let (mut waiting, mut vessels, mut log) = (waiting, HashMap::new(), Log::default());
            let mut asked = 0;
            while let Some(caller) = waiting.pop_first() {
                asked += 1;
                prop_assert!(asked < 50_000, "they come back for ever");
                let Caller { asks_at_ms, urgent, .. } = caller;
                let (now, now_us) = (Timestamp::from_millis(asks_at_ms), asks_at_ms * 1_000);
                let call = Call { account: None, quotas: vec![(app(), flow)], urgent };
                let room_from = log.room_from(flow, urgent);
                match ask(&call, &mut vessels, now) {
                    Room::Granted => {
                        prop_assert!(room_from <= now_us, "room comes free at {room_from} only");
                        log.0.push((now_us, urgent));
                    }
                    Room::Full { until, quota: 0 } if until > now => {
                        prop_assert!(room_from > now_us, "there was room");
                        prop_assert!(!urgent || log.urgent_lately() >= kept, "it was kept for this");
                        let told_ms = until.as_millis();
                        let asks_at_ms = told_ms + caller.late_ms;
                        waiting.insert(Caller { asks_at_ms, told_ms: Some(told_ms), ..caller });
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
                for urgent in [false, true] {
                    let alike = waiting.iter().filter(|waiter| waiter.urgent == urgent);
                    if let Some(first) = alike.filter_map(|waiter| waiter.told_ms).min() {
                        let free = log.room_from(flow, urgent).max(now_us);
                        prop_assert!(first * 1_000 < free + 1_000, "nobody comes before {first}");
                    }
                }
            }
            let span = i64::try_from(seconds).unwrap() * 1_000_000;
            let span = span + (span / 10).min(1_000_000);
            prop_assert!(log.most_within(span, |_| true) <= calls, "{log:?}");
            prop_assert!(log.most_within(span, |urgent| !urgent) <= calls - kept, "{log:?}");
        }

        /// Whatever a call counts for: it is made if all of its quotas have room, and else leaves
        /// no trace in any of them.
        #[test]
        fn a_call_is_made_exactly_if_each_of_its_quotas_has_room(
            flows in prop::array::uniform3((1..2_000_000_u64, 1..4_u32, 0..4_u32)),
            steps in prop::collection::vec((0..3_000_i64, prop::array::uniform3(any::<bool>()), any::<bool>()), 1..80),
        ) {
            let scopes = [app(), Scope::Account(Uuid::nil()), Scope::Account(Uuid::max())];
            let flows = flows.map(|(apart_us, ordinary, kept)| Flow { apart_us, ordinary, urgent: ordinary + kept });
            let (mut vessels, mut logs) = (HashMap::new(), [const { Log(Vec::new()) }; 3]);
            let mut now_ms = 1_772_357_400_000;
            for (later_ms, counts, urgent) in steps {
                now_ms += later_ms;
                let counted: Vec<usize> = (0..3).filter(|at| counts[*at]).collect();
                let quotas = counted.iter().map(|at| (scopes[*at].clone(), flows[*at])).collect();
                let call = Call { account: None, quotas, urgent };
                let rooms: Vec<i64> = counted.iter().map(|at| logs[*at].room_from(flows[*at], urgent)).collect();
                let room = ask(&call, &mut vessels, Timestamp::from_millis(now_ms));
                if rooms.iter().all(|from| *from <= now_ms * 1_000) {
                    prop_assert_eq!(room, Room::Granted);
                    counted.iter().for_each(|at| logs[*at].0.push((now_ms * 1_000, urgent)));
                } else {
                    let Room::Full { until, quota } = room else { panic!("{room:?}") };
                    prop_assert!(rooms[quota] > now_ms * 1_000);
                    let latest = rooms.iter().max().unwrap();
                    prop_assert!(until.as_millis() * 1_000 >= *latest, "{until} is in vain");
                }
            }
        }
    }
}

//! The breaker's rules, one by one and against a small model.

use proptest::prelude::*;

use super::*;
use crate::broker::Gate;
use crate::job::Timestamp;

const SETTINGS: Settings = Settings {
    calls_min: 20,
    bad_percent: 50,
    slow: Duration::from_secs(10),
    cooldown: Duration::from_secs(30),
    cooldown_max: Duration::from_secs(300),
};

fn seen(breaker: Breaker, now: i64, calls: u32, bad: u32) -> Observed {
    let gate = Gate { breaker, ..Gate::default() };
    Observed { now: Timestamp::from_millis(now), gate, calls, bad }
}

fn open_for(next: &Breaker, now: i64) -> Duration {
    let Phase::Opened { until } = next.phase else { panic!("{next:?}") };
    until.since(Timestamp::from_millis(now))
}

#[test]
fn it_opens_from_twenty_calls_on_of_which_half_failed() {
    for (calls, bad, opens) in [
        (19, 19, false),
        (20, 9, false),
        (20, 10, true),
        (1_000, 499, false),
        (1_000, 500, true),
        (u32::MAX, u32::MAX, true),
    ] {
        let next = SETTINGS.judge(&seen(Breaker::default(), 0, calls, bad), 0.5);
        assert_eq!(next.is_some(), opens, "{bad} of {calls}");
    }
}

#[test]
fn two_of_three_probes_decide() {
    let breaker = Breaker {
        phase: Phase::Opened { until: Timestamp::from_millis(1_000) },
        cooldown: SETTINGS.cooldown,
        rate: 40,
        epoch: 1,
    };
    for (calls, bad, expected) in [
        (0, 0, "none"),
        (1, 0, "none"),
        (1, 1, "none"),
        (2, 1, "none"),
        (2, 0, "closes"),
        (3, 1, "closes"),
        (2, 2, "opens"),
        (3, 2, "opens"),
    ] {
        let next = SETTINGS.judge(&seen(breaker, 2_000, calls, bad), 0.5);
        let word = match next.map(|next| next.phase) {
            None => "none",
            Some(Phase::Closing { since }) if since.as_millis() == 2_000 => "closes",
            Some(Phase::Opened { .. }) => "opens",
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!(word, expected, "{bad} of {calls}");
        assert!(next.is_none_or(|next| next.rate == 40), "it ramps up to what it had");
    }
}

#[test]
fn the_cooldown_doubles_up_to_its_bound_and_is_forgotten_in_good_times() {
    let mut now = 0;
    let mut breaker = Breaker::default();
    let mut cooldowns = Vec::new();
    for _ in 0..6 {
        breaker = SETTINGS.judge(&seen(breaker, now, 30, 30), 0.5).expect("it opens");
        cooldowns.push(open_for(&breaker, now).as_secs());
        now += 400_000;
    }
    assert_eq!(cooldowns, [30, 60, 120, 240, 300, 300]);
    // The probes go well, and it fails again a little later, or long after.
    let closing = SETTINGS.judge(&seen(breaker, now, 3, 0), 0.5).expect("it closes");
    for (later, cooldown) in [(60_000, 300), (899_000, 300), (901_000, 30)] {
        let next = SETTINGS.judge(&seen(closing, now + later, 30, 30), 0.5).expect("it opens");
        assert_eq!(open_for(&next, now + later).as_secs(), cooldown, "after {later} ms");
    }
}

#[test]
fn only_what_speaks_of_the_platforms_health_counts() {
    let until = Timestamp::from_millis(0);
    let quick = whole(Duration::from_millis(5));
    for (class, expected) in [
        (ErrorClass::NotSent, Some(true)),
        (ErrorClass::Transient, Some(true)),
        (ErrorClass::Unknown { repeatable: true }, Some(true)),
        (ErrorClass::Unknown { repeatable: false }, Some(true)),
        (ErrorClass::AuthExpired, None),
        (ErrorClass::AuthRevoked, None),
        (ErrorClass::Invalid, None),
        (ErrorClass::Expired, None),
        (ErrorClass::Unavailable { until }, None),
        (ErrorClass::Bug, None),
    ] {
        let error = JobError::new(class, "broke");
        assert_eq!(SETTINGS.is_bad(Err(&error), quick), expected, "{class:?}");
    }
    let late = JobError::timed_out(ErrorClass::Transient, "too long");
    assert_eq!(SETTINGS.is_bad(Err(&late), quick), Some(true));
    assert_eq!(SETTINGS.is_bad(Ok(()), quick), Some(false));
    assert_eq!(SETTINGS.is_bad(Ok(()), whole(SETTINGS.slow * 2)), Some(true));
}

fn whole(whole: Duration) -> Took {
    Took { whole, calling: None }
}

#[test]
fn a_run_that_waited_for_something_of_ours_says_nothing_against_the_platform() {
    let second = Duration::from_secs(1);
    let took = |calling: u32| Took { whole: 60 * second, calling: Some(calling * second) };
    assert_eq!(SETTINGS.is_bad(Ok(()), took(2)), Some(false));
    assert_eq!(SETTINGS.is_bad(Ok(()), took(11)), Some(true));
    let late = JobError::timed_out(ErrorClass::Transient, "too long");
    assert_eq!(SETTINGS.is_bad(Err(&late), took(2)), None);
    assert_eq!(SETTINGS.is_bad(Err(&late), took(58)), Some(true));
}

/// What happens to a breaker next.
#[derive(Debug, Clone)]
enum Event {
    Wait(u32),
    Calls { good: u32, bad: u32 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..90_000_u32).prop_map(Event::Wait),
        (0..40_u32, 0..40_u32).prop_map(|(good, bad)| Event::Calls { good, bad }),
    ]
}

proptest! {
    /// A small model: what a person would say of the breaker, from the outside.
    #[test]
    fn whatever_happens_it_opens_and_closes_by_the_rules(
        events in prop::collection::vec(event(), 1..200),
        jitter in 0.0..=1.0_f64,
    ) {
        let mut breaker = Breaker::default();
        let (mut now, mut calls, mut bad) = (0_i64, 0_u32, 0_u32);
        for event in events {
            match event {
                Event::Wait(span) => now += i64::from(span),
                // What is claimed while it is open counts for an earlier epoch.
                Event::Calls { good, bad: worse } => {
                    let open = breaker.position(Timestamp::from_millis(now)) == Position::Open;
                    calls += if open { 0 } else { good + worse };
                    bad += if open { 0 } else { worse };
                }
            }
            let seen = seen(breaker, now, calls, bad);
            let before = breaker.position(seen.now);
            let Some(next) = SETTINGS.judge(&seen, jitter) else {
                // It never stays closed on numbers that open it.
                let opens = calls >= 20 && bad * 2 >= calls;
                prop_assert!(before != Position::Closed || !opens, "{bad} of {calls}");
                continue;
            };
            prop_assert_ne!(before, Position::Open, "only time ends a cooldown");
            match next.phase {
                Phase::Opened { until } => {
                    let open = until.since(seen.now);
                    prop_assert!(open >= SETTINGS.cooldown.mul_f64(0.9));
                    prop_assert!(open <= SETTINGS.cooldown_max.mul_f64(1.1));
                    prop_assert!(next.cooldown >= SETTINGS.cooldown);
                    prop_assert!(bad >= PROBES_DECIDE);
                }
                Phase::Closing { .. } => {
                    prop_assert_eq!(before, Position::HalfOpen);
                    prop_assert!(calls - bad >= PROBES_DECIDE);
                }
                Phase::Closed => prop_assert!(false, "only a person resets it"),
            }
            breaker = Breaker { epoch: breaker.epoch + 1, ..next };
            (calls, bad) = (0, 0);
        }
    }
}

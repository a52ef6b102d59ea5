//! The one function that decides what becomes of a run.

use std::time::Duration;

use super::{Category, ErrorClass, JobError, Outcome, Reason, SnoozeReason, Timestamp};

/// When a kind's failed attempts are repeated: full jitter over a doubling bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The bound after the first failure.
    pub base: Duration,
    /// The bound never grows beyond this.
    pub cap: Duration,
    /// Attempts in all, at least 1.
    pub max_attempts: u32,
}

impl RetryPolicy {
    /// 8 attempts, from 1 second up to 15 minutes: a failing platform has about 2 minutes in the
    /// mean, 4 at most, to come back before the cap matters.
    pub const DEFAULT: Self =
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(15 * 60), max_attempts: 8 };

    /// The wait after failed attempt `attempt` (1 is the first): `jitter` (0 to 1) of the bound.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        bound.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// A run as [`decide`] sees it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The attempt's number; 1 is the first.
    pub number: u32,
    /// Attempts in all.
    pub max: u32,
    /// The job is of no use after this.
    pub expires_at: Timestamp,
    /// When the run ended.
    pub now: Timestamp,
    /// A random number from 0 to 1.
    pub jitter: f64,
}

/// A told-to-wait is never answered sooner than this, whatever the platform said.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// A job whose account needs a person looks again after this, a quarter more or less, so that many
/// do not come at once. Connecting the account releases the job; the look is for what that missed,
/// and costs no call to the platform.
const REAUTH_LOOK: Duration = Duration::from_secs(3_600);

/// Decides what becomes of a run that ended with `result`.
pub fn decide(result: Result<(), &JobError>, attempt: Attempt, policy: &RetryPolicy) -> Outcome {
    let Err(error) = result else { return Outcome::Completed };
    let reason = Reason {
        category: error.category(),
        class: error.class().as_str().to_owned(),
        message: error.chain(),
    };
    match error.class() {
        ErrorClass::NotSent
        | ErrorClass::Transient
        | ErrorClass::AuthExpired
        | ErrorClass::Unknown { repeatable: true } => retry(reason, attempt, policy),
        ErrorClass::RateLimited { until, .. } => {
            snooze(SnoozeReason::RateLimited, until, reason, attempt)
        }
        ErrorClass::Unavailable { until } => snooze(error.waits_for(), until, reason, attempt),
        ErrorClass::AuthRevoked => Outcome::Snooze {
            until: attempt
                .now
                .after(REAUTH_LOOK.mul_f64(0.75 + 0.5 * attempt.jitter.clamp(0.0, 1.0)))
                .min(attempt.expires_at),
            why: SnoozeReason::NeedsReauth,
        },
        ErrorClass::Unknown { repeatable: false }
        | ErrorClass::Invalid
        | ErrorClass::Expired
        | ErrorClass::Bug => Outcome::Dead { reason },
    }
}

fn retry(reason: Reason, attempt: Attempt, policy: &RetryPolicy) -> Outcome {
    if attempt.number >= attempt.max {
        return Outcome::Dead { reason };
    }
    let at = attempt.now.after(policy.delay(attempt.number, attempt.jitter));
    if at >= attempt.expires_at {
        return expired(reason, attempt);
    }
    Outcome::Retry { at, reason }
}

fn snooze(why: SnoozeReason, until: Timestamp, reason: Reason, attempt: Attempt) -> Outcome {
    let until = until.max(attempt.now.after(WAIT_MIN));
    if until >= attempt.expires_at {
        return match why {
            SnoozeReason::RateLimited => Outcome::Dead { reason },
            _ => expired(reason, attempt),
        };
    }
    Outcome::Snooze { until, why }
}

fn expired(reason: Reason, attempt: Attempt) -> Outcome {
    let message = format!(
        "expires at {} before it could run again; the last failure was: {}",
        attempt.expires_at, reason.message
    );
    Outcome::Dead { reason: Reason { category: Category::Expired, message, ..reason } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RateScope;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy::DEFAULT;

    fn attempt(number: u32, now: i64, expires_at: i64, jitter: f64) -> Attempt {
        Attempt {
            number,
            max: 8,
            expires_at: Timestamp::from_millis(expires_at),
            now: Timestamp::from_millis(now),
            jitter,
        }
    }

    fn class() -> impl Strategy<Value = ErrorClass> {
        let until = (0i64..10_000_000).prop_map(Timestamp::from_millis);
        prop_oneof![
            Just(ErrorClass::NotSent),
            Just(ErrorClass::Transient),
            any::<bool>().prop_map(|repeatable| ErrorClass::Unknown { repeatable }),
            until
                .clone()
                .prop_map(|until| ErrorClass::RateLimited { until, scope: RateScope::Account }),
            Just(ErrorClass::AuthExpired),
            Just(ErrorClass::AuthRevoked),
            Just(ErrorClass::Invalid),
            Just(ErrorClass::Expired),
            until.prop_map(|until| ErrorClass::Unavailable { until }),
            Just(ErrorClass::Bug),
        ]
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_zero_and_the_doubling_bound(n in 1u32..200, jitter in 0.0..=1.0) {
            let bound = POLICY.base.saturating_mul(1 << (n - 1).min(20)).min(POLICY.cap);
            prop_assert!(POLICY.delay(n, jitter) <= bound);
        }

        #[test]
        fn a_failed_run_is_never_completed_and_never_waits_past_its_expiry(
            class in class(), n in 1u32..12, now in 0i64..5_000_000,
            life in 0i64..5_000_000, jitter in 0.0..=1.0,
        ) {
            let attempt = attempt(n, now, now + life, jitter);
            let error = JobError::new(class, "broke");
            match decide(Err(&error), attempt, &POLICY) {
                Outcome::Completed | Outcome::Cancelled => prop_assert!(false, "{class:?}"),
                Outcome::Retry { at, .. } => {
                    prop_assert!(at >= attempt.now && at < attempt.expires_at);
                    prop_assert!(n < attempt.max);
                }
                Outcome::Snooze { until, .. } => prop_assert!(until <= attempt.expires_at),
                Outcome::Dead { .. } => {}
            }
        }

        #[test]
        fn the_wait_is_the_same_part_of_a_bound_that_never_shrinks(
            base_ms in 1u64..10_000, cap_ms in 1u64..1_000_000, n in 1u32..100, jitter in 0.0..=1.0,
        ) {
            let policy = RetryPolicy {
                base: Duration::from_millis(base_ms),
                cap: Duration::from_millis(cap_ms),
                max_attempts: 8,
            };
            let (now, next) = (policy.delay(n, 1.0), policy.delay(n + 1, 1.0));
            prop_assert!(now <= next && next <= policy.cap);
            prop_assert!(next == now * 2 || next == policy.cap, "it doubles up to the cap");
            // Full jitter: every wait down to none is as likely, so that the mean is half a bound.
            prop_assert_eq!(policy.delay(n, 0.0), Duration::ZERO);
            let error = policy.delay(n, jitter).as_secs_f64() - now.as_secs_f64() * jitter;
            prop_assert!(error.abs() < 1e-6);
        }

        #[test]
        fn a_job_that_always_fails_has_so_many_attempts_and_ends_dead_in_its_time(
            max in 1u32..30, life in 1i64..100_000_000,
            dice in proptest::collection::vec(0.0..=1.0, 30),
        ) {
            let expires_at = Timestamp::from_millis(life);
            let (mut now, mut attempts) = (Timestamp::from_millis(0), 0);
            let error = JobError::new(ErrorClass::Transient, "broke");
            for jitter in dice {
                attempts += 1;
                let attempt = Attempt { number: attempts, max, expires_at, now, jitter };
                match decide(Err(&error), attempt, &POLICY) {
                    Outcome::Retry { at, .. } => {
                        prop_assert!(at >= now && at < expires_at);
                        now = at;
                    }
                    Outcome::Dead { reason } => {
                        let out_of_time = reason.category == Category::Expired;
                        prop_assert!(attempts == max || out_of_time && attempts < max);
                        return Ok(());
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert!(false, "it never ended");
        }

        #[test]
        fn a_rate_limited_job_never_runs_before_it_was_told(
            until in 0i64..10_000_000, now in 0i64..5_000_000,
        ) {
            let until = Timestamp::from_millis(until);
            let error = JobError::new(
                ErrorClass::RateLimited { until, scope: RateScope::App },
                "slow down",
            );
            let outcome = decide(Err(&error), attempt(1, now, i64::MAX, 0.0), &POLICY);
            let Outcome::Snooze { until: wait, .. } = outcome else { panic!("{outcome:?}") };
            prop_assert!(wait >= until);
        }
    }

    #[test]
    fn an_unknown_outcome_that_cannot_be_repeated_goes_to_a_person_at_once() {
        let error = JobError::new(ErrorClass::Unknown { repeatable: false }, "no answer");
        let outcome = decide(Err(&error), attempt(1, 0, i64::MAX, 0.5), &POLICY);
        let Outcome::Dead { reason } = outcome else { panic!("{outcome:?}") };
        assert_eq!(reason.category, Category::UnknownOutcome);
    }

    #[test]
    fn the_last_attempt_ends_dead_under_its_own_heading() {
        let error = JobError::timed_out(ErrorClass::Transient, "no answer in 30 s");
        let outcome = decide(Err(&error), attempt(8, 0, i64::MAX, 0.5), &POLICY);
        let Outcome::Dead { reason } = outcome else { panic!("{outcome:?}") };
        assert_eq!(reason.category, Category::Timeout);
    }

    #[test]
    fn a_revoked_account_parks_the_job() {
        let error = JobError::new(ErrorClass::AuthRevoked, "reconnect the account");
        let outcome = decide(Err(&error), attempt(1, 0, 9_000, 0.5), &POLICY);
        assert!(matches!(outcome, Outcome::Snooze { why: SnoozeReason::NeedsReauth, .. }));
    }

    #[test]
    fn jobs_behind_a_revoked_account_look_again_in_about_an_hour_and_not_at_once() {
        let error = JobError::new(ErrorClass::AuthRevoked, "reconnect the account");
        for (jitter, minutes) in [(0.0, 45), (0.5, 60), (1.0, 75)] {
            let outcome = decide(Err(&error), attempt(1, 0, i64::MAX, jitter), &POLICY);
            let Outcome::Snooze { until, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!(until, Timestamp::from_millis(minutes * 60_000));
        }
    }
}

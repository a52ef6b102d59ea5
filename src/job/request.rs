//! From what a producer asks for to a job that may be recorded.

use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::family::{self, OnFailure, Parent, Waits};
use super::{
    Catalog, Durability, FieldError, JobId, Kind, KindSpec, Queue, Tenant, Timestamp, TraceParent,
    UniqueUntil, Uniqueness,
};

/// The most a job may be preferred, in seconds of head start.
pub const PRIORITY_S_MAX: u32 = 3_600;

/// Attempts a producer may ask for.
pub const MAX_ATTEMPTS_MAX: u32 = 100;
/// Longest unique key, in bytes.
pub const UNIQUE_KEY_BYTES_MAX: usize = 255;
/// A `run_at` this far back still means "now"; earlier is taken for a mistake.
const PAST_MAX: Duration = Duration::from_secs(24 * 3600);
/// A `run_at` further ahead is taken for a mistake.
pub const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What a producer asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The kind's name as given.
    pub kind: String,
    /// The arguments.
    pub args: Box<RawValue>,
    /// The rest.
    pub policy: RequestPolicy,
}

/// The optional part of a [`Request`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestPolicy {
    /// Not before this; now if absent.
    pub run_at: Option<Timestamp>,
    /// Not before so long from now; not together with `run_at`. In milliseconds.
    pub delay: Option<Duration>,
    /// While a live job of the kind has this key, another is not made; the next three fields say
    /// otherwise, and need it.
    pub unique_key: Option<String>,
    /// What frees the key, if not the job's end.
    pub unique_until: Option<UniqueUntil>,
    /// The key is held for so long from now even if the job completes before: 1 second to 30 days, in
    /// milliseconds.
    pub unique_for: Option<Duration>,
    /// The job is due so long from now, 100 milliseconds to 24 hours; another of its key that is asked
    /// for while it waits replaces its arguments and lets it wait anew. The key is free once it starts.
    pub debounce: Option<Duration>,
    /// A debounced job waits no longer than this in all, 24 hours at most; ten times its `debounce` if
    /// absent.
    pub max_delay: Option<Duration>,
    /// Head start in seconds.
    pub priority_s: Option<u32>,
    /// Attempts in all; the kind's default if absent.
    pub max_attempts: Option<u32>,
    /// Of no use after this; the kind's default if absent.
    pub expires_at: Option<Timestamp>,
    /// The caller's trace.
    pub trace: Option<TraceParent>,
    /// What the job is called among those of the same request.
    pub name: Option<String>,
    /// The jobs that must have ended before this one may run, at most
    /// [`PARENTS_MAX`](family::PARENTS_MAX). By name only where they are enqueued together.
    pub after: Vec<Parent>,
    /// What becomes of the job if one of them ends badly; it fails, too, if absent.
    pub on_failure: Option<OnFailure>,
}

/// A request that cannot be recorded, with every fault found.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidRequest(pub Vec<FieldError>);

/// A job as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The job.
    pub id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its kind.
    pub kind: Kind,
    /// The version of its arguments.
    pub kind_version: u16,
    /// The queue it waits in.
    pub queue: Queue,
    /// Its arguments: JSON.
    pub args: String,
    /// Attempts that have failed so far.
    pub failed_attempts: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// Head start in seconds.
    pub priority_s: u32,
    /// While this job holds it, another of the kind with this key is not made.
    pub unique_key: Option<String>,
    /// For how long it does.
    pub uniqueness: Uniqueness,
    /// The account whose jobs wait together.
    pub account: Option<Uuid>,
    /// When it may run.
    pub run_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// It is of no use after this.
    pub expires_at: Timestamp,
    /// Where it is recorded.
    pub durability: Durability,
    /// The trace of whoever enqueued it.
    pub trace: Option<TraceParent>,
    /// What it waits for; of no use to a broker before that. `None` of a job that is read again.
    pub waits: Option<Box<Waits>>,
}

impl Request {
    /// A request for a job of a known type, due now.
    ///
    /// # Errors
    /// The arguments cannot be written as JSON.
    pub fn of<J: super::Job>(job: &J) -> Result<Self, serde_json::Error> {
        let args = serde_json::value::to_raw_value(job)?;
        Ok(Self { kind: J::KIND.to_owned(), args, policy: RequestPolicy::default() })
    }

    /// Checks everything and makes the house's job, in the kind's own queue.
    ///
    /// The caller moves it to a platform's queue and fills in the account and the tenant where it
    /// knows them.
    pub fn into_job(
        self,
        catalog: &Catalog,
        id: JobId,
        now: Timestamp,
    ) -> Result<NewJob, InvalidRequest> {
        let Some(spec) = catalog.get(&self.kind) else {
            return Err(InvalidRequest(vec![FieldError::new(
                "/kind",
                catalog.unknown(&self.kind),
            )]));
        };
        let mut faults = self.policy.faults(spec, now);
        faults.extend(family::faults(&self.policy, id, spec));
        let checked = (spec.check)(self.args.get()).unwrap_or_else(|args| {
            faults.extend(
                args.into_iter()
                    .map(|fault| FieldError::new(format!("/args{}", fault.field), fault.message)),
            );
            super::spec::Checked::default()
        });
        if self.args.get().contains("\\u0000") {
            faults.push(FieldError::new("/args", "must not hold the character U+0000"));
        }
        if !faults.is_empty() {
            return Err(InvalidRequest(faults));
        }
        let run_at = self.policy.due(now).max(now);
        let waits = self.policy.waits();
        Ok(NewJob {
            id,
            tenant: Tenant::DEFAULT,
            kind: spec.kind.clone(),
            kind_version: spec.version,
            queue: Queue::of_kind(&spec.kind),
            args: self.args.get().to_owned(),
            failed_attempts: 0,
            max_attempts: self.policy.max_attempts.unwrap_or(spec.retry.max_attempts),
            priority_s: self.policy.priority_s.unwrap_or(0),
            uniqueness: self.policy.uniqueness(now),
            unique_key: self.policy.unique_key,
            account: checked.account,
            run_at,
            created_at: now,
            expires_at: self.policy.expires_at.unwrap_or(run_at.after(spec.expires_after)),
            durability: spec.durability,
            trace: self.policy.trace,
            waits,
        })
    }
}

impl RequestPolicy {
    /// When it is to run; perhaps in the past.
    fn due(&self, now: Timestamp) -> Timestamp {
        let delay = self.debounce.or(self.delay);
        self.run_at.or(delay.map(|delay| now.after(delay))).unwrap_or(now)
    }

    fn waits(&self) -> Option<Box<Waits>> {
        let ids = self.after.iter().filter_map(|parent| match parent {
            Parent::Job(id) => Some(*id),
            Parent::Named(_) => None,
        });
        let parents: Vec<JobId> = ids.collect();
        let on_failure = self.on_failure.unwrap_or_default();
        let keeps_expiry = self.expires_at.is_some();
        (!parents.is_empty()).then(|| Box::new(Waits { parents, on_failure, keeps_expiry }))
    }

    fn faults(&self, spec: &KindSpec, now: Timestamp) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push(FieldError::new(field, message));
        let due = self.due(now);
        if self.run_at.is_some() && self.delay.is_some() {
            fault("/delay_ms", "cannot be given together with run_at".into());
        }
        let field = if self.delay.is_some() { "/delay_ms" } else { "/run_at" };
        // A debounce has narrower bounds of its own.
        let named = self.debounce.is_none();
        if named && due < now.before(PAST_MAX) {
            fault(field, "is more than 24 hours in the past".into());
        }
        if named && due > now.after(AHEAD_MAX) {
            fault(field, "is more than 366 days ahead".into());
        }
        if let Some(expires_at) = self.expires_at
            && expires_at <= due.max(now)
        {
            fault("/expires_at", "must be later than run_at and than now".into());
        }
        if self.priority_s.is_some_and(|priority| priority > PRIORITY_S_MAX) {
            fault("/priority", format!("must be 0 to {PRIORITY_S_MAX} seconds of head start"));
        }
        if self.max_attempts.is_some_and(|max| !(1..=MAX_ATTEMPTS_MAX).contains(&max)) {
            fault("/max_attempts", format!("must be 1 to {MAX_ATTEMPTS_MAX}"));
        }
        if let Some(key) = &self.unique_key {
            if !(1..=UNIQUE_KEY_BYTES_MAX).contains(&key.len()) {
                fault("/unique_key", format!("must be 1 to {UNIQUE_KEY_BYTES_MAX} bytes"));
            }
            if key.contains('\0') {
                fault("/unique_key", "must not hold the character U+0000".into());
            }
            if spec.durability == Durability::Broker {
                fault("/unique_key", format!("{} jobs are not recorded, so not unique", spec.kind));
            }
        }
        self.uniqueness_faults(&mut fault);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    fn request(kind: &str, args: &str, policy: RequestPolicy) -> Result<NewJob, Vec<String>> {
        let now = Timestamp::from_millis(1_000 * DAY_MS);
        let args = RawValue::from_string(args.to_owned()).unwrap();
        let id = JobId::at(now, [7; 10]);
        Request { kind: kind.to_owned(), args, policy }
            .into_job(&Catalog::builtin().unwrap(), id, now)
            .map_err(|InvalidRequest(faults)| faults.iter().map(ToString::to_string).collect())
    }

    fn at(days: i64) -> RequestPolicy {
        RequestPolicy {
            run_at: Some(Timestamp::from_millis(1_000 * DAY_MS + days * DAY_MS)),
            ..RequestPolicy::default()
        }
    }

    const CLEANUP: &str = "data_cleanup";

    #[test]
    fn every_fault_is_named_with_its_field() {
        let policy = RequestPolicy {
            priority_s: Some(9_999),
            max_attempts: Some(0),
            unique_key: Some(String::new()),
            ..at(-2)
        };
        let faults = request("token_refresh", r#"{"connector_id":7}"#, policy).unwrap_err();
        let fields: Vec<&str> =
            faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(
            fields,
            ["/run_at", "/priority", "/max_attempts", "/unique_key", "/args/connector_id"]
        );
    }

    #[test]
    fn a_missing_or_unknown_argument_is_named() {
        let missing = request("token_refresh", "{}", RequestPolicy::default()).unwrap_err();
        assert_eq!(missing, ["/args/connector_id: is missing"]);
        let unknown = request(CLEANUP, r#"{"dryrun":true}"#, RequestPolicy::default()).unwrap_err();
        assert_eq!(unknown, ["/args/dryrun: unknown field; did you mean dry_run?"]);
    }

    #[test]
    fn a_time_a_little_in_the_past_means_now_and_an_absurd_one_is_refused() {
        assert_eq!(request(CLEANUP, "{}", at(-1)).unwrap().run_at.as_millis(), 1_000 * DAY_MS);
        assert!(request(CLEANUP, "{}", at(366)).is_ok());
        assert!(request(CLEANUP, "{}", at(367)).is_err());
        assert!(request(CLEANUP, "{}", at(36_500)).is_err());
    }

    #[test]
    fn a_delay_counts_from_now_and_is_held_to_the_same_bounds() {
        let later = |days: u64| RequestPolicy {
            delay: Some(Duration::from_secs(days * 86_400)),
            ..RequestPolicy::default()
        };
        assert_eq!(request(CLEANUP, "{}", later(1)).unwrap().run_at.as_millis(), 1_001 * DAY_MS);
        let far = request(CLEANUP, "{}", later(367)).unwrap_err();
        assert_eq!(far, ["/delay_ms: is more than 366 days ahead"]);
        let both = RequestPolicy { delay: later(1).delay, ..at(1) };
        let both = request(CLEANUP, "{}", both).unwrap_err();
        assert_eq!(both, ["/delay_ms: cannot be given together with run_at"]);
    }

    #[test]
    fn arguments_nested_beyond_reason_are_refused() {
        let deep = format!("{{\"scope\":{}1{}}}", "[".repeat(4_000), "]".repeat(4_000));
        let Ok(args) = RawValue::from_string(deep) else { return };
        let job = Request { kind: CLEANUP.into(), args, policy: RequestPolicy::default() };
        let now = Timestamp::from_millis(0);
        assert!(job.into_job(&Catalog::builtin().unwrap(), JobId::at(now, [0; 10]), now).is_err());
    }
}

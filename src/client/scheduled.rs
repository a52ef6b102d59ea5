//! The jobs of schedules.

use serde_json::value::RawValue;

use super::Producer;
use crate::job::{
    Durability, FieldError, InvalidRequest, NewJob, Request, RequestPolicy, Timestamp,
};
use crate::ledger::Schedule;

impl Producer {
    /// Makes a schedule's job, due then or now, without recording it. The ledger will have it,
    /// whatever the kind's jobs are by configuration: else no time could be had just once.
    ///
    /// # Errors
    /// Every fault found, as with arguments that were good when the schedule was made.
    pub fn scheduled(
        &self,
        schedule: &Schedule,
        run_at: Option<Timestamp>,
    ) -> Result<NewJob, InvalidRequest> {
        let args = RawValue::from_string(schedule.args.clone())
            .map_err(|error| InvalidRequest(vec![FieldError::new("/args", error.to_string())]))?;
        let policy = RequestPolicy {
            priority_s: Some(schedule.priority_s),
            max_attempts: schedule.max_attempts,
            ..RequestPolicy::default()
        };
        let request = Request { kind: schedule.kind.as_str().to_owned(), args, policy };
        let job = self.for_tenant(schedule.tenant).prepare(request)?;
        let (life, run_at) = (job.expires_at.since(job.run_at), run_at.unwrap_or(job.run_at));
        Ok(NewJob {
            queue: schedule.queue.clone(),
            account: schedule.account,
            run_at,
            expires_at: run_at.after(life),
            durability: Durability::Ledger,
            ..job
        })
    }
}

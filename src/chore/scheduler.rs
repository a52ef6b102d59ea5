//! The scheduler: makes the jobs of schedules when their times come.
//!
//! Any node may, at any time: the ledger sees to it that each time is had once. So that a tick does
//! not find all of them at the ledger's door, one has the office and wakes up for it; the others look
//! for what that one has left two seconds later, so nothing waits for an office to be given anew.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::client::Producer;
use crate::clock::SharedClock;
use crate::job::schedule::{Cron, owed};
use crate::job::{FieldError, InvalidRequest, Timestamp};
use crate::ledger::{Error, Firing, Holder, Schedule, Schedules};

/// Between two looks at most: a schedule that was just added may be due so soon.
const EVERY: Duration = Duration::from_secs(5);
/// How long the office lasts without being asked for again.
const TERM: Duration = Duration::from_secs(12);
/// So long others leave what is due to whoever has the office.
const PATIENCE: Duration = Duration::from_secs(2);
/// After an error, and while others have all that is due under their hands.
const RETRY: Duration = Duration::from_millis(200);
/// Schedules that are taken in a transaction.
const BATCH: u32 = 100;

const OFFICE: &str = "scheduler";
/// Who pauses what can fire no more.
const BY: &str = "postworks";

/// Makes the jobs of schedules.
pub struct Scheduler {
    /// Knows them.
    pub schedules: Schedules,
    /// Gives the office.
    pub broker: Arc<dyn Broker>,
    /// Makes the jobs, and tells the broker.
    pub producer: Producer,
    /// Tells the time.
    pub clock: SharedClock,
}

impl Scheduler {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut pause, mut failing) = (Duration::ZERO, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let looked = self.look().await;
            if let Err(error) = &looked
                && !failing
            {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "cannot look for schedules that are due; trying again");
            }
            failing = looked.is_err();
            pause = looked.unwrap_or(RETRY);
        }
    }

    /// Fires what is due; answers when to look again.
    ///
    /// # Errors
    /// The ledger cannot be asked now. If it is not known whether it took the jobs, and it did, the
    /// relay pushes them.
    pub async fn look(&self) -> Result<Duration, Error> {
        let kinds: Vec<&str> =
            self.producer.catalog().iter().map(|spec| spec.kind.as_str()).collect();
        let mut patience = None;
        loop {
            let Some(next) = self.schedules.next_due(&kinds).await? else { return Ok(EVERY) };
            let now = self.clock.now();
            // Until something is about to come the office is nobody's.
            if next > now.after(EVERY) {
                return Ok(EVERY);
            }
            let patience = match patience {
                Some(patience) => patience,
                None => *patience.insert(self.patience().await),
            };
            let due = next.after(patience);
            if due > now {
                return Ok(due.since(now).min(EVERY));
            }
            let decide = |schedule: &Schedule| self.decide(schedule, now);
            let until = now.before(patience);
            let fired = self.schedules.fire(until, now, &kinds, BATCH, decide).await?;
            if fired.schedules == 0 {
                return Ok(RETRY);
            }
            self.producer.dispatch(fired.made);
        }
    }

    /// How long what is due is left to whoever has the office: not at all if that is us.
    async fn patience(&self) -> Duration {
        // Without a broker everybody has it, and they take turns at the rows.
        let ours = self.broker.keep_office(OFFICE, TERM).await.unwrap_or(true);
        if ours { Duration::ZERO } else { PATIENCE }
    }

    fn decide(&self, schedule: &Schedule, now: Timestamp) -> Firing {
        self.firing(schedule, now).unwrap_or_else(|faults| {
            let why: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let why = format!("it can fire no more: {}", why.join("; "));
            tracing::error!(schedule = schedule.name, why, "a schedule is paused");
            let paused = Some(Holder { at: now, by: BY.to_owned(), why: Some(why) });
            Firing { fires: Vec::new(), next_at: None, paused }
        })
    }

    fn firing(&self, schedule: &Schedule, now: Timestamp) -> Result<Firing, Vec<FieldError>> {
        let cron = Cron::parse(&schedule.cron, &schedule.zone)?;
        let next = schedule.next_at.unwrap_or(now);
        let owed = owed(&cron, schedule.missed, next, now);
        if owed.left_out {
            let (schedule, policy) = (&schedule.name, schedule.missed.as_str());
            tracing::warn!(schedule, policy, since = %next, "times were missed and are left out");
        }
        let mut fires = Vec::with_capacity(owed.due.len());
        for due in owed.due {
            let due = due.spread_over(schedule.jitter, schedule.id);
            let job = self.producer.scheduled(schedule, Some(due.run_at));
            fires.push((due.at, job.map_err(|InvalidRequest(faults)| faults)?));
        }
        Ok(Firing { fires, next_at: owed.next, paused: None })
    }
}

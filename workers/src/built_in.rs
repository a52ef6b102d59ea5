//! The schedules that the program makes by itself: any node, when it starts, the same as the others.

use std::time::Duration;

use postworks::clock::SharedClock;
use postworks::job::schedule::{Cron, Missed, Overlap};
use postworks::job::{DataCleanup, IdSource, Job as _, Kind, Queue, Request, Tenant};
use postworks::ledger::{Schedule, Schedules};
use tokio_util::sync::CancellationToken;

/// The nightly cleanup's name.
pub const CLEANUP: &str = "data-cleanup";
const ZONE: &str = "UTC";
/// Its job runs some part of this after its time.
const JITTER: Duration = Duration::from_secs(15 * 60);
/// While the ledger is away.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the built-in schedules.
pub struct BuiltIn {
    /// Where schedules are.
    pub schedules: Schedules,
    /// Tells the time.
    pub clock: SharedClock,
    /// When the cleanup comes; `None` for never.
    pub cleanup: Option<String>,
}

/// What keeps a schedule from being kept.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl BuiltIn {
    /// Makes them, or changes them as the configuration says; tries until that is done, or `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            match self.keep().await {
                Ok(()) => return,
                Err(error) if !failing => {
                    let error: &dyn std::error::Error = error.as_ref();
                    tracing::warn!(error, "cannot make the built-in schedules; trying again");
                    failing = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Makes them, or changes them as the configuration says. May be repeated, by any number at once.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn keep(&self) -> Result<(), Failure> {
        let Some(cron) = &self.cleanup else {
            self.schedules.drop_built_in(Tenant::DEFAULT, CLEANUP).await?;
            return Ok(());
        };
        if !self.schedules.keep_built_in(&self.nightly(cron)?).await? {
            tracing::warn!(
                schedule = CLEANUP,
                "somebody's schedule has the name of the built-in one, which is not made: remove it, \
                 or set retention.cleanup = \"\""
            );
        }
        Ok(())
    }

    fn nightly(&self, cron: &str) -> Result<Schedule, Failure> {
        let now = self.clock.now();
        let words = |faults: Vec<postworks::job::FieldError>| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let cron = Cron::parse(cron, ZONE).map_err(words)?;
        let kind = Kind::parse(DataCleanup::KIND)?;
        let request = Request::of(&DataCleanup::default())?;
        Ok(Schedule {
            id: IdSource::default().next(now, rand::random()).as_uuid(),
            tenant: Tenant::DEFAULT,
            name: CLEANUP.to_owned(),
            cron: cron.as_str().to_owned(),
            zone: cron.zone().to_owned(),
            queue: Queue::of_kind(&kind),
            kind,
            args: request.args.get().to_owned(),
            account: None,
            priority_s: 0,
            max_attempts: None,
            missed: Missed::Once,
            overlap: Overlap::Skip,
            jitter: JITTER,
            created_at: now,
            next_at: cron.next_after(now),
            paused: None,
            fires: 0,
            built_in: true,
        })
    }
}

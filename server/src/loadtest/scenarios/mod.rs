//! The scenarios: what each does is in a file of its own, what they share is here.

mod api;
mod breaking_point;
mod calls;
mod database;
mod draft;
mod failover;
mod ledger;
mod load;
mod queue;
mod redis;

use std::time::Duration;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use super::findings::{Capacity, Scenario};
use super::profile::Profile;
use super::screen::Screen;
use super::stores::Stores;
use super::system::{CONNECTIONS, Child, System};

pub(crate) use draft::Draft;

/// How long a scenario that was interrupted may take to end in good order.
const GRACE: Duration = Duration::from_secs(10);

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Name {
    /// Statements on the real tables
    Database,
    /// Jobs that arrive at a rate
    Queue,
    /// Redis' own commands
    Redis,
    /// Requests to the HTTP API
    Api,
    /// What happens when something gives way
    Failover,
    /// The highest rate that can be sustained
    BreakingPoint,
}

impl Name {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 6] =
        [Self::Database, Self::Queue, Self::Redis, Self::Api, Self::Failover, Self::BreakingPoint];

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Queue => "queue",
            Self::Redis => "redis",
            Self::Api => "api",
            Self::Failover => "failover",
            Self::BreakingPoint => "breaking-point",
        }
    }

    /// How many connections to PostgreSQL it may open at the same time: of whoever it starts, of the
    /// producer, and to look. Failover looks itself, and does without what there is no room for.
    pub(crate) fn connections(self, profile: &Profile) -> u32 {
        let of_roles = |count: u32| (count + 1) * CONNECTIONS;
        let own = match self {
            Self::Database => of_roles(0) + profile.database.map_or(0, |part| part.connections),
            Self::Queue | Self::BreakingPoint => of_roles(profile.system.workers),
            Self::Api => of_roles(1),
            Self::Redis => of_roles(0),
            Self::Failover => of_roles(failover::WORKERS),
        };
        own + 2
    }

    /// Whether a profile says how.
    pub(crate) fn is_in(self, profile: &Profile) -> bool {
        match self {
            Self::Database => profile.database.is_some(),
            Self::Queue => profile.queue.is_some(),
            Self::Redis => profile.redis.is_some(),
            Self::Api => profile.api.is_some(),
            Self::Failover => profile.failover.is_some(),
            Self::BreakingPoint => profile.breaking_point.is_some(),
        }
    }
}

/// What every scenario stands on.
pub(crate) struct Ground<'a> {
    pub(crate) stores: &'a Stores,
    pub(crate) profile: &'a Profile,
    pub(crate) seed: u64,
    pub(crate) screen: Screen,
    /// Cancelled when somebody wants it to end.
    pub(crate) stop: CancellationToken,
    /// Cancelled when somebody wants that at once.
    pub(crate) now: CancellationToken,
}

impl Ground<'_> {
    /// Runs a scenario in a place of its own, which is removed whatever happens; answers what was
    /// found, also of one that broke off.
    pub(crate) async fn run(&self, name: Name, capacity: &mut Capacity) -> Scenario {
        let mut draft = Draft::new(name, std::mem::take(capacity));
        let result = self.try_run(name, &mut draft).await;
        let why = result.err().map(|error| format!("{error:#}"));
        if self.stop.is_cancelled() {
            draft.broke_off("interrupted");
            why.into_iter().for_each(|why| draft.note(format!("When it was interrupted: {why}.")));
        } else if let Some(why) = why {
            draft.broke_off(&why);
        }
        let (scenario, known) = draft.finish();
        *capacity = known;
        scenario
    }

    async fn try_run(&self, name: Name, draft: &mut Draft) -> anyhow::Result<()> {
        let system = System::make(self.stores).await?;
        let place = system.place.clone();
        // Boxed: what scenarios hold across their waits is not small.
        let running = Box::pin(self.carry_out(name, &system, draft));
        let result = tokio::select! {
            result = running => result,
            () = self.overdue() => Ok(()),
        };
        drop(system);
        let cleared = self.stores.clear(&place).await.map_err(|error| {
            // Whatever else ended it: somebody has to remove that.
            self.screen.warn(&format!("{error:#}"));
            draft.note(format!("{error:#}"));
            anyhow::anyhow!("something is left behind on the servers")
        });
        result.and(cleared)
    }

    async fn carry_out(
        &self,
        name: Name,
        system: &System,
        draft: &mut Draft,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        match name {
            Name::Database => match &profile.database {
                Some(part) => database::run(self, part, system, draft).await,
                None => Ok(()),
            },
            Name::Queue => match &profile.queue {
                Some(part) => queue::run(self, part, system, draft).await,
                None => Ok(()),
            },
            Name::Redis => match &profile.redis {
                Some(part) => redis::run(self, part, system, draft).await,
                None => Ok(()),
            },
            Name::Api => match &profile.api {
                Some(part) => api::run(self, part, system, draft).await,
                None => Ok(()),
            },
            Name::Failover => match &profile.failover {
                Some(part) => failover::run(self, part, system, draft).await,
                None => Ok(()),
            },
            Name::BreakingPoint => match &profile.breaking_point {
                Some(part) => breaking_point::run(self, part, system, draft).await,
                None => Ok(()),
            },
        }
    }

    /// Returns when a scenario should long have ended.
    async fn overdue(&self) {
        self.stop.cancelled().await;
        tokio::select! {
            () = self.now.cancelled() => {}
            () = tokio::time::sleep(GRACE) => {}
        }
    }

    /// What this comes to, unless it is stopped meanwhile: preparations are worth nothing then.
    ///
    /// # Errors
    /// Those of what is done, or it was stopped.
    pub(crate) async fn unless_stopped<T>(
        &self,
        doing: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = doing => done,
            () = self.stop.cancelled() => anyhow::bail!("it was stopped"),
        }
    }

    /// Ends a process in good order, or at once if somebody waits for the end of all.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) async fn end(&self, mut process: Child) -> anyhow::Result<()> {
        if self.stop.is_cancelled() { process.kill().await } else { process.stop().await }
    }

    /// Waits, unless it is stopped.
    pub(crate) async fn sleep(&self, span: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(span) => {}
        }
    }
}

//! Asks a Redis what it is, and what we may do there.

use std::time::Duration;

use super::facts::{self, ServerFacts};
use super::{RedisBroker, reply};
use crate::broker::{Error, Operation, ServerUse};
use crate::clock::{Clock as _, SystemClock};

impl RedisBroker {
    /// What this Redis says about itself.
    pub async fn server_facts(&self) -> Result<ServerFacts, Error> {
        let info = reply::text(self.commands.query(Operation::Look, &redis::cmd("INFO")).await?)?;
        let mut facts = ServerFacts::read(&info);
        facts.ahead_ms = self.ahead_ms().await?;
        // Hosted servers often forbid CONFIG, and the rule that we recommend does: it shows
        // passwords.
        let save =
            self.commands.query(Operation::Look, redis::cmd("CONFIG").arg("GET").arg("save")).await;
        let save = save.and_then(reply::list).ok().and_then(|mut pair| pair.pop());
        facts.save = save.and_then(|save| reply::text(save).ok());
        if facts.is_recent() {
            let script = &self.scripts.permits;
            let answer = self.commands.call(script, &script.call(&[self.keys.example()])).await?;
            facts.lacking =
                reply::list(answer)?.into_iter().map(reply::text).collect::<Result<_, _>>()?;
        }
        Ok(facts)
    }

    pub(super) async fn ask_for_use(&self) -> Result<ServerUse, Error> {
        let mut info = redis::cmd("INFO");
        info.arg("memory").arg("clients").arg("stats");
        let info = self.commands.query(Operation::Look, &info).await?;
        Ok(facts::server_use(&reply::text(info)?))
    }

    /// How far Redis' clock is ahead of ours: its time against the middle of the round trip.
    async fn ahead_ms(&self) -> Result<i64, Error> {
        let asked = SystemClock.now();
        let time = reply::list(self.commands.query(Operation::Look, &redis::cmd("TIME")).await?)?;
        let answered = SystemClock.now();
        let mut parts = time.into_iter().map(reply::parsed::<u64>);
        let mut next = || parts.next().unwrap_or_else(|| Err(reply::incomplete()));
        let theirs = Duration::from_secs(next()?) + Duration::from_micros(next()?);
        let ours = i64::midpoint(asked.as_millis(), answered.as_millis());
        Ok(i64::try_from(theirs.as_millis()).unwrap_or(i64::MAX) - ours)
    }
}

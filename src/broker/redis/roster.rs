//! Which processes live, and what they say of themselves.

use std::time::Duration;

use super::value::millis;
use super::{RedisBroker, reply};
use crate::broker::{Error, Presence, ROSTER_MAX};
use crate::job::WorkerId;

impl RedisBroker {
    /// Notes what a process says; `None` if it goes.
    pub(super) async fn note(
        &self,
        who: &WorkerId,
        what: Option<&Presence>,
        lasts: Duration,
    ) -> Result<(), Error> {
        let text = match what {
            Some(what) => serde_json::to_string(what)
                .map_err(|error| Error::Protocol(format!("a presence has no form: {error}")))?,
            None => String::new(),
        };
        let mut call = self.scripts.announce.call(&[self.keys.roster()]);
        call.arg(self.skew_ms()).arg(who.as_str()).arg(millis(lasts).max(1)).arg(text);
        self.commands.call(&self.scripts.announce, &call).await.map(drop)
    }

    /// What those say that live. What a newer program says in another form is left out.
    pub(super) async fn read_roster(&self) -> Result<Vec<Presence>, Error> {
        let mut call = self.scripts.roster.call(&[self.keys.roster()]);
        call.arg(self.skew_ms()).arg(ROSTER_MAX);
        let said = reply::list(self.commands.call(&self.scripts.roster, &call).await?)?;
        let texts = said.into_iter().filter_map(|said| reply::text(said).ok());
        Ok(texts.filter_map(|text| serde_json::from_str(&text).ok()).collect())
    }
}

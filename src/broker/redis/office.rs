//! Offices: chores that one node does for all.

use std::time::Duration;

use super::script::Script;
use super::value::millis;
use super::{RedisBroker, reply};
use crate::broker::Error;

impl RedisBroker {
    /// Asks for an office in one of the two ways; answers whether it is ours for this term.
    pub(super) async fn stand_for(
        &self,
        script: &Script,
        office: &str,
        term: Duration,
    ) -> Result<bool, Error> {
        let mut call = script.call(&[self.keys.chore(office)]);
        call.arg(self.options.worker.as_str()).arg(millis(term).max(1));
        Ok(reply::count(&self.commands.call(script, &call).await?)? == 1)
    }
}

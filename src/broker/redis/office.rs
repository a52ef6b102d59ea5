//! Offices: chores that one node does for all.

use std::time::Duration;

use super::script::Script;
use super::value::millis;
use super::{RedisBroker, reply};
use crate::broker::Error;

/// Names that an office may have in a Cluster, where the node of one may be away.
const NAMES_MAX: usize = 8;

impl RedisBroker {
    /// Asks for an office in one of the two ways; answers whether it is ours for this term.
    ///
    /// The chores of all queues must not stand still with the node that an office lies on: then it
    /// is given away under another name. For a term two may have it, as may happen after a restart.
    pub(super) async fn stand_for(
        &self,
        script: &Script,
        office: &str,
        term: Duration,
    ) -> Result<bool, Error> {
        let mut number = 0;
        loop {
            let mut call = script.call(&[self.keys.chore(office, number)]);
            call.arg(self.options.worker.as_str()).arg(millis(term).max(1));
            number += 1;
            match self.commands.call(script, &call).await {
                Err(Error::NodeAway(_)) if number < NAMES_MAX => {}
                answer => return Ok(reply::count(&answer?)? == 1),
            }
        }
    }
}

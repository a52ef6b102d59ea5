//! Which workers are connected, and which hold leases and are not.

use std::collections::HashSet;

use super::{RedisBroker, connect, reply};
use crate::broker::Error;
use crate::job::{Queue, WorkerId};

impl RedisBroker {
    /// The connections that the server has, as it lists them.
    pub(super) async fn connections(&self) -> Result<String, Error> {
        reply::text(self.commands.query(redis::cmd("CLIENT").arg("LIST")).await?)
    }

    pub(super) async fn holders_without_connection(
        &self,
        queues: &[Queue],
    ) -> Result<HashSet<WorkerId>, Error> {
        let mut looks = redis::pipe();
        for queue in queues {
            looks.add_command(self.scripts.holders.call(&self.keys.of(queue)));
        }
        // Last, since a worker connects first and claims then.
        looks.cmd("CLIENT").arg("LIST");
        let mut answers = self.commands.call_all(&self.scripts.holders, &looks).await?;
        let list = reply::text(answers.pop().ok_or_else(reply::incomplete)?)?;
        let connected: HashSet<WorkerId> = connect::workers(&list).collect();
        let mut vanished = HashSet::new();
        for holders in answers {
            for holder in reply::list(holders)? {
                let holder = WorkerId::from_text(&reply::text(holder)?);
                if !connected.contains(&holder) {
                    vanished.insert(holder);
                }
            }
        }
        Ok(vanished)
    }
}

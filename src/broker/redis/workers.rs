//! Which workers are connected, and which hold leases and are not.

use std::collections::HashSet;

use super::{RedisBroker, connect, reply};
use crate::broker::{Error, Operation};
use crate::job::{Queue, WorkerId};

impl RedisBroker {
    /// The connections that the server has, as it lists them.
    pub(super) async fn connections(&self) -> Result<String, Error> {
        let list = self.commands.query(Operation::Look, redis::cmd("CLIENT").arg("LIST")).await?;
        reply::text(list)
    }

    /// How many connected workers serve each queue.
    pub(super) async fn workers_of(&self, queues: &[Queue]) -> Result<Vec<usize>, Error> {
        let list = self.connections().await?;
        let served = connect::served(&list);
        let workers = |queue: &Queue| served.get(queue.as_str()).map_or(0, HashSet::len);
        Ok(queues.iter().map(workers).collect())
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

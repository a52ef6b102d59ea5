//! Which workers are connected, and which hold leases and are not.

use std::collections::{HashMap, HashSet};

use super::commands::as_far_as_known;
use super::{RedisBroker, connect, reply};
use crate::broker::{Error, Operation};
use crate::job::{Queue, WorkerId};

impl RedisBroker {
    /// The connections that every server that can be asked has, as it lists them.
    async fn connections(&self) -> Result<Vec<String>, Error> {
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST");
        let lists = self.commands.query_nodes(Operation::Look, &list).await?;
        let lists = lists.into_iter().map(|(_, list)| list).collect();
        as_far_as_known(lists)?.into_iter().flatten().map(reply::text).collect()
    }

    /// The workers that are connected to any server. One that lives may have lost its connection to
    /// one node of a Cluster, and be on its way back; one that died has lost all of them.
    pub(super) async fn connected_workers(&self) -> Result<HashSet<WorkerId>, Error> {
        Ok(self.connections().await?.iter().flat_map(|list| connect::workers(list)).collect())
    }

    /// How many connected workers serve each queue.
    pub(super) async fn workers_of(&self, queues: &[Queue]) -> Result<Vec<usize>, Error> {
        let lists = self.connections().await?;
        let mut served: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (queue, workers) in lists.iter().flat_map(|list| connect::served(list)) {
            served.entry(queue).or_default().extend(workers);
        }
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
        let holders =
            as_far_as_known(self.commands.call_each(&self.scripts.holders, &looks).await)?;
        // Afterwards, since a worker connects first and claims then.
        let connected = self.connected_workers().await?;
        let mut vanished = HashSet::new();
        for holders in holders.into_iter().flatten() {
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

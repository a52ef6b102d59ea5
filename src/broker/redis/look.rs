//! Looks at many queues at once, and at the servers they lie on.

use std::slice::Chunks;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::Cmd;

use super::commands::as_far_as_known;
use super::error::classify;
use super::{RedisBroker, reply};
use crate::broker::{Error, Operation, Pulse};
use crate::job::{Queue, Timestamp};

impl RedisBroker {
    /// Queues whose keys one command may name: all, or on a Cluster those of one slot.
    pub(super) fn parts<'q>(&self, queues: &'q [Queue]) -> Chunks<'q, Queue> {
        let most = if self.nodes.are_several() { 1 } else { queues.len().max(1) };
        queues.chunks(most)
    }

    /// Whether any of these queues has this part. One that nobody can be asked of has not.
    pub(super) async fn any(&self, queues: &[Queue], part: &str) -> Result<bool, Error> {
        let mut looks = redis::pipe();
        for queues in self.parts(queues) {
            looks.add_command(exists(self.keys.each(queues, part)));
        }
        let found = as_far_as_known(self.commands.query_each(Operation::Look, &looks).await)?;
        for found in found.iter().flatten() {
            if reply::count(found)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether jobs wait in any of these queues, or one must be opened.
    pub(super) async fn are_stirring(&self, queues: &[Queue]) -> Result<bool, Error> {
        let mut looks = redis::pipe();
        for queues in self.parts(queues) {
            looks.add_command(exists(self.keys.waiting(queues)));
            looks.add_command(exists(self.keys.each(queues, "boot")));
        }
        let found = as_far_as_known(self.commands.query_each(Operation::Look, &looks).await)?;
        for (queues, found) in self.parts(queues).zip(found.chunks(2)) {
            let [Some(waiting), Some(open)] = found else { continue };
            if reply::count(waiting)? > 0 || reply::count(open)? != queues.len() as u64 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether any server answers; one that hangs is not waited for if another does.
    pub(super) async fn ping_any(&self) -> Result<(), Error> {
        let (nodes, ping) = (self.nodes.all().await.map_err(classify)?, redis::cmd("PING"));
        let asked = nodes.iter().map(|node| self.commands.query_at(node, Operation::Look, &ping));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut failure = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(_) => return Ok(()),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(reply::incomplete))
    }

    /// What time it is, and for how long we have been connected. The nodes of a Cluster have clocks
    /// of their own: the one that is behind counts, so that no lease expires early. Of those that
    /// are away nothing is known, and nothing can be taken back there.
    pub(super) async fn feel_pulse(&self) -> Result<Pulse, Error> {
        let answers = self.commands.query_nodes(Operation::Look, &redis::cmd("TIME")).await?;
        let (nodes, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let (mut now, mut unbroken) = (None, Duration::MAX);
        for (node, told) in nodes.iter().zip(as_far_as_known(answers)?) {
            let Some(told) = told else { continue };
            let told = reply::time(told)?;
            now = Some(now.map_or(told, |now: Timestamp| now.min(told)));
            unbroken = unbroken.min(self.commands.unbroken(node));
        }
        let now = now.ok_or_else(reply::incomplete)?.as_millis() + self.skew_ms();
        Ok(Pulse { now: Timestamp::from_millis(now), unbroken })
    }
}

fn exists(keys: Vec<String>) -> Cmd {
    let mut exists = redis::cmd("EXISTS");
    exists.arg(keys);
    exists
}

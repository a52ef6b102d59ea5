//! Asks each Redis what it is, and what we may do there.

use std::time::Duration;

use futures_util::future::join_all;
use redis::Cmd;

use super::commands::{as_far_as_known, is_away};
use super::facts::{self, ServerFacts};
use super::slots::Node;
use super::{RedisBroker, reply};
use crate::broker::{Error, Operation, ServerUse};
use crate::clock::{Clock as _, SystemClock};
use crate::finding::Finding;

impl RedisBroker {
    /// What each Redis says about itself: the one that there is, or the nodes of a Cluster that hold
    /// keys and can be asked.
    ///
    /// # Errors
    /// None can be asked, or one refuses us.
    pub async fn server_facts(&self) -> Result<Vec<ServerFacts>, Error> {
        let facts = self.facts_of_each().await?.into_iter();
        let mut facts: Vec<Result<ServerFacts, Error>> = facts.map(|(_, facts)| facts).collect();
        if facts.iter().any(Result::is_ok) {
            facts.retain(|facts| !facts.as_ref().is_err_and(is_away));
        }
        facts.into_iter().collect()
    }

    /// What is right and wrong with each of them.
    pub(super) async fn findings(&self) -> Result<Vec<Finding>, Error> {
        let each = self.facts_of_each().await?;
        let is_told = each.iter().any(|(_, facts)| facts.is_ok());
        let mut findings = Vec::new();
        for (node, facts) in each {
            match facts {
                Ok(facts) if node == Node::Only => findings.extend(facts.findings()),
                Ok(facts) => {
                    findings.extend(facts.findings().into_iter().map(|found| Finding {
                        detail: format!("{node}: {}", found.detail),
                        ..found
                    }))
                }
                Err(error) if is_told && is_away(&error) => findings.push(Finding::fail(
                    "redis node",
                    format!("{node} cannot be asked, and its queues wait: {error}"),
                    "start it again, or let a replica take its place (CLUSTER FAILOVER TAKEOVER)",
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(findings)
    }

    async fn facts_of_each(&self) -> Result<Vec<(Node, Result<ServerFacts, Error>)>, Error> {
        let nodes = self.nodes.all().await.map_err(super::error::classify)?;
        let asked = nodes.into_iter().map(|node| async move {
            let facts = self.facts_of(&node).await;
            (node, facts)
        });
        Ok(join_all(asked).await)
    }

    async fn facts_of(&self, node: &Node) -> Result<ServerFacts, Error> {
        let ask =
            async |command: &Cmd| self.commands.query_at(node, Operation::Look, command).await;
        let mut facts = ServerFacts::read(&reply::text(ask(&redis::cmd("INFO")).await?)?);
        facts.ahead_ms = self.ahead_ms(node).await?;
        // Hosted servers often forbid CONFIG, and the rule that we recommend does: it shows
        // passwords.
        let setting = async |name: &str| {
            let pair = ask(redis::cmd("CONFIG").arg("GET").arg(name)).await.and_then(reply::list);
            pair.ok().and_then(|mut pair| pair.pop()).and_then(|value| reply::text(value).ok())
        };
        facts.save = setting("save").await;
        if self.nodes.are_several() {
            let info = reply::text(ask(redis::cmd("CLUSTER").arg("INFO")).await?)?;
            let all_needed = setting("cluster-require-full-coverage").await;
            facts.join(&info, all_needed.map(|value| value == "yes"));
        }
        if facts.is_recent() {
            let script = &self.scripts.permits;
            let mut call = script.call(&[]);
            call.arg(self.keys.example()).arg(u8::from(self.nodes.are_several()));
            let answer = self.commands.call_at(node, script, &call).await?;
            facts.lacking =
                reply::list(answer)?.into_iter().map(reply::text).collect::<Result<_, _>>()?;
        }
        Ok(facts)
    }

    pub(super) async fn ask_for_use(&self) -> Result<ServerUse, Error> {
        let mut info = redis::cmd("INFO");
        info.arg("memory").arg("clients").arg("stats");
        let answers = self.commands.query_nodes(Operation::Look, &info).await?;
        let answers = answers.into_iter().map(|(_, answer)| answer).collect();
        let mut used: Option<ServerUse> = None;
        for info in as_far_as_known(answers)?.into_iter().flatten() {
            let one = facts::server_use(&reply::text(info)?);
            used = Some(used.map_or(one, |used| used.beside(one)));
        }
        used.ok_or_else(reply::incomplete)
    }

    /// How far a Redis' clock is ahead of ours: its time against the middle of the round trip.
    async fn ahead_ms(&self, node: &Node) -> Result<i64, Error> {
        let asked = SystemClock.now();
        let told = self.commands.query_at(node, Operation::Look, &redis::cmd("TIME")).await?;
        let answered = SystemClock.now();
        let mut parts = reply::list(told)?.into_iter().map(reply::parsed::<u64>);
        let mut next = || parts.next().unwrap_or_else(|| Err(reply::incomplete()));
        let theirs = Duration::from_secs(next()?) + Duration::from_micros(next()?);
        let ours = i64::midpoint(asked.as_millis(), answered.as_millis());
        Ok(i64::try_from(theirs.as_millis()).unwrap_or(i64::MAX) - ours)
    }
}

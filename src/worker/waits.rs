//! Puts claimed jobs off that must wait: their account is blocked, or a quota is used up.
//!
//! It costs them no attempt, and the ledger has nothing to learn of it. The broker is asked once
//! for a batch, about both; jobs that have no account and no quota ask nobody.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::admit::InHand;
use super::blocks::Blocks;
use super::fetch::Fetcher;
use crate::broker::{Broker, Call, Delivery, Room};
use crate::gate::quota::Quotas;
use crate::job::{Kind, Timestamp};

/// Knows which jobs must wait.
pub(super) struct Waits {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) quotas: Quotas,
    /// Kinds whose jobs run also while their account is blocked.
    pub(super) heedless: HashSet<Kind>,
}

impl Waits {
    /// Until when each job must wait; `None` for those that may go on. A job that goes on has taken
    /// room in its quotas, and wastes it if it makes no call.
    ///
    /// If the broker cannot be asked, jobs run: the platform says by itself what it does not want.
    async fn of(&self, jobs: &[&Delivery]) -> Vec<Option<Timestamp>> {
        let put_off = |job: &&Delivery| self.blocks.put_off(self.heeded(job));
        if !jobs.iter().any(|job| self.quotas.limit(&job.queue)) {
            self.blocks.ask(jobs.iter().filter_map(|job| self.heeded(job)).collect()).await;
            return jobs.iter().map(put_off).collect();
        }
        let known: Vec<Option<Timestamp>> = jobs.iter().map(put_off).collect();
        let free = jobs.iter().zip(&known).filter(|(_, wait)| wait.is_none());
        let calls: Vec<Call> = free.map(|(job, _)| self.call(job)).collect();
        let mut rooms = self.room_for(&calls).await.into_iter().zip(&calls);
        let mut learnt = || match rooms.next()? {
            (Room::Granted, _) => None,
            (Room::Full { until, .. }, _) => Some(until),
            (Room::Blocked(until), call) => self.blocks.learn(call.account?, until),
        };
        known.into_iter().map(|wait| wait.or_else(&mut learnt)).collect()
    }

    async fn room_for(&self, calls: &[Call]) -> Vec<Room> {
        self.broker.take_room(calls).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "cannot ask for room in quotas now");
            Vec::new()
        })
    }

    fn call(&self, delivery: &Delivery) -> Call {
        let priority_s = delivery.envelope.as_ref().map_or(0, |envelope| envelope.priority_s);
        let call = self.quotas.call(&delivery.queue, delivery.account(), priority_s);
        // It counts for the account's quota all the same.
        Call { account: self.heeded(delivery), ..call }
    }

    /// The account whose block the job has to heed.
    fn heeded(&self, delivery: &Delivery) -> Option<Uuid> {
        let envelope = delivery.envelope.as_ref().ok()?;
        envelope.account.filter(|_| !self.heedless.contains(&envelope.kind))
    }
}

impl Fetcher {
    /// Puts the jobs off that must wait, and answers the others.
    pub(super) async fn put_off_waiting(&self, held: Vec<InHand>) -> Vec<InHand> {
        let deliveries: Vec<&Delivery> = held.iter().map(|(delivery, _)| delivery).collect();
        let waits = self.waits.of(&deliveries).await;
        let now = self.clock.now();
        let mut others = Vec::with_capacity(held.len());
        for ((delivery, cancelled), wait) in held.into_iter().zip(waits) {
            // One that expires before is looked at then, and not put off any more.
            let expires_at = delivery.envelope.as_ref().ok().map(|envelope| envelope.expires_at);
            let Some(until) = wait.filter(|_| expires_at.is_none_or(|at| at > now)) else {
                others.push((delivery, cancelled));
                continue;
            };
            let until = expires_at.map_or(until, |expires_at| until.min(expires_at));
            self.intake.put_off(delivery, until);
        }
        others
    }
}

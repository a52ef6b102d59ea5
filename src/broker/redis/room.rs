//! Room for calls within quotas: a script for a batch.

use std::collections::HashMap;
use std::hash::Hash;

use redis::{Cmd, Value};

use super::{RedisBroker, reply};
use crate::broker::{BATCH_MAX, Call, Error, Room, quota};
use crate::job::Timestamp;

impl RedisBroker {
    /// Takes room for calls, or only looks whether there is any.
    pub(super) async fn ask_for_room(
        &self,
        calls: &[Call],
        looks: bool,
    ) -> Result<Vec<Room>, Error> {
        let mut answers = Vec::with_capacity(calls.len());
        // A call that is only looked for sees nothing of the others.
        for batch in calls.chunks(if looks { 1 } else { BATCH_MAX }) {
            let answer = self.commands.call(&self.scripts.room, &self.question(batch, looks)).await;
            answers.extend(rooms(answer?, batch.len())?);
        }
        Ok(answers)
    }

    fn question(&self, calls: &[Call], looks: bool) -> Cmd {
        let accounts = Places::of(calls.iter().filter_map(|call| call.account.as_ref()));
        let quotas = calls.iter().flat_map(|call| &call.quotas);
        let flows: HashMap<_, _> = quotas.clone().map(|(scope, flow)| (scope, flow)).collect();
        let scopes = Places::of(quotas.map(|(scope, _)| scope));
        let blocks = accounts.order.iter().map(|account| self.keys.account(**account));
        let vessels = scopes.order.iter().map(|scope| self.keys.quota(scope));
        let mut question = self.scripts.room.call(&blocks.chain(vessels).collect::<Vec<_>>());
        question.arg(self.skew_ms()).arg(u8::from(looks)).arg(accounts.order.len());
        question.arg(quota::LINE_US).arg(quota::PLACES_MIN);
        for flow in scopes.order.iter().filter_map(|scope| flows.get(*scope)) {
            question.arg(flow.apart_us).arg(flow.ordinary).arg(flow.urgent);
        }
        for call in calls {
            let block = call.account.as_ref().map_or(0, |account| accounts.at(account));
            question.arg(u8::from(call.urgent)).arg(block).arg(call.quotas.len());
            for (scope, _) in &call.quotas {
                question.arg(scopes.at(scope));
            }
        }
        question
    }
}

/// Different things in a row, and where each is, counted from 1.
struct Places<'a, T> {
    order: Vec<&'a T>,
    at: HashMap<&'a T, usize>,
}

impl<'a, T: Eq + Hash> Places<'a, T> {
    fn of(things: impl Iterator<Item = &'a T>) -> Self {
        let mut places = Self { order: Vec::new(), at: HashMap::new() };
        for thing in things {
            places.at.entry(thing).or_insert_with(|| {
                places.order.push(thing);
                places.order.len()
            });
        }
        places
    }

    fn at(&self, thing: &T) -> usize {
        self.at.get(thing).copied().unwrap_or(0)
    }
}

/// Reads the answer of `room.lua` to `expected` calls.
fn rooms(answer: Value, expected: usize) -> Result<Vec<Room>, Error> {
    let answer = reply::list(answer)?;
    let numbers: Vec<u64> = answer.iter().map(reply::count).collect::<Result<_, _>>()?;
    if numbers.len() != expected * 2 {
        return Err(reply::incomplete());
    }
    let room = |pair: &[u64]| {
        let until = pair.first().copied().unwrap_or(0);
        let until = Timestamp::from_millis(i64::try_from(until).unwrap_or(i64::MAX));
        match pair.get(1).copied().unwrap_or(0) {
            0 if until == Timestamp::from_millis(0) => Room::Granted,
            0 => Room::Blocked(until),
            place => Room::Full { until, quota: usize::try_from(place - 1).unwrap_or(0) },
        }
    };
    Ok(numbers.chunks(2).map(room).collect())
}

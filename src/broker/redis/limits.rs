//! What keeps a platform's limits across all workers: blocked accounts, and slots for retries.

use redis::Value;
use uuid::Uuid;

use super::{RedisBroker, reply};
use crate::broker::{BLOCK_MAX, Error, Operation, slots};
use crate::job::{Queue, Timestamp};

impl RedisBroker {
    pub(super) async fn block_account(&self, account: Uuid, until: Timestamp) -> Result<(), Error> {
        let script = &self.scripts.block;
        let mut call = script.call(&[self.keys.account(account)]);
        let longest = u64::try_from(BLOCK_MAX.as_millis()).unwrap_or(u64::MAX);
        call.arg(self.skew_ms()).arg(until.as_millis()).arg(longest);
        self.commands.call(script, &call).await.map(drop)
    }

    pub(super) async fn blocks_of(
        &self,
        accounts: &[Uuid],
    ) -> Result<Vec<Option<Timestamp>>, Error> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let mut looks = redis::pipe();
        looks.cmd("TIME");
        for account in accounts {
            looks.cmd("GET").arg(self.keys.account(*account));
        }
        let mut answers = self.commands.query_all(Operation::Limit, &looks).await?.into_iter();
        let told = reply::time(answers.next().ok_or_else(reply::incomplete)?)?;
        let now = Timestamp::from_millis(told.as_millis() + self.skew_ms());
        let blocks: Vec<Option<Timestamp>> = answers
            .map(|held| match held {
                Value::Nil => None,
                // Anything but a time was written by somebody else, and blocks nobody.
                held => reply::parsed(held).ok().map(Timestamp::from_millis),
            })
            .map(|until| until.filter(|until| *until > now))
            .collect();
        if blocks.len() != accounts.len() {
            return Err(reply::incomplete());
        }
        Ok(blocks)
    }

    pub(super) async fn take_slots(
        &self,
        queue: &Queue,
        count: u32,
        per_second: f64,
    ) -> Result<Timestamp, Error> {
        let script = &self.scripts.reserve;
        let mut call = script.call(&[self.keys.retries(queue)]);
        let apart = u64::try_from(slots::apart(per_second).as_micros()).unwrap_or(u64::MAX);
        call.arg(self.skew_ms()).arg(count).arg(apart);
        let first = reply::count(&self.commands.call(script, &call).await?)?;
        Ok(Timestamp::from_millis(i64::try_from(first).unwrap_or(i64::MAX)))
    }
}

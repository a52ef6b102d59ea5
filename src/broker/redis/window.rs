//! The bounded window: putting jobs out, and the marks between window and ledger.

use std::time::Duration;

use redis::Value;
use uuid::Uuid;

use super::commands::as_far_as_known;
use super::script::{Script, Scripts};
use super::value::millis;
use super::{RedisBroker, reply, value};
use crate::broker::{BATCH_MAX, Error, Operation, Refill, order};
use crate::job::{JobId, Queue, Turn};

impl RedisBroker {
    /// How many due jobs are before this one; `None` if it is not due.
    pub(super) async fn rank(&self, queue: &Queue, id: JobId) -> Result<Option<u64>, Error> {
        let ready = self.keys.each(std::slice::from_ref(queue), "ready");
        let mut rank = redis::cmd("ZRANK");
        rank.arg(ready).arg(value::id(id));
        match self.commands.query(Operation::Look, &rank).await? {
            Value::Nil => Ok(None),
            rank => Ok(Some(reply::count(&rank)?)),
        }
    }

    /// Puts out what the window has no room for.
    pub(super) async fn trim(&self, queue: &Queue) -> Result<(), Error> {
        loop {
            let answer = self
                .call(
                    |scripts| &scripts.trim,
                    queue,
                    |call| {
                        call.arg(self.skew_ms()).arg(self.options.window).arg(BATCH_MAX);
                    },
                )
                .await?;
            if reply::count(&answer)? == 0 {
                return Ok(());
            }
        }
    }

    pub(super) async fn read_cutoffs(&self, queues: &[Queue]) -> Result<Vec<Option<Turn>>, Error> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut looks = redis::pipe();
        for key in self.keys.each(queues, "window") {
            looks.cmd("HGET").arg(key).arg("cutoff");
        }
        let answers = self.commands.query_each(Operation::Window, &looks).await;
        // Garbage is no mark to the scripts, either; of a node that is away nothing can be had.
        let read = |answer: Option<Value>| {
            reply::text(answer?).ok().and_then(|text| value::read_turn(&text))
        };
        Ok(as_far_as_known(answers)?.into_iter().map(read).collect())
    }

    pub(super) async fn start_round(
        &self,
        queue: &Queue,
        term: Duration,
    ) -> Result<Option<Refill>, Error> {
        let round = Uuid::new_v4().simple().to_string();
        let window = self.options.window;
        let answer = self
            .call(
                |scripts| &scripts.begin_refill,
                queue,
                |call| {
                    call.arg(self.skew_ms()).arg(&round).arg(millis(term));
                    call.arg(order::low_water(window)).arg(window);
                },
            )
            .await?;
        let answer = reply::list(answer)?;
        let [from, room] = &answer[..] else { return Ok(None) };
        // Garbage says nothing of what is held.
        let from = value::read_turn(&reply::text(from.clone())?).unwrap_or(Turn::FIRST);
        let room = usize::try_from(reply::count(room)?).unwrap_or(window);
        Ok(Some(Refill { round, from, room }))
    }

    /// Sets a mark in the name of a refill; answers whether it is the queue's latest.
    pub(super) async fn mark(
        &self,
        script: impl Fn(&Scripts) -> &Script + Send,
        queue: &Queue,
        refill: &Refill,
        until: Option<Turn>,
    ) -> Result<bool, Error> {
        let answer: Value = self
            .call(script, queue, |call| {
                call.arg(&refill.round).arg(value::turn(until)).arg(value::turn(Some(refill.from)));
            })
            .await?;
        Ok(reply::count(&answer)? > 0)
    }
}

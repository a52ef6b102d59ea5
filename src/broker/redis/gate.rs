//! Gates: the calls, and what is stored of them.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, Value};

use super::commands::{as_far_as_known, is_away};
use super::script::{Script, Scripts};
use super::value::millis;
use super::{RedisBroker, error, reply};
use crate::broker::{Breaker, Error, Gate, Observed, Operation, Phase, Tally};
use crate::job::{Hold, Queue, Timestamp};

impl RedisBroker {
    pub(super) async fn tally(&self, queue: &Queue, tally: Tally) -> Result<Observed, Error> {
        let fill = |call: &mut Cmd| {
            call.arg(self.skew_ms()).arg(tally.epoch).arg(tally.calls).arg(tally.bad);
        };
        let answer = self.on_gate(|scripts| &scripts.observe, queue, fill).await?;
        let mut answer = reply::list(answer)?.into_iter();
        let mut next = || answer.next().ok_or_else(reply::incomplete);
        let now = time(reply::count(&next()?)?);
        let gate = read(reply::list(next()?)?)?;
        let mut number =
            || Ok::<_, Error>(u32::try_from(reply::count(&next()?)?).unwrap_or(u32::MAX));
        Ok(Observed { now, gate, calls: number()?, bad: number()? })
    }

    pub(super) async fn write_breaker(
        &self,
        queue: &Queue,
        epoch: u64,
        to: Breaker,
    ) -> Result<bool, Error> {
        let (open, closing) = match to.phase {
            Phase::Closed => (String::new(), String::new()),
            Phase::Opened { until } => (until.as_millis().to_string(), String::new()),
            Phase::Closing { since } => (String::new(), since.as_millis().to_string()),
        };
        let fill = |call: &mut Cmd| {
            call.arg(epoch).arg(open).arg(closing).arg(millis(to.cooldown)).arg(to.rate);
        };
        let switched = self.on_gate(|scripts| &scripts.switch, queue, fill).await?;
        Ok(reply::count(&switched)? == 1)
    }

    pub(super) async fn write_hold(&self, queue: &Queue, hold: Hold) -> Result<(), Error> {
        let fill = |call: &mut Cmd| {
            call.arg(hold.revision).arg(u8::from(hold.paused)).arg(u8::from(hold.forced_open));
        };
        self.on_gate(|scripts| &scripts.hold, queue, fill).await.map(drop)
    }

    pub(super) async fn shut_gate(&self, queue: &Queue, until: Timestamp) -> Result<(), Error> {
        let fill = |call: &mut Cmd| {
            call.arg(until.as_millis());
        };
        self.on_gate(|scripts| &scripts.shut, queue, fill).await.map(drop)
    }

    pub(super) async fn read_gates(
        &self,
        queues: &[Queue],
    ) -> Result<(Vec<Option<Gate>>, Timestamp), Error> {
        let mut looks = redis::pipe();
        looks.cmd("TIME");
        for key in self.keys.each(queues, "gate") {
            looks.cmd("HGETALL").arg(key);
        }
        let mut answers = self.commands.query_each(Operation::Gate, &looks).await;
        let gates = as_far_as_known(answers.split_off(1))?;
        let now = match answers.pop() {
            Some(Ok(told)) => {
                Timestamp::from_millis(reply::time(told)?.as_millis() + self.skew_ms())
            }
            // It went to the node of the first queue.
            Some(Err(error)) if is_away(&error) => self.feel_pulse().await?.now,
            Some(Err(error)) => return Err(error),
            None => return Err(reply::incomplete()),
        };
        let gates =
            gates.into_iter().map(|told| told.map(|told| read(reply::list(told)?)).transpose());
        Ok((gates.collect::<Result<_, _>>()?, now))
    }

    /// Calls a script on a gate's keys. One of a wrong type is thrown out, as of a queue's.
    async fn on_gate(
        &self,
        chosen: impl Fn(&Scripts) -> &Script + Send,
        queue: &Queue,
        fill: impl FnOnce(&mut Cmd) + Send,
    ) -> Result<Value, Error> {
        let script = chosen(&self.scripts);
        let keys = self.keys.gate(queue);
        let mut call = script.call(&keys);
        fill(&mut call);
        match self.commands.call(script, &call).await {
            Err(error) if error::is_wrong_type(&error) => {
                let heal = &self.scripts.heal_gate;
                self.commands.call(heal, &heal.call(&keys)).await?;
                tracing::error!(%queue, "threw out keys of a gate that were of a wrong type");
                self.commands.call(script, &call).await
            }
            answer => answer,
        }
    }
}

/// Reads a gate's fields. What makes no sense is not there: a gate protects, and must not be able
/// to stop a queue for ever by a slip of somebody's pen.
fn read(fields: Vec<Value>) -> Result<Gate, Error> {
    let mut texts = HashMap::new();
    let mut fields = fields.into_iter();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        texts.insert(reply::text(field)?, reply::text(value)?);
    }
    let number = |field: &str| texts.get(field).and_then(|text| text.parse::<u64>().ok());
    let open = number("open").map(|until| Phase::Opened { until: time(until) });
    let closing = number("closing").map(|since| Phase::Closing { since: time(since) });
    let hold = Hold {
        revision: number("revision").unwrap_or(0),
        paused: texts.contains_key("paused"),
        forced_open: texts.contains_key("forced"),
    };
    let breaker = Breaker {
        epoch: number("epoch").unwrap_or(0),
        phase: open.or(closing).unwrap_or_default(),
        cooldown: Duration::from_millis(number("cooldown").unwrap_or(0)),
        rate: u32::try_from(number("rate").unwrap_or(0)).unwrap_or(u32::MAX),
    };
    Ok(Gate { hold, shut_until: number("shut").map(time), breaker })
}

fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

//! One call of a script for one batch, at most [`BATCH_MAX`](crate::broker::BATCH_MAX) jobs.

use std::time::Duration;

use redis::{Cmd, RedisWrite as _};

use super::value::{ID_BYTES, PLACE_BYTES, millis};
use super::{RedisBroker, reply, value};
use crate::broker::{
    BATCH_MAX, Claimed, Error, Lease, Place, Push, Pushed, Reassertion, Renewed, Settlement, Then,
    order,
};
use crate::job::{JobId, Queue, Timestamp, WorkerId};

/// Bytes of the longest word for what becomes of a job.
const WORD_BYTES: usize = 10;

impl RedisBroker {
    pub(super) async fn push_batch(
        &self,
        queue: &Queue,
        jobs: &[Push],
    ) -> Result<Vec<Pushed>, Error> {
        let generation = self.generations.of(queue);
        let values: Vec<Vec<u8>> = jobs.iter().map(|push| value::of(push, &generation)).collect();
        let fill = |call: &mut Cmd| {
            let lengths = values.iter().flat_map(|value| [ID_BYTES, PLACE_BYTES, value.len()]);
            call.reserve_space_for_args(lengths);
            call.arg(self.skew_ms()).arg(self.options.window).arg(&generation);
            for (push, value) in jobs.iter().zip(&values) {
                call.arg(value::id(push.envelope.id)).arg(value::place(push)).arg(value);
            }
        };
        let answer = self.call(|scripts| &scripts.push, queue, fill).await?;
        let (pushed, excess, generation) = reply::pushed(answer, jobs.len())?;
        self.generations.note(queue, generation);
        if excess > 0 {
            self.trim(queue).await?;
        }
        Ok(pushed)
    }

    pub(super) async fn settle_batch(
        &self,
        queue: &Queue,
        jobs: &[Settlement],
    ) -> Result<Vec<bool>, Error> {
        let answer = self
            .call(
                |scripts| &scripts.settle,
                queue,
                |call| {
                    let members = jobs.iter().map(|job| value::member_bytes(&job.lease));
                    call.reserve_space_for_args(members.flat_map(|member| [WORD_BYTES, member]));
                    call.arg(self.skew_ms());
                    for Settlement { lease, then } in jobs {
                        let member = value::member(lease);
                        match then {
                            Then::Gone => call.arg("gone").arg(member),
                            Then::Back => call.arg("back").arg(member),
                            Then::Quarantine => call.arg("quarantine").arg(member),
                            Then::Later(until) => {
                                call.arg("later").arg(member).arg(value::due_at(*until))
                            }
                            Then::Again(again) => call
                                .arg("again")
                                .arg(member)
                                .arg(value::head_start(again))
                                .arg(value::due(again))
                                .arg(again.encode()),
                        };
                    }
                },
            )
            .await?;
        reply::verdicts(answer, jobs.len())
    }

    /// Claims; `alone` of a quarantine first.
    pub(super) async fn claim_from(
        &self,
        queue: &Queue,
        worker: &WorkerId,
        limit: usize,
        lease: Duration,
        alone: bool,
    ) -> Result<Claimed, Error> {
        let limit = limit.min(BATCH_MAX);
        let fill = |call: &mut Cmd| {
            call.arg(self.skew_ms())
                .arg(worker.as_str())
                .arg(limit)
                .arg(millis(lease))
                .arg(order::promotions(limit))
                .arg(u8::from(alone))
                .arg(order::low_water(self.options.window));
        };
        reply::claimed(queue, worker, self.call(|scripts| &scripts.claim, queue, fill).await?)
    }

    pub(super) async fn renew_batch(
        &self,
        queue: &Queue,
        leases: &[Lease],
        length: Duration,
    ) -> Result<Renewed, Error> {
        let fill = |call: &mut Cmd| {
            call.arg(self.skew_ms()).arg(millis(length));
            for lease in leases {
                call.arg(value::member(lease));
            }
        };
        reply::renewed(self.call(|scripts| &scripts.renew, queue, fill).await?, leases.len())
    }

    pub(super) async fn reassert_batch(
        &self,
        queue: &Queue,
        jobs: &[Reassertion<'_>],
        length: Duration,
    ) -> Result<Vec<bool>, Error> {
        let fill = |call: &mut Cmd| {
            call.arg(self.skew_ms()).arg(millis(length));
            for Reassertion { lease, envelope } in jobs {
                call.arg(value::member(lease))
                    .arg(value::head_start(envelope))
                    .arg(value::due(envelope))
                    .arg(envelope.encode());
            }
        };
        let answer = self.call(|scripts| &scripts.reassert, queue, fill).await?;
        reply::verdicts(answer, jobs.len())
    }

    pub(super) async fn find_batch(
        &self,
        queue: &Queue,
        ids: &[JobId],
    ) -> Result<Vec<Option<Place>>, Error> {
        let fill = |call: &mut Cmd| {
            for id in ids {
                call.arg(value::id(*id));
            }
        };
        let answers = reply::list(self.call(|scripts| &scripts.find, queue, fill).await?)?;
        answers
            .into_iter()
            .map(|answer| {
                let answer = reply::text(answer)?;
                Ok(match answer.split_once(' ') {
                    Some(("delayed", due)) => {
                        let due = reply::due(due).unwrap_or(Timestamp::from_millis(0));
                        Some(Place::Delayed(due))
                    }
                    Some((_, worker)) => Some(Place::Running(WorkerId::from_text(worker))),
                    None if answer == "ready" => Some(Place::Ready),
                    None => None,
                })
            })
            .collect()
    }
}

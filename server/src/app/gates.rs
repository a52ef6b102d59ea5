//! Holding queues back by hand, and showing what holds them.

use postworks::broker::{Breaker, Gate, Phase, Position, Tally};
use postworks::gate::watch;
use postworks::job::{Queue, did_you_mean};
use postworks::ledger::{Held, Holder, QueueHold, Wish};

use super::types::{GateView, HolderView, Page, Why};
use super::{App, Error};

impl App {
    /// Lets nothing more be claimed from a queue. What runs goes on.
    pub async fn pause(&self, queue: &str, why: &Why) -> Result<GateView, Error> {
        self.wish("queue.pause", queue, Held::Paused, true, why).await
    }

    /// Lets a paused queue go on.
    pub async fn resume(&self, queue: &str, why: &Why) -> Result<GateView, Error> {
        self.wish("queue.resume", queue, Held::Paused, false, why).await
    }

    /// Opens a queue's breaker, until somebody closes it.
    pub async fn open_breaker(&self, name: &str, why: &Why) -> Result<GateView, Error> {
        self.wish("breaker.open", name, Held::BreakerOpen, true, why).await
    }

    /// Closes a queue's breaker at once, whoever or whatever opened it.
    pub async fn close_breaker(&self, name: &str, why: &Why) -> Result<GateView, Error> {
        self.house_only()?;
        let queue = self.queue(name)?;
        self.wish("breaker.close", name, Held::BreakerOpen, false, why).await?;
        let gate = self.gate(&queue).await?;
        if gate.breaker.phase != Phase::Closed {
            let epoch = gate.breaker.epoch;
            // If it changes at this moment, the platform has just proved the person right or wrong.
            if self.node.broker.switch(&queue, epoch, Breaker::default()).await? {
                watch::count(&queue, Position::Closed);
            }
        }
        self.gate_view(&queue).await
    }

    /// Every queue's gate.
    pub async fn gates(&self) -> Result<Page<GateView>, Error> {
        self.house_only()?;
        let queues: Vec<Queue> = self.node.registry.queues().cloned().collect();
        let holds = self.node.ledger.queue_holds().await?;
        let views = queues.iter().map(|queue| self.look_at(queue, &holds));
        let items = futures_util::future::join_all(views).await;
        Ok(Page { items, next: None })
    }

    /// The queue of that name.
    pub(super) fn queue(&self, name: &str) -> Result<Queue, Error> {
        let mut queues = self.node.registry.queues();
        if let Some(queue) = queues.find(|queue| queue.as_str() == name) {
            return Ok(queue.clone());
        }
        let names = self.node.registry.queues().map(Queue::as_str);
        let shown: String = name.chars().take(60).collect();
        let hint = did_you_mean(&shown, names);
        Err(Error::NotFound(format!("there is no queue {shown:?}{hint}")))
    }

    async fn gate(&self, queue: &Queue) -> Result<Gate, Error> {
        let (gates, _) = self.node.broker.gates(std::slice::from_ref(queue)).await?;
        // Asked for one alone, the broker knows it or says why not.
        Ok(gates.into_iter().next().flatten().unwrap_or_default())
    }

    /// Records what is wanted, then tells the broker. A broker that is away is told later.
    async fn wish(
        &self,
        action: &str,
        name: &str,
        what: Held,
        holds: bool,
        why: &Why,
    ) -> Result<GateView, Error> {
        self.house_only()?;
        let queue = self.queue(name)?;
        let note = self.note(action, queue.as_str(), why.reason.as_deref())?;
        let (at, by, why) = (note.at, note.actor.clone(), note.why.clone());
        let holder = holds.then_some(Holder { at, by, why });
        let wish = Wish { queue: queue.clone(), what, holder };
        let hold = self.node.ledger.wish(&wish, &note).await?;
        match self.node.broker.hold(&queue, hold.for_broker()).await {
            Ok(()) => self.node.ledger.hold_applied(&queue, hold.revision).await?,
            Err(error) => {
                tracing::warn!(%queue, %error, action, "recorded, and told to the broker later");
            }
        }
        self.gate_view(&queue).await
    }

    async fn gate_view(&self, queue: &Queue) -> Result<GateView, Error> {
        let holds = self.node.ledger.queue_holds().await?;
        Ok(self.look_at(queue, &holds).await)
    }

    async fn look_at(&self, queue: &Queue, holds: &[QueueHold]) -> GateView {
        let hold = holds.iter().find(|hold| hold.queue == *queue);
        let seen = self.node.broker.observe(queue, Tally::default()).await;
        let seen = seen.inspect_err(|error| tracing::debug!(%queue, %error, "no look at the gate"));
        let seen = seen.ok();
        GateView {
            name: queue.clone(),
            paused: hold.and_then(|hold| hold.paused.clone()).map(HolderView::from),
            state: seen.map(|seen| seen.gate.position(seen.now).as_str().to_owned()),
            forced_by: hold.and_then(|hold| hold.forced_open.clone()).map(HolderView::from),
            until: seen.and_then(|seen| seen.gate.opens_at(seen.now)),
            calls: seen.map(|seen| seen.calls),
            bad: seen.map(|seen| seen.bad),
            applied: hold.is_none_or(|hold| hold.applied),
        }
    }
}

impl From<Holder> for HolderView {
    fn from(holder: Holder) -> Self {
        Self { at: holder.at, by: holder.by, why: holder.why }
    }
}

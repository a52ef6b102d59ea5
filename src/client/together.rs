//! Lets producers that enqueue into the broker alone share pushes, as they share commits of the
//! ledger (`ledger::group`).
//!
//! A push of one job costs nearly as much as one of twenty. There is no timer: whoever comes while
//! pushes are on their way shares the next one, and a lone caller waits for nobody. Each queue has
//! pushes of its own, since a node that is slow or away must not keep other queues' callers waiting.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::PART;
use super::by_queue::ByQueue;
use crate::broker::{Broker, Error, Push};
use crate::job::Queue;

/// Pushes into a queue on their way at once: while one is carried out, the next is being filled.
const IN_FLIGHT: usize = 2;

/// Shares pushes.
#[derive(Clone)]
pub(super) struct Together {
    calls: Arc<ByQueue<Call>>,
}

struct Call {
    push: Push,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl Together {
    /// Shares pushes on the current runtime; its tasks end when every clone is gone.
    pub(super) fn start(broker: Arc<dyn Broker>) -> Self {
        let calls = ByQueue::new(move |queue, runtime| {
            let (calls, waiting) = mpsc::channel(PART);
            let waiting = Arc::new(Mutex::new(waiting));
            for _ in 0..IN_FLIGHT {
                let (broker, waiting) = (Arc::clone(&broker), Arc::clone(&waiting));
                runtime.spawn(push_batches(broker, queue.clone(), waiting));
            }
            calls
        });
        Self { calls }
    }

    /// Pushes one job.
    ///
    /// # Errors
    /// As [`Broker::push`]; the same for everybody who shared it. If this is dropped, the job is
    /// pushed or not, as after any lost answer.
    pub(super) async fn push(&self, queue: &Queue, push: Push) -> Result<(), Error> {
        let gone = || Error::Unavailable("the pushes ended with their runtime".into());
        let (answer, answered) = oneshot::channel();
        self.calls.of(queue).send(Call { push, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn push_batches(
    broker: Arc<dyn Broker>,
    queue: Queue,
    waiting: Arc<Mutex<mpsc::Receiver<Call>>>,
) {
    let mut calls = Vec::new();
    while waiting.lock().await.recv_many(&mut calls, PART).await > 0 {
        // Nobody waits for those whose callers left, and nobody was promised anything.
        let wanted = calls.drain(..).filter(|call| !call.answer.is_closed());
        let (pushes, answers): (Vec<Push>, Vec<_>) =
            wanted.map(|Call { push, answer }| (push, answer)).unzip();
        if pushes.is_empty() {
            continue;
        }
        let pushed = broker.push(&queue, &pushes).await.map(drop).map_err(Arc::new);
        for answer in answers {
            // A caller that left does not want to know.
            let _ = answer.send(pushed.as_ref().copied().map_err(shared));
        }
    }
}

/// The same error for every caller of a batch.
fn shared(error: &Arc<Error>) -> Error {
    let cause = || Box::new(Arc::clone(error));
    match &**error {
        Error::Unavailable(_) => Error::Unavailable(cause()),
        Error::NodeAway(_) => Error::NodeAway(cause()),
        Error::Refused(_) => Error::Refused(cause()),
        Error::Protocol(text) => Error::Protocol(text.clone()),
        Error::NeedsGeneration { queue, held } => {
            Error::NeedsGeneration { queue: queue.clone(), held: *held }
        }
    }
}

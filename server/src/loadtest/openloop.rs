//! Open-loop load: calls are due when the schedule says, whether or not the answers keep up.
//!
//! A thread of its own watches the clock, since timers of the runtime are too coarse, and hands each
//! arrival to callers that wait for one. If all of them wait for answers, arrivals queue, and each
//! keeps the time at which it was due: a system that stalls is charged for every call that it made
//! wait, and not asked less.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::moment::Moment;

/// The longest sleep between two looks whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long calls that are under way may take once it is stopped.
const LAST: Duration = Duration::from_secs(1);

/// A call that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    /// Its number, from 0.
    pub(crate) n: u64,
    /// When.
    pub(crate) at: Moment,
}

/// Arrivals, for those who call.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    due: Arc<Mutex<mpsc::UnboundedReceiver<Due>>>,
    stop: CancellationToken,
}

impl Line {
    /// The next call to make; `None` if there are no more, or none is to be made any more.
    pub(crate) async fn next(&self) -> Option<Due> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.due.lock().await.recv().await
    }
}

/// Lets arrivals come from `begun` on at these times, until `stop`.
pub(crate) fn start(
    times: impl Iterator<Item = Duration> + Send + 'static,
    begun: Moment,
    stop: CancellationToken,
) -> std::io::Result<Line> {
    let (due, line) = mpsc::unbounded_channel();
    let line = Line { due: Arc::new(Mutex::new(line)), stop: stop.clone() };
    let watching = move || {
        for (n, time) in (0..).zip(times) {
            let at = begun.after(time);
            loop {
                let left = at.since(Moment::now());
                if stop.is_cancelled() {
                    return;
                }
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(left.min(LOOK_EVERY));
            }
            if due.send(Due { n, at }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("arrivals".to_owned()).spawn(watching)?;
    Ok(line)
}

/// So many callers, each with one call under way at most, until there are no more arrivals; `call`
/// is given a caller of its own (a connection, say), and gives it back. Once it is stopped, calls are
/// given up that a server does not answer.
///
/// # Errors
/// One of them broke down (panicked), which is a fault of ours; the others make no more calls.
pub(crate) async fn call<C, F>(
    line: &Line,
    callers: Vec<C>,
    call: impl Fn(C, Due) -> F + Clone + Send + Sync + 'static,
) -> anyhow::Result<()>
where
    C: Send + 'static,
    F: Future<Output = C> + Send + 'static,
{
    let mut calling = JoinSet::new();
    for mut caller in callers {
        let (line, call) = (line.clone(), call.clone());
        calling.spawn(async move {
            while let Some(due) = line.next().await {
                caller = call(caller, due).await;
            }
        });
    }
    let all = async {
        while let Some(ended) = calling.join_next().await {
            ended.map_err(|error| anyhow::anyhow!("a caller broke down: {error}"))?;
        }
        Ok(())
    };
    tokio::select! {
        ended = all => ended,
        () = stopped_for(&line.stop, LAST) => Ok(()),
    }
}

/// Returns so long after `stop`.
async fn stopped_for(stop: &CancellationToken, span: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::schedule::{Arrivals, Shape};
    use super::super::tally::{Group, Tally};
    use super::*;

    const CALL: Group = Group { name: "call", sum: None };

    /// A system that answers at once, but stands still once, for so long.
    async fn seen(stall: Duration) -> (Tally, Arc<AtomicBool>) {
        let span = Duration::from_millis(400);
        let (begun, stop) = (Moment::now(), CancellationToken::new());
        let arrivals = Arrivals::new(Shape::flat(500.0, span), 1);
        let line = start(arrivals, begun, stop).unwrap();
        let (tally, stalled) = (Tally::new(begun), Arc::new(AtomicBool::new(false)));
        let (noted, once) = (tally.clone(), Arc::clone(&stalled));
        call(&line, vec![()], move |(), due| {
            let (tally, once) = (noted.clone(), Arc::clone(&once));
            async move {
                if due.n == 20 && !once.swap(true, Ordering::SeqCst) {
                    tokio::time::sleep(stall).await;
                }
                tally.done(CALL, "it", due.at, Moment::now(), true);
            }
        })
        .await
        .unwrap();
        (tally, stalled)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stall_is_charged_for_every_call_that_it_made_wait() {
        let stall = Duration::from_millis(300);
        let (tally, stalled) = seen(stall).await;
        assert!(stalled.load(Ordering::SeqCst));
        let timing = &tally.timings()[0];
        // One of two hundred calls was slow itself: whoever measured calls alone would see it in no
        // percentile below 99.5. Three quarters came meanwhile, and on average waited half of it.
        assert!(timing.p95_ms > 200.0, "{timing:?}");
        assert!(timing.p50_ms > 50.0, "{timing:?}");
        assert!(timing.count > 100, "{timing:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_that_breaks_down_is_told() {
        let line = start(due_now(9), Moment::now(), CancellationToken::new()).unwrap();
        let called = call(&line, vec![(), ()], |(), due| async move {
            assert!(due.n < 5, "number {} is too much", due.n);
        });
        let told = called.await.unwrap_err().to_string();
        assert!(told.contains("a caller broke down") && told.contains("is too much"), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_due_once_it_is_stopped() {
        let stop = CancellationToken::new();
        let line = start(due_now(1_000), Moment::now(), stop.clone()).unwrap();
        assert!(line.next().await.is_some());
        // More wait in the line when it is stopped.
        while line.due.lock().await.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        assert!(line.next().await.is_none());
        assert!(!line.due.lock().await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_arrival_comes_once_it_is_stopped() {
        let stop = CancellationToken::new();
        let forever = (1..).map(Duration::from_millis);
        let line = start(forever, Moment::now(), stop.clone()).unwrap();
        assert!(line.next().await.is_some());
        stop.cancel();
        // Who sends them goes.
        let mut due = line.due.lock().await;
        while due.recv().await.is_some() {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_without_an_answer_is_given_up_once_it_is_stopped() {
        let stop = CancellationToken::new();
        let line = start(due_now(1), Moment::now(), stop.clone()).unwrap();
        call(&line, vec![()], move |(), _| {
            stop.cancel();
            std::future::pending()
        })
        .await
        .unwrap();
    }

    /// So many calls that are due at once.
    fn due_now(count: usize) -> impl Iterator<Item = Duration> + Send + 'static {
        std::iter::repeat_n(Duration::ZERO, count)
    }
}

//! When a request is sent again: in full jitter, when the API said, and never beyond a budget.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::Error;

/// The most that is waited before the next attempts: 0.1 s, 0.2 s, … 5 s.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times();
/// With less time than this nothing is sent any more: it would only leave open what became of it.
const ATTEMPT_MIN: Duration = Duration::from_millis(250);

/// Passes the time between two attempts.
pub(super) type Wait =
    Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Waits as long as it is told.
pub(super) fn sleep() -> Wait {
    Arc::new(|time| Box::pin(tokio::time::sleep(time)))
}

/// An attempt that ended otherwise than well.
#[derive(Debug)]
pub(super) struct Miss {
    /// What the caller is told if nothing better comes.
    pub(super) error: Error,
    /// Whether what was asked may have been done.
    pub(super) perhaps_done: bool,
    /// Whether to ask again.
    pub(super) again: Again,
}

/// Whether and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It would be told the same.
    Never,
    /// In a moment.
    Soon,
    /// Not before so long.
    After(Duration),
}

/// How a call ended that brought no answer.
#[derive(Debug)]
pub(super) struct Ended {
    /// What the last attempt met.
    pub(super) error: Error,
    /// Whether what was asked may have been done, in any attempt.
    pub(super) perhaps_done: bool,
}

/// Attempts until there is an answer, or no use, or no time left. Each attempt is told how much
/// time there is. What a wait is to last counts as spent, whatever passes it.
pub(super) async fn until_answered<T, F>(
    budget: Duration,
    wait: &Wait,
    attempt: impl Fn(Duration) -> F,
) -> Result<T, Ended>
where
    F: Future<Output = Result<T, Miss>>,
{
    let mut ceilings = WAITS.build();
    let mut left = budget;
    let mut perhaps_done = false;
    loop {
        let began = Instant::now();
        let miss = match attempt(left).await {
            Ok(answer) => return Ok(answer),
            Err(miss) => miss,
        };
        left = left.saturating_sub(began.elapsed());
        perhaps_done |= miss.perhaps_done;
        let ceiling = ceilings.next().unwrap_or_default();
        let Some(span) = span(miss.again, ceiling, left) else {
            return Err(Ended { error: miss.error, perhaps_done });
        };
        tracing::debug!(error = %miss.error, ?span, "asks the API again");
        wait(span).await;
        left = left.saturating_sub(span);
    }
}

/// How long to wait before the next attempt; `None` if there is to be none.
fn span(again: Again, ceiling: Duration, left: Duration) -> Option<Duration> {
    let jitter = rand::random_range(Duration::ZERO..=ceiling);
    let room = left.checked_sub(ATTEMPT_MIN)?;
    match again {
        Again::Never => None,
        // Not squeezed into what is left: attempts would follow each other ever faster.
        Again::Soon => (jitter <= room).then_some(jitter),
        Again::After(least) => Some(least + jitter.min(room.checked_sub(least)?)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn miss(again: Again, perhaps_done: bool) -> Miss {
        Miss { error: Error::Unavailable("no".into()), perhaps_done, again }
    }

    /// Attempts that all end so; answers how it ended, and the waits.
    async fn attempts(budget: Duration, again: Again, perhaps: &[bool]) -> (Ended, Vec<Duration>) {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        let wait: Wait = Arc::new(move |span| {
            noted.lock().unwrap().push(span);
            Box::pin(std::future::ready(()))
        });
        let n = Mutex::new(0);
        let ended = until_answered(budget, &wait, |_| {
            let mut n = n.lock().unwrap();
            *n += 1;
            let perhaps_done = perhaps.get(*n - 1).copied().unwrap_or(false);
            std::future::ready(Err::<(), _>(miss(again, perhaps_done)))
        });
        let ended = ended.await.unwrap_err();
        let waits = waits.lock().unwrap().clone();
        (ended, waits)
    }

    #[tokio::test]
    async fn waits_grow_within_their_ceilings_and_their_sum_within_the_budget() {
        let (_, waits) = attempts(60 * SECOND, Again::Soon, &[]).await;
        for (n, wait) in (0_u32..).zip(&waits) {
            let ceiling = Duration::from_millis(100 * (1 << n.min(6))).min(5 * SECOND);
            assert!(*wait <= ceiling, "wait {n} of {waits:?}");
        }
        let sum: Duration = waits.iter().sum();
        assert!(sum <= 60 * SECOND - ATTEMPT_MIN, "{sum:?}");
        assert!(waits.len() >= 12, "{} waits of 5 s at most in a minute", waits.len());
    }

    #[tokio::test]
    async fn an_api_that_says_when_is_not_asked_sooner_nor_when_that_is_too_late() {
        let (_, waits) = attempts(100 * SECOND, Again::After(30 * SECOND), &[]).await;
        assert_eq!(waits.len(), 3, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait >= 30 * SECOND), "{waits:?}");
        let (_, none) = attempts(30 * SECOND, Again::After(30 * SECOND), &[]).await;
        assert_eq!(none, []);
    }

    #[tokio::test]
    async fn what_would_be_told_the_same_is_asked_once() {
        let (_, waits) = attempts(60 * SECOND, Again::Never, &[]).await;
        assert_eq!(waits, []);
    }

    #[tokio::test]
    async fn one_attempt_that_may_have_been_done_leaves_it_open() {
        for (perhaps, expected) in [(&[false, true, false][..], true), (&[false, false], false)] {
            let (ended, _) = attempts(10 * SECOND, Again::Soon, perhaps).await;
            assert_eq!(ended.perhaps_done, expected);
        }
    }

    #[tokio::test]
    async fn each_attempt_is_told_what_the_waits_have_left() {
        let told = Mutex::new(Vec::new());
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        let wait: Wait = Arc::new(move |span| {
            noted.lock().unwrap().push(span);
            Box::pin(std::future::ready(()))
        });
        let ended = until_answered(10 * SECOND, &wait, |left| {
            told.lock().unwrap().push(left);
            std::future::ready(Err::<(), _>(miss(Again::Soon, false)))
        });
        ended.await.unwrap_err();
        let (told, waits) = (told.into_inner().unwrap(), waits.lock().unwrap());
        assert_eq!(told[0], 10 * SECOND);
        assert_eq!(told.len(), waits.len() + 1);
        for (pair, wait) in told.windows(2).zip(waits.iter()) {
            assert!(pair[1] + *wait <= pair[0] && pair[1] >= ATTEMPT_MIN / 2, "{told:?} {waits:?}");
        }
    }
}

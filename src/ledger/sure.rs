//! Finds out what became of a commit whose answer got lost: by doing it again.

use std::time::Duration;

use super::Error;

/// Waits before the repetitions: enough for a killed session's server to be back, and short
/// enough for somebody who waits for an answer.
const WAITS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(600)];

/// An error that may leave open whether a change was made.
pub trait MaybeUnsure {
    /// What the ledger said, if it was the ledger.
    fn of_ledger(&self) -> Option<&Error>;
}

impl MaybeUnsure for Error {
    fn of_ledger(&self) -> Option<&Error> {
        Some(self)
    }
}

/// Repeats a transaction whose commit's answer got lost. Repeated, it must find its own rows
/// rather than make them again.
///
/// # Errors
/// The call's own; [`Error::Unsure`] if the ledger stays away.
pub async fn until_sure<T, E, F>(call: impl Fn() -> F) -> Result<T, E>
where
    E: MaybeUnsure,
    F: Future<Output = Result<T, E>>,
{
    let mut answer = call().await;
    for wait in WAITS {
        if !answer.as_ref().is_err_and(|error| matches!(error.of_ledger(), Some(Error::Unsure(_))))
        {
            break;
        }
        tokio::time::sleep(wait).await;
        match call().await {
            // It is still away, which says nothing of the call before.
            Err(error) if matches!(error.of_ledger(), Some(Error::Unavailable(_))) => {}
            better => answer = better,
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn answers(script: &[Result<u8, Error>]) -> (Result<u8, Error>, usize) {
        let calls = RefCell::new(0);
        let answer = until_sure(|| async {
            let at = *calls.borrow();
            *calls.borrow_mut() += 1;
            match &script[at.min(script.len() - 1)] {
                Ok(answer) => Ok(*answer),
                Err(Error::Unsure(_)) => Err(Error::Unsure(sqlx::Error::WorkerCrashed)),
                Err(_) => Err(Error::Unavailable(sqlx::Error::WorkerCrashed)),
            }
        })
        .await;
        (answer, calls.into_inner())
    }

    #[tokio::test]
    async fn only_a_lost_answer_is_asked_for_again() {
        let unsure = || Err(Error::Unsure(sqlx::Error::WorkerCrashed));
        let away = || Err(Error::Unavailable(sqlx::Error::WorkerCrashed));
        assert!(matches!(answers(&[Ok(1)]).await, (Ok(1), 1)));
        assert!(matches!(answers(&[away(), Ok(1)]).await, (Err(Error::Unavailable(_)), 1)));
        assert!(matches!(answers(&[unsure(), away(), Ok(1)]).await, (Ok(1), 3)));
        assert!(matches!(answers(&[unsure(), away()]).await, (Err(Error::Unsure(_)), 4)));
    }
}

//! What chores have in common that look for something again and again.

use std::error::Error;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Looks until `stop`, each time as long after the last as that one said, a tenth more or less, so
/// that nodes do not look together; `every` at first, and after a failure. A failure is told once,
/// with these words, until a look succeeds again.
pub(crate) async fn look_until<F, E>(
    stop: CancellationToken,
    every: Duration,
    words: &str,
    look: impl Fn() -> F,
) where
    F: Future<Output = Result<Duration, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut failing, mut pause) = (false, every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.9..=1.1))) => {}
        }
        let looked = look().await.map_err(Into::into);
        if let Err(error) = &looked
            && !failing
        {
            let error: &dyn Error = error.as_ref();
            tracing::warn!(error, "{words}; trying again");
        }
        failing = looked.is_err();
        pause = looked.unwrap_or(every);
    }
}

//! How long calls of the ledger take, how many fail, and how long connections are waited for: one
//! observation a call, whatever its batch.

use std::fmt;
use std::time::{Duration, Instant};

use ::metrics::{Counter, Histogram};

use super::Error;
use crate::telemetry::metrics::{DB_ACQUIRE, DB_ERRORS, DB_QUERY};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Recording jobs.
    Enqueue,
    /// Checking and stamping claims before they run.
    Stamp,
    /// Recording verdicts.
    Settle,
    /// What somebody looks at.
    Read,
    /// What operators do.
    Admin,
    /// What keeps broker and ledger in step, and clears up.
    Chore,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Enqueue, Self::Stamp, Self::Settle, Self::Read, Self::Admin, Self::Chore];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Stamp => "stamp",
            Self::Settle => "settle",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Chore => "chore",
        }
    }
}

/// The metrics of one database, looked up once.
pub(super) struct Meter {
    calls: [(Histogram, Counter); Class::ALL.len()],
    acquired: Histogram,
}

impl Meter {
    pub(super) fn new() -> Self {
        let calls = Class::ALL.map(|class| {
            let labels = [class.as_str()];
            (DB_QUERY.spread(&labels), DB_ERRORS.count(&labels))
        });
        Self { calls, acquired: DB_ACQUIRE.spread(&[]) }
    }

    /// Makes a call, and takes its time.
    pub(super) async fn measure<T>(
        &self,
        class: Class,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let asked = Instant::now();
        let answer = call.await;
        if let Some((took, failed)) = self.calls.get(class as usize) {
            took.record(asked.elapsed());
            failed.increment(u64::from(answer.is_err()));
        }
        answer
    }

    /// Somebody waited so long for a connection.
    pub(super) fn waited(&self, span: Duration) {
        self.acquired.record(span);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

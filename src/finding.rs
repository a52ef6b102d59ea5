//! What was found out about a store: whether it is as it should be, and what to do if it is not.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, at a price that somebody should know.
    Warn,
    /// Does not work, or will not when it matters.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as in `redis eviction`.
    pub check: &'static str,
    /// How bad it is.
    pub status: Status,
    /// What was found, and what it means.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Whether no role can work with it, so that it had better not start.
    #[serde(skip)]
    pub unfit: bool,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, detail: detail.into(), advice: None, unfit: false }
    }

    /// It works, at a price.
    pub fn warn(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { check, status: Status::Warn, detail: detail.into(), advice, unfit: false }
    }

    /// It does not work, or will not when it matters.
    pub fn fail(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { check, status: Status::Fail, detail: detail.into(), advice, unfit: false }
    }

    /// The same, of what no role can work with.
    #[must_use]
    pub fn unfit(mut self) -> Self {
        self.unfit = true;
        self
    }

    /// Writes it to the log, unless all is well.
    pub fn log(&self) {
        let (check, advice) = (self.check, self.advice.as_deref().unwrap_or_default());
        match self.status {
            Status::Ok => tracing::debug!(check, "{}", self.detail),
            Status::Warn => tracing::warn!(check, advice, "{}", self.detail),
            Status::Fail => tracing::error!(check, advice, "{}", self.detail),
        }
    }
}

/// How a clock that is `ahead_ms` milliseconds ahead of this machine's is to be judged. Leases and
/// due times are told by Redis' clock, retries and expiry by the machines'.
pub fn of_clock(check: &'static str, ahead_ms: i64) -> Finding {
    const TOLERATED_MS: u64 = 1_000;
    let ms = ahead_ms.unsigned_abs();
    if ms <= TOLERATED_MS {
        return Finding::ok(check, format!("{ms} ms off this machine's"));
    }
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let seconds = ms / 1_000;
    Finding::warn(
        check,
        format!("{seconds} s {side} this machine's: jobs start early or late by as much"),
        "let all machines keep time (chrony, systemd-timesyncd)",
    )
}

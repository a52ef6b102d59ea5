//! How a command ends: exit codes, and words that say what went wrong and what to do.

use std::fmt;
use std::process::ExitCode;

use postworks::config::ConfigErrors;

use crate::app;

/// How a command ended. The numbers are part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; also a server that was told to stop and drained.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// It cannot be done as things are, or another process holds the lock.
    Conflict = 4,
    /// A server cannot be reached.
    Unavailable = 69,
    /// Trying again may help.
    Retry = 75,
    /// The configuration or the tables are not right.
    Config = 78,
    /// Ended by a second interrupt.
    Interrupted = 130,
    /// Ended by a second request to terminate.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended otherwise than well.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, and why.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None }
    }

    /// The same failure, with what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message.replace('\n', "\n  "))?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {}", advice.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::new(Exit::Config, format!("the configuration is not right\n{errors}"))
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        let message = crate::api::chain(&error);
        match error {
            app::Error::Invalid(_) => Self::new(Exit::Usage, message),
            app::Error::NotFound(_) => Self::new(Exit::NotFound, message),
            app::Error::Conflict(_) => Self::new(Exit::Conflict, message),
            app::Error::Unavailable { .. } => Self::new(Exit::Unavailable, message)
                .advise("check DATABASE_URL and REDIS_URL with `postworks doctor`"),
            app::Error::Unsure(_) => Self::new(Exit::Unavailable, message)
                .advise("repeated with the same unique key, it is not done twice"),
            app::Error::Platform(_) => Self::new(Exit::Unavailable, message),
            app::Error::Forbidden(_) => Self::new(Exit::Failed, message),
            app::Error::NotSetUp(_) => Self::new(Exit::Config, message),
            app::Error::Broken(_) => Self::new(Exit::Failed, message),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

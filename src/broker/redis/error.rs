//! Sorts what Redis and its client answer into what a caller can do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::broker::Error;

/// Codes that mean "later": full, busy with a script, its disk failing, its replicas away.
const LATER: [&str; 4] = ["OOM", "BUSY", "MISCONF", "NOREPLICAS"];

/// Codes that mean "not you".
const NOT_YOU: [&str; 4] = ["NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO"];

/// Sorts an error.
pub(super) fn classify(error: RedisError) -> Error {
    match sort(&error) {
        Sort::Unavailable => Error::Unavailable(Box::new(error)),
        Sort::Refused => Error::Refused(Box::new(error)),
        Sort::Protocol => Error::Protocol(error.to_string()),
    }
}

/// Whether a connection that answered so must be replaced.
///
/// A late answer counts: behind it the connection may be dead. So does a server that cannot take
/// writes: after a failover the name leads to another one.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
        || error.code() == Some("NOAUTH")
}

/// Whether a key holds what none of ours ever holds.
pub(super) fn is_wrong_type(error: &Error) -> bool {
    matches!(error, Error::Protocol(words) if words.contains("WRONGTYPE"))
}

/// Whether the script is unknown to the server, as after SCRIPT FLUSH or a restart.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Unavailable,
    Refused,
    Protocol,
}

fn sort(error: &RedisError) -> Sort {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => Sort::Unavailable,
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::NoScript) => Sort::Refused,
        _ => sort_by_words(error.code().unwrap_or_default(), error.detail().unwrap_or_default()),
    }
}

fn sort_by_words(code: &str, detail: &str) -> Sort {
    if LATER.contains(&code) || detail.contains("max number of clients") {
        Sort::Unavailable
    } else if NOT_YOU.contains(&code)
        // What a script may not do comes as a plain error; so does a script to a Redis below 7.
        || detail.contains("can't run this command")
        || detail.contains("compiling script")
    {
        Sort::Refused
    } else {
        Sort::Protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_server_are_sorted() {
        for (code, detail, sorted) in [
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Sort::Unavailable),
            ("BUSY", "Redis is busy running a script.", Sort::Unavailable),
            ("ERR", "max number of clients reached", Sort::Unavailable),
            ("NOAUTH", "Authentication required.", Sort::Refused),
            ("WRONGPASS", "invalid username-password pair", Sort::Refused),
            ("WRONGTYPE", "Operation against a key", Sort::Protocol),
            ("ERR", "unknown command", Sort::Protocol),
        ] {
            assert_eq!(sort_by_words(code, detail), sorted, "{code} {detail}");
        }
    }

    #[test]
    fn a_lost_connection_is_an_outage_and_is_replaced() {
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(ends_connection(&lost));
        let late = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert!(ends_connection(&late));
        assert!(matches!(classify(late), Error::Unavailable(_)));
    }
}

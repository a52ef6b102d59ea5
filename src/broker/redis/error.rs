//! Sorts what Redis and its client answer into what a caller can do about it, and says what a
//! person can do about a refusal.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::broker::Error;

/// Codes that mean "later": full, busy with a script, its disk failing, its replicas away, turned
/// into a replica while we waited.
const LATER: [&str; 5] = ["OOM", "BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"];

/// Words that mean the same, of errors without a code of their own.
const LATER_WORDS: [&str; 1] = ["max number of clients"];

/// Codes that mean "not you".
const NOT_YOU: [&str; 4] = ["NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO"];

/// Words that mean the same, of errors without a code of their own: a password where none is set,
/// a database that is not there, what a user may not do within a script, a script that only a
/// later Redis understands, and a server that is no node of a Cluster.
const NOT_YOU_WORDS: [&str; 6] = [
    "without any password configured",
    "DB index is out of range",
    "SELECT is not allowed",
    "can't run this command",
    "compiling script",
    "cluster support disabled",
];

/// Sorts an error.
pub(super) fn classify(error: RedisError) -> Error {
    match sort(&error) {
        Sort::Unavailable => Error::Unavailable(Box::new(error)),
        Sort::Refused => Error::Refused(Box::new(Refusal(error))),
        Sort::Protocol => Error::Protocol(error.to_string()),
    }
}

/// Whether a person must act.
pub(super) fn refused(error: &RedisError) -> bool {
    sort(error) == Sort::Refused
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
        || matches!(error.code(), Some("NOAUTH" | "UNBLOCKED"))
}

/// Whether the server does not serve, whatever it is asked.
pub(super) fn is_away(error: &RedisError) -> bool {
    let later = [
        ServerErrorKind::BusyLoading,
        ServerErrorKind::ClusterDown,
        ServerErrorKind::MasterDown,
        ServerErrorKind::ReadOnly,
    ];
    error.is_io_error() || later.iter().any(|kind| error.kind() == ErrorKind::Server(*kind))
}

/// Whether a key holds what none of ours ever holds.
pub(super) fn is_wrong_type(error: &Error) -> bool {
    matches!(error, Error::Protocol(words) if words.contains("WRONGTYPE"))
}

/// Whether the server is a node of a Cluster that expects to be addressed as one.
fn is_elsewhere(error: &RedisError) -> bool {
    let kinds = [ServerErrorKind::Moved, ServerErrorKind::Ask, ServerErrorKind::CrossSlot];
    kinds.iter().any(|kind| error.kind() == ErrorKind::Server(*kind))
}

/// Whether the script is unknown to the server, as after SCRIPT FLUSH or a restart.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// What the server refused, and what to do about it.
struct Refusal(RedisError);

impl Refusal {
    fn advice(&self) -> String {
        let words = self.0.to_string();
        let says = |part: &str| words.contains(part);
        if self.0.kind() == ErrorKind::AuthenticationFailed {
            "sentinels have a password of their own: ?sentinel_password=… at the end of REDIS_URL"
                .to_owned()
        } else if says("NOAUTH") {
            "it asks for a password: REDIS_URL=redis://:PASSWORD@host:port".to_owned()
        } else if says("WRONGPASS") {
            "check the user and the password in REDIS_URL".to_owned()
        } else if says(NOT_YOU_WORDS[0]) {
            "it has no password set: set one there, or take it out of REDIS_URL".to_owned()
        } else if says(NOT_YOU_WORDS[1]) || says(NOT_YOU_WORDS[2]) {
            "check the number of the database at the end of REDIS_URL".to_owned()
        } else if is_elsewhere(&self.0) {
            "it is a node of a Cluster: REDIS_URL=redis+cluster://host:port,host:port".to_owned()
        } else if says(NOT_YOU_WORDS[5]) {
            "it is no node of a Cluster: REDIS_URL=redis://host:port".to_owned()
        } else if says("compiling script") {
            "Redis 7.0 or later is needed".to_owned()
        } else if let Some(command) = lacking(&words) {
            format!("allow it: ACL SETUSER <user> +{command}; config/redis.conf has the whole rule")
        } else if says("keys") || says("a key") {
            "allow the prefix: ACL SETUSER <user> ~PREFIX:*; config/redis.conf has the whole rule"
                .to_owned()
        } else {
            "`postworks doctor` names what its user lacks; config/redis.conf has the whole rule"
                .to_owned()
        }
    }
}

/// The command in "… has no permissions to run the 'client|list' command".
fn lacking(words: &str) -> Option<&str> {
    let (_, after) = words.split_once("permissions to run the '")?;
    after.split_once('\'').map(|(command, _)| command)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.0, self.advice())
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Unavailable,
    Refused,
    Protocol,
}

fn sort(error: &RedisError) -> Sort {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => Sort::Unavailable,
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::Server(ServerErrorKind::NoPerm) => Sort::Refused,
        _ if is_elsewhere(error) => Sort::Refused,
        _ => sort_by_words(error.code().unwrap_or_default(), error.detail().unwrap_or_default()),
    }
}

fn sort_by_words(code: &str, detail: &str) -> Sort {
    let says = |words: &[&str]| words.iter().any(|words| detail.contains(words));
    if LATER.contains(&code) || says(&LATER_WORDS) {
        Sort::Unavailable
    } else if NOT_YOU.contains(&code) || says(&NOT_YOU_WORDS) {
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
            ("UNBLOCKED", "force unblock from blocking operation", Sort::Unavailable),
            ("ERR", "max number of clients reached", Sort::Unavailable),
            ("NOAUTH", "Authentication required.", Sort::Refused),
            ("WRONGPASS", "invalid username-password pair", Sort::Refused),
            ("ERR", "DB index is out of range", Sort::Refused),
            ("ERR", "This instance has cluster support disabled", Sort::Refused),
            ("WRONGTYPE", "Operation against a key", Sort::Protocol),
            ("ERR", "unknown command", Sort::Protocol),
        ] {
            assert_eq!(sort_by_words(code, detail), sorted, "{code} {detail}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let no_perm = ErrorKind::Server(ServerErrorKind::NoPerm);
        for (words, advice) in [
            ("this user has no permissions to run the 'client|list' command", "+client|list"),
            ("this user has no permissions to access one of the keys", "~PREFIX:*"),
            ("The user executing the script can't run this command", "postworks doctor"),
            ("NOAUTH Authentication required.", "redis://:PASSWORD@"),
            ("WRONGPASS invalid username-password pair", "check the user and the password"),
        ] {
            let error = RedisError::from((no_perm, "refused", words.to_owned()));
            let told = Refusal(error).to_string();
            assert!(told.contains(words) && told.contains(advice), "{told}");
        }
    }

    #[test]
    fn the_wrong_kind_of_address_is_answered_with_the_right_one() {
        let moved = (ErrorKind::Server(ServerErrorKind::Moved), "moved", "1 host:7000".to_owned());
        let single =
            (ErrorKind::Client, "ERR", "This instance has cluster support disabled".to_owned());
        for (error, form) in [(moved, "=redis+cluster://host"), (single, "=redis://host")] {
            let told = Refusal(RedisError::from(error)).to_string();
            assert!(told.contains(form), "{told}");
        }
        let moved = RedisError::from((ErrorKind::Server(ServerErrorKind::CrossSlot), "slots"));
        assert!(matches!(classify(moved), Error::Refused(_)));
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

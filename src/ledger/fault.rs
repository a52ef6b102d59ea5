//! What can go wrong, and how the databases' errors are sorted: by what the caller can do about them.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::UnfitParent;

/// What went wrong between us and the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, is full or too busy. Trying later helps.
    #[error("the ledger is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The answer to a commit got lost: the change was made or not. Repeating the call with the
    /// same ids finds out and is harmless.
    #[error("the ledger's answer got lost; what was asked may have been done")]
    Unsure(#[source] sqlx::Error),
    /// The database refuses us: wrong password, missing permission.
    #[error("the ledger refuses us")]
    Refused(#[source] sqlx::Error),
    /// The tables are missing or of another version.
    #[error("the ledger's tables are not those of this program: run `postworks migrate` ({0})")]
    Migrations(String),
    /// The database's address is none. The text never holds the address itself, which may hold
    /// a password.
    #[error("not the address of a database: {0}")]
    Url(String),
    /// Another process has the embedded ledger open.
    #[error("another process has the ledger {0} open")]
    Locked(String),
    /// The database answered something that makes no sense; trying again does not help.
    #[error("the ledger answered nonsense")]
    Protocol(#[source] sqlx::Error),
    /// A job cannot wait for what it names: nothing was recorded.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Parents(Vec<UnfitParent>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => Self::Refused(error),
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                Self::Unavailable(error)
            }
            E::Configuration(_) => Self::Url(error.to_string()),
            E::ColumnNotFound(_) => Self::Migrations(error.to_string()),
            E::Database(database) => match sort(database.as_ref()) {
                Sort::Unavailable => Self::Unavailable(error),
                Sort::Refused => Self::Refused(error),
                Sort::Migrations => Self::Migrations(database.message().to_owned()),
                Sort::Protocol => Self::Protocol(error),
            },
            _ => Self::Protocol(error),
        }
    }
}

impl Error {
    /// The error of a commit. Unless the server itself said that it rolled back, nobody knows.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        let rolled_back = |error: &sqlx::Error| {
            let code = error.as_database_error().and_then(DatabaseError::code);
            code.is_some_and(|code| code.starts_with("40"))
        };
        match Self::from(error) {
            Self::Unavailable(error) if !rolled_back(&error) => Self::Unsure(error),
            other => other,
        }
    }

    /// The error of a statement that is a transaction of its own. PostgreSQL has undone what it answers
    /// with ERROR; when it ends the session (FATAL) or says nothing, nobody knows.
    pub(super) fn of_lone_statement(error: sqlx::Error) -> Self {
        let undone = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
            .is_some_and(|error| error.severity() == PgSeverity::Error);
        if undone { error.into() } else { Self::of_commit(error) }
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Migrations(other.to_string()),
        }
    }
}

enum Sort {
    Unavailable,
    Refused,
    Migrations,
    Protocol,
}

fn sort(error: &dyn DatabaseError) -> Sort {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return sort_postgres(&code);
    }
    sort_sqlite(code.parse().unwrap_or(0), error.message())
}

/// By SQLSTATE; its first two characters are the class.
fn sort_postgres(code: &str) -> Sort {
    match code {
        // Undefined table or column, wrong type of a column, missing schema.
        "42P01" | "42703" | "42804" | "3F000" => Sort::Migrations,
        // Insufficient privilege, and a database that does not exist.
        "42501" | "3D000" => Sort::Refused,
        // Read-only transaction (a standby), and sessions ended for being idle in a transaction.
        "25006" | "25P03" => Sort::Unavailable,
        // Lock not available (also lock_timeout), object in use.
        "55P03" | "55006" => Sort::Unavailable,
        _ => match code.get(..2) {
            // Connection, rollback (serialization, deadlock), resources (disk full, too many
            // connections), operator (shutdown, cancelled by statement_timeout), system (I/O).
            Some("08" | "40" | "53" | "57" | "58") => Sort::Unavailable,
            // Authorisation.
            Some("28") => Sort::Refused,
            _ => Sort::Protocol,
        },
    }
}

/// By result code; the low byte is the primary one.
fn sort_sqlite(code: i32, message: &str) -> Sort {
    match code & 0xff {
        // BUSY, LOCKED, NOMEM, IOERR, FULL.
        5 | 6 | 7 | 10 | 13 => Sort::Unavailable,
        // PERM, READONLY, CANTOPEN, AUTH.
        3 | 8 | 14 | 23 => Sort::Refused,
        // ERROR says in words only that a table or column is missing.
        1 if message.contains("no such") || message.contains("has no column") => Sort::Migrations,
        _ => Sort::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in ["08006", "40001", "40P01", "53100", "53300", "57P01", "55P03", "25006"] {
            assert!(matches!(sort_postgres(code), Sort::Unavailable), "{code}");
        }
        for code in ["28P01", "28000", "42501"] {
            assert!(matches!(sort_postgres(code), Sort::Refused), "{code}");
        }
        for code in ["42P01", "42703"] {
            assert!(matches!(sort_postgres(code), Sort::Migrations), "{code}");
        }
        for code in ["23505", "22021", "42601", ""] {
            assert!(matches!(sort_postgres(code), Sort::Protocol), "{code}");
        }
        assert!(matches!(sort_sqlite(517, "database is locked"), Sort::Unavailable));
        assert!(matches!(sort_sqlite(1, "no such table: jobs"), Sort::Migrations));
        assert!(matches!(sort_sqlite(1, "near \"SELEC\": syntax error"), Sort::Protocol));
    }
}

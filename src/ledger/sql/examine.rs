//! What is right and wrong with the database: for the log at start and for the doctor.

use sqlx::PgPool;

use crate::clock::{Clock as _, SystemClock};
use crate::finding::{Finding, of_clock};
use crate::ledger::{Db, Error};

/// The oldest version that the tests run on, as the server counts.
const VERSION_MIN: i64 = 150_000;
/// From this part of its connections on, in percent, a server counts as nearly full.
const NEARLY: i64 = 80;

/// Looks at what is below the tables.
pub(super) async fn examine(db: &Db) -> Result<Vec<Finding>, Error> {
    match db {
        Db::Postgres(pool) => {
            let facts = pool.watch(Facts::ask(pool.connections())).await?;
            Ok(of_postgres(&facts))
        }
        Db::Sqlite(_) => Ok(vec![Finding::ok("ledger", "a file of this process")]),
    }
}

/// What a PostgreSQL says about itself.
struct Facts {
    version: i64,
    is_standby: bool,
    connections: i64,
    connections_max: i64,
    pool_size: i64,
    ahead_ms: i64,
    /// The login, if it cannot see every tenant's rows, or not act for a tenant.
    misfit: Option<String>,
}

impl Facts {
    async fn ask(pool: &PgPool) -> Result<Self, Error> {
        const SQL: &str = "SELECT current_setting('server_version_num')::bigint, \
                 pg_is_in_recovery(), \
                 (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL), \
                 current_setting('max_connections')::bigint \
                     - current_setting('superuser_reserved_connections')::bigint, \
                 CASE WHEN coalesce(pg_has_role(to_regrole('postworks_tenant'), 'MEMBER') \
                     AND pg_has_role(to_regrole('postworks_engine'), 'USAGE'), false) \
                     THEN NULL ELSE current_user::text END, \
                 (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        // The first query may have to connect.
        let mut conn = pool.acquire().await?;
        let asked = SystemClock.now().as_millis();
        type Row = (i64, bool, i64, i64, Option<String>, i64);
        let (version, is_standby, connections, connections_max, misfit, theirs): Row =
            sqlx::query_as(SQL).fetch_one(&mut *conn).await?;
        let ours = i64::midpoint(asked, SystemClock.now().as_millis());
        let pool_size = i64::from(pool.options().get_max_connections());
        let ahead_ms = theirs - ours;
        Ok(Self { version, is_standby, connections, connections_max, pool_size, ahead_ms, misfit })
    }
}

fn of_postgres(facts: &Facts) -> Vec<Finding> {
    vec![
        of_version(facts.version),
        of_role(facts.is_standby),
        of_connections(facts),
        of_tenants(facts.misfit.as_deref()),
        of_clock("postgres clock", facts.ahead_ms),
    ]
}

fn of_version(version: i64) -> Finding {
    const CHECK: &str = "postgres version";
    let shown = format!("{}.{}", version / 10_000, version % 10_000);
    if version >= VERSION_MIN {
        return Finding::ok(CHECK, shown);
    }
    Finding::fail(
        CHECK,
        format!("this PostgreSQL is {shown}: nothing here was tested with it"),
        "PostgreSQL 15 or later is needed",
    )
}

fn of_role(is_standby: bool) -> Finding {
    const CHECK: &str = "postgres role";
    if !is_standby {
        return Finding::ok(CHECK, "primary");
    }
    Finding::fail(
        CHECK,
        "this PostgreSQL is a standby, which takes no writes: nothing can be enqueued",
        "let DATABASE_URL name the primary",
    )
}

fn of_connections(facts: &Facts) -> Finding {
    const CHECK: &str = "postgres connections";
    let Facts { connections, connections_max, pool_size, .. } = facts;
    let detail = format!("{connections} of {connections_max}; a process takes up to {pool_size}");
    if pool_size > connections_max || connections * 100 >= connections_max * NEARLY {
        return Finding::warn(
            CHECK,
            format!("{detail}: the next process may find none left"),
            "raise max_connections, or lower ledger.pool_size",
        );
    }
    Finding::ok(CHECK, detail)
}

fn of_tenants(misfit: Option<&str>) -> Finding {
    const CHECK: &str = "postgres tenants";
    let Some(login) = misfit else {
        return Finding::ok(CHECK, "their rows are kept apart");
    };
    Finding::fail(
        CHECK,
        format!("the login {login} is not in the roles postworks_tenant and postworks_engine"),
        format!(
            "run `postworks migrate`; if that was done, let an administrator run GRANT \
             postworks_tenant, postworks_engine TO \"{login}\""
        ),
    )
    .unfit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn each_fault_is_found_alone() {
        let good = || Facts {
            version: 150_018,
            is_standby: false,
            connections: 12,
            connections_max: 97,
            pool_size: 10,
            ahead_ms: 3,
            misfit: None,
        };
        let wrong = |facts: Facts| -> Vec<(&str, Status)> {
            let found = of_postgres(&facts).into_iter().filter(|f| f.status != Status::Ok);
            found.map(|f| (f.check, f.status)).collect()
        };
        assert_eq!(wrong(good()), []);
        let old = Facts { version: 140_011, ..good() };
        assert_eq!(wrong(old), [("postgres version", Status::Fail)]);
        let standby = Facts { is_standby: true, ..good() };
        assert_eq!(wrong(standby), [("postgres role", Status::Fail)]);
        for crowded in [Facts { connections: 90, ..good() }, Facts { pool_size: 98, ..good() }] {
            assert_eq!(wrong(crowded), [("postgres connections", Status::Warn)]);
        }
        let outside = Facts { misfit: Some("plain".to_owned()), ..good() };
        assert_eq!(wrong(outside), [("postgres tenants", Status::Fail)]);
        let early = Facts { ahead_ms: 61_000, ..good() };
        assert_eq!(wrong(early), [("postgres clock", Status::Warn)]);
    }
}

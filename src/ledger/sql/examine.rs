//! What is right and wrong with the database: for the log at start and for the doctor.

use sqlx::{PgPool, Row as _};

use crate::clock::{Clock as _, SystemClock};
use crate::finding::{Finding, of_clock};
use crate::ledger::{Db, Error};

/// The oldest version that the tests run on, as the server counts.
const VERSION_MIN: i64 = 150_000;
/// From this part of its connections on, in percent, a server counts as nearly full.
const NEARLY: i64 = 80;

/// Tables that every node reads and changes, of every part of the product.
const TABLES: &[&str] = &[
    "jobs",
    "attempts",
    "dead_letters",
    "generations",
    "connectors",
    "connector_tokens",
    "posts",
    "publications",
    "remote_posts",
    "sync_cursors",
    "remote_profiles",
    "post_metrics",
    "tenant_retention",
    "cleanup_progress",
    "audit",
    "redriven",
    "redrives",
    "queue_holds",
    "requests",
    "users",
    "api_keys",
    "sessions",
    "refresh_tokens",
    "tenants",
    "job_waits",
    "job_parents",
    "publication_sets",
];

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
    /// Settings that let a power cut take what was committed.
    careless: Option<String>,
    /// Tables that the login may not read or change.
    forbidden: Option<String>,
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
                 (SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_settings \
                     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') \
                     AND setting = 'off'), \
                 (SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class \
                     WHERE oid IN (SELECT to_regclass(t) FROM unnest($1) AS t) \
                     AND NOT (has_table_privilege(oid, 'SELECT') \
                         AND has_table_privilege(oid, 'INSERT') \
                         AND has_table_privilege(oid, 'UPDATE') \
                         AND has_table_privilege(oid, 'DELETE'))), \
                 (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        // The first query may have to connect.
        let mut conn = pool.acquire().await?;
        let asked = SystemClock.now().as_millis();
        let row = sqlx::query(SQL).bind(TABLES).fetch_one(&mut *conn).await?;
        let ours = i64::midpoint(asked, SystemClock.now().as_millis());
        let theirs: i64 = row.try_get(7)?;
        Ok(Self {
            version: row.try_get(0)?,
            is_standby: row.try_get(1)?,
            connections: row.try_get(2)?,
            connections_max: row.try_get(3)?,
            pool_size: i64::from(pool.options().get_max_connections()),
            misfit: row.try_get(4)?,
            careless: row.try_get(5)?,
            forbidden: row.try_get(6)?,
            ahead_ms: theirs - ours,
        })
    }
}

fn of_postgres(facts: &Facts) -> Vec<Finding> {
    vec![
        of_version(facts.version),
        of_role(facts.is_standby),
        of_connections(facts),
        of_durability(facts.careless.as_deref()),
        of_rights(facts.forbidden.as_deref()),
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

fn of_durability(careless: Option<&str>) -> Finding {
    const CHECK: &str = "postgres durability";
    let Some(settings) = careless else {
        return Finding::ok(CHECK, "what is committed is on the disk");
    };
    Finding::warn(
        CHECK,
        format!("{settings}: a power cut may take accepted jobs, or the whole database"),
        "switch them on in postgresql.conf, unless this is a test",
    )
}

fn of_rights(forbidden: Option<&str>) -> Finding {
    const CHECK: &str = "postgres rights";
    let Some(tables) = forbidden else {
        return Finding::ok(CHECK, "all that is needed");
    };
    Finding::fail(
        CHECK,
        format!("the login of DATABASE_URL may not read and change {tables}"),
        "let the tables' owner GRANT SELECT, INSERT, UPDATE, DELETE on them to it",
    )
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
            careless: None,
            forbidden: None,
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
        let careless = Facts { careless: Some("fsync=off".to_owned()), ..good() };
        assert_eq!(wrong(careless), [("postgres durability", Status::Warn)]);
        let barred = Facts { forbidden: Some("jobs".to_owned()), ..good() };
        assert_eq!(wrong(barred), [("postgres rights", Status::Fail)]);
        let outside = Facts { misfit: Some("plain".to_owned()), ..good() };
        assert_eq!(wrong(outside), [("postgres tenants", Status::Fail)]);
        let early = Facts { ahead_ms: 61_000, ..good() };
        assert_eq!(wrong(early), [("postgres clock", Status::Warn)]);
    }
}

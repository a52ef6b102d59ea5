//! More callers at once than connections.

use std::time::Duration;

use postworks::ledger::{self, Db, PostgresOptions};
use postworks::on_tx;
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use crate::loadtest::moment::Moment;
use crate::loadtest::profile::Failover;
use crate::loadtest::scenarios::Ground;
use crate::loadtest::scenarios::draft::{Draft, count, figure};
use crate::loadtest::system::System;
use crate::loadtest::tally::Times;

/// Connections that others need meanwhile: workers, and people.
const SPARE: u32 = 70;
const TITLE: &str = "Pool exhausted";

/// Lets each caller hold a connection for a while, all at the same time.
pub(super) async fn exhaust(
    ground: &Ground<'_>,
    part: &Failover,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let allowed = ground.stores.room().await?;
    if part.pool_connections + SPARE > allowed {
        let why = format!(
            "More callers than connections: not measured. The server has room for {allowed} \
             connections; {} and {SPARE} for others are needed.",
            part.pool_connections
        );
        draft.cannot_measure(&[TITLE], why);
        return Ok(());
    }
    let options =
        PostgresOptions { connections_max: part.pool_connections, ..PostgresOptions::default() };
    let db = Db::connect_postgres(system.place.database.expose_secret(), &options)?;
    let from = Moment::now();
    let mut callers = JoinSet::new();
    for _ in 0..part.pool_callers {
        callers.spawn(hold(db.clone(), part.pool_hold));
    }
    let (mut times, mut refused) = (Times::default(), 0);
    while let Some(waited) = callers.join_next().await {
        match waited? {
            Ok(waited) => times.record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX)),
            Err(_) => refused += 1,
        }
    }
    let over = Moment::now();
    draft.phase("pool exhausted", from);
    // That nobody is left waiting shows in the next call.
    let next = hold(db.clone(), Duration::ZERO).await;
    let mut rows = vec![
        count("callers", u64::from(part.pool_callers), ""),
        count("connections", u64::from(part.pool_connections), ""),
        figure("each holds one for", part.pool_hold.as_secs_f64() * 1_000.0, "ms"),
        count("callers served", times.len(), "").better_more(),
        count("callers refused", refused, "").better_less(),
        figure("waited for a connection, p50", times.ms(0.5), "ms").better_less(),
        figure("waited for a connection, at most", times.ms(1.0), "ms").better_less(),
        figure("all served within", over.since(from).as_secs_f64(), "s").better_less(),
    ];
    if let Ok(wait) = next {
        let waits = figure("the next caller waits", wait.as_secs_f64() * 1_000.0, "ms");
        rows.push(waits.better_less());
    }
    draft.table(TITLE, rows);
    db.close().await;
    Ok(())
}

/// Holds a connection for so long; answers how long it waited for it.
async fn hold(db: Db, span: Duration) -> Result<Duration, ledger::Error> {
    const SQL: &str = "SELECT 1 FROM (SELECT pg_sleep($1)) AS held";
    let asked = Moment::now();
    let mut tx = db.begin().await?;
    let waited = Moment::now().since(asked);
    on_tx!(&mut tx, conn => sqlx::query(SQL).bind(span.as_secs_f64()).execute(conn).await.map(drop))?;
    tx.commit().await?;
    Ok(waited)
}

//! `database`: statements on the real tables, as the product's own sessions make them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks::ledger::{Db, PostgresOptions};
use postworks::{on_db, on_tx};
use postworks_workers::store::Store;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::draft::{Draft, count};
use super::{Ground, ledger};
use crate::loadtest::mix::Mix;
use crate::loadtest::moment::Moment;
use crate::loadtest::openloop::{self, Due};
use crate::loadtest::profile::Statements;
use crate::loadtest::schedule::Arrivals;
use crate::loadtest::system::System;
use crate::loadtest::tally::Tally;

/// Rows that are there from the start.
const ROWS: u32 = 5_000;
/// Rows of a page.
const PAGE: i64 = 20;
/// How long a statement waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const GROUP: &str = "query";
const ALL: &str = "all statements";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Select,
    Insert,
    Update,
    Delete,
}

const MIX: Mix<Statement> = Mix::of(&[
    (Statement::Select, 40),
    (Statement::Insert, 35),
    (Statement::Update, 20),
    (Statement::Delete, 5),
]);

impl Statement {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The table of jobs, and which rows are in it.
struct Rows {
    db: Db,
    store: Store,
    known: Mutex<Known>,
}

struct Known {
    open: VecDeque<Uuid>,
    ended: VecDeque<Uuid>,
    dice: StdRng,
}

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &Statements,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let shape = part.shape();
    draft.about(format!(
        "{} statements a second on the table of jobs (SELECT 40 %, INSERT 35 %, UPDATE 20 %, \
         DELETE 5 %), on {} connections; each write is a transaction of its own.",
        shape.rate, part.connections
    ));
    let options = PostgresOptions {
        connections_max: part.connections,
        reserved: 0,
        acquire_timeout: PATIENCE,
    };
    let db = Db::connect_postgres(system.place.database.expose_secret(), &options)?;
    let rows = Arc::new(Rows::fill(db.clone(), &system.node.store, ground.seed).await?);
    let mut bar = ground.screen.bar("database", shape.span());
    let begun = draft.begin();
    draft.phases_of(&shape);
    let tally = Tally::new(begun);
    bar.follow(&tally);
    let line = openloop::start(Arrivals::new(shape, ground.seed), begun, ground.stop.clone())?;
    let (counting, table) = (tally.clone(), Arc::clone(&rows));
    let callers = vec![(); part.connections as usize];
    openloop::call(&line, callers, move |(), due| {
        let (tally, rows) = (counting.clone(), Arc::clone(&table));
        async move { rows.state(due, &tally).await }
    })
    .await;
    drop(bar);
    draft.timings(tally.timings());
    draft.series(tally.series("statement"));
    let (asked, done, failed) = tally.sums();
    let size = ledger::Size::of(&db).await?;
    draft.table(
        "Statements",
        vec![
            count("asked", asked, ""),
            count("done", done, ""),
            count("failed", failed, ""),
            count("rows at the end", size.jobs, "rows"),
            count("size of the table of jobs, indexes included", size.bytes, "bytes"),
        ],
    );
    db.close().await;
    Ok(())
}

impl Rows {
    async fn fill(db: Db, store: &Store, seed: u64) -> anyhow::Result<Self> {
        let mut open = VecDeque::new();
        let mut tx = db.begin().await?;
        for _ in 0..ROWS {
            let id = store.new_id();
            insert(&mut tx, id).await?;
            open.push_back(id);
        }
        tx.commit().await?;
        let known = Known { open, ended: VecDeque::new(), dice: StdRng::seed_from_u64(seed) };
        Ok(Self { db, store: store.clone(), known: Mutex::new(known) })
    }

    /// Makes the statement that is due.
    async fn state(&self, due: Due, tally: &Tally) {
        tally.asked(due.at);
        let statement = self.lock().draw();
        let made = self.make(statement).await;
        let names = (statement.as_str(), ALL);
        tally.done(GROUP, names, due.at, Moment::now(), made.is_ok());
    }

    async fn make(&self, statement: Statement) -> Result<(), postworks::ledger::Error> {
        match statement {
            Statement::Select => self.select().await,
            Statement::Insert => {
                let id = self.store.new_id();
                let mut tx = self.db.begin().await?;
                insert(&mut tx, id).await?;
                tx.commit().await?;
                self.lock().open.push_back(id);
                Ok(())
            }
            Statement::Update => {
                const SQL: &str = "UPDATE jobs SET state = 'completed', settled = true, \
                     token = 1, finished_at = $2 WHERE id = $1";
                let Some(id) = self.lock().open.pop_front() else { return Ok(()) };
                let mut tx = self.db.begin().await?;
                let now = SystemClock.now().as_millis();
                on_tx!(&mut tx, conn => sqlx::query(SQL).bind(id).bind(now).execute(conn).await
                    .map(drop))?;
                tx.commit().await?;
                self.lock().ended.push_back(id);
                Ok(())
            }
            Statement::Delete => {
                const SQL: &str = "DELETE FROM jobs WHERE id = $1";
                let Some(id) = self.lock().ended.pop_front() else { return Ok(()) };
                let mut tx = self.db.begin().await?;
                on_tx!(&mut tx, conn => sqlx::query(SQL).bind(id).execute(conn).await.map(drop))?;
                Ok(tx.commit().await?)
            }
        }
    }

    /// One job, or a page of them, as the API looks at them.
    async fn select(&self) -> Result<(), postworks::ledger::Error> {
        const ONE: &str = "SELECT args FROM jobs WHERE id = $1";
        const SOME: &str = "SELECT args FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let (id, one) = self.lock().any();
        let found: Vec<String> = on_db!(&self.db, pool => {
            let query = sqlx::query_scalar(if one { ONE } else { SOME }).bind(id);
            let query = if one { query } else { query.bind(PAGE) };
            query.fetch_all(pool).await
        })?;
        debug_assert!(found.len() <= 20);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn draw(&mut self) -> Statement {
        let drawn = MIX.draw(&mut self.dice).unwrap_or(Statement::Select);
        // There is nothing to delete before the first updates.
        if drawn == Statement::Delete && self.ended.is_empty() { Statement::Update } else { drawn }
    }

    /// A row, and whether it is to be looked at alone.
    fn any(&mut self) -> (Uuid, bool) {
        let at = self.dice.random_range(0..self.open.len().max(1));
        (self.open.get(at).copied().unwrap_or(Uuid::max()), self.dice.random_bool(0.8))
    }
}

async fn insert(tx: &mut postworks::ledger::Tx, id: Uuid) -> Result<(), postworks::ledger::Error> {
    const SQL: &str = "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, \
         max_attempts, priority_s, run_at, created_at, expires_at) \
         VALUES ($1, 'connector_sync', 1, 'connector_sync.sandbox', $2, 0, 8, 0, $3, $3, $4)";
    const DAY_MS: i64 = 86_400_000;
    let args = format!(r#"{{"connector_id":"{id}"}}"#);
    let now = SystemClock.now().as_millis();
    on_tx!(tx, conn => sqlx::query(SQL).bind(id).bind(args).bind(now).bind(now + DAY_MS)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(())
}

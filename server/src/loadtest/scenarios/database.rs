//! `database`: statements on the real tables, as the product's own sessions make them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use postworks::clock::{Clock as _, SystemClock};
use postworks::ledger::{Db, PostgresOptions, Tx};
use postworks::{on_db, on_tx};
use postworks_workers::store::Store;
use rand::RngExt as _;
use rand::rngs::StdRng;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::calls::{Called, Calls, drive};
use super::draft::{Draft, count};
use super::{Ground, ledger};
use crate::loadtest::mix::{Mix, dice};
use crate::loadtest::openloop::Due;
use crate::loadtest::profile::Statements;
use crate::loadtest::system::System;
use crate::loadtest::tally::Group;

/// Rows that are there from the start: of jobs that wait, and of jobs that have ended, which may be
/// deleted.
const ROWS: usize = 5_000;
const ENDED: usize = 500;
/// Rows of a page.
const PAGE: u8 = 20;
/// How long a statement waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const GROUP: Group = Group { name: "query", sum: Some("all statements") };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Select,
    Insert,
    Update,
    Delete,
}

const MIX: Mix<(Statement, &str)> = Mix::of(&[
    ((Statement::Select, "SELECT"), 40),
    ((Statement::Insert, "INSERT"), 35),
    ((Statement::Update, "UPDATE"), 20),
    ((Statement::Delete, "DELETE"), 5),
]);

/// The table of jobs, and which rows are in it.
struct Rows {
    db: Db,
    store: Store,
    known: Mutex<Known>,
    seed: u64,
}

struct Known {
    open: VecDeque<Uuid>,
    ended: VecDeque<Uuid>,
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
    let filling = Rows::fill(db.clone(), &system.node.store, ground.seed);
    let rows = Arc::new(ground.unless_stopped(filling).await?);
    let calls = Calls { shape, group: GROUP, one: "statement" };
    let callers = vec![rows; part.connections as usize];
    let sums = drive(ground, draft, calls, callers, Rows::state).await?;
    let size = ledger::Size::of(&db).await?;
    draft.table(
        "Statements",
        vec![
            count("asked", sums.asked, ""),
            count("done", sums.done, ""),
            count("failed", sums.failed, "").better_less(),
            count("rows at the end", size.jobs, "rows"),
            count("size of the table of jobs, indexes included", size.bytes, "bytes").better_less(),
        ],
    );
    db.close().await;
    Ok(())
}

impl Rows {
    async fn fill(db: Db, store: &Store, seed: u64) -> anyhow::Result<Self> {
        let ids = |count| std::iter::repeat_with(|| store.new_id()).take(count).collect();
        let known = Known { ended: ids(ENDED), open: ids(ROWS) };
        let mut tx = db.begin().await?;
        for id in known.ended.iter().chain(&known.open) {
            insert(&mut tx, *id).await?;
        }
        for id in &known.ended {
            end(&mut tx, *id).await?;
        }
        tx.commit().await?;
        Ok(Self { db, store: store.clone(), known: Mutex::new(known), seed })
    }

    /// Makes the statement that is due.
    async fn state(self: Arc<Self>, due: Due) -> Called<Arc<Self>> {
        let mut dice = dice(self.seed, due.n);
        let (statement, name) = MIX.draw(&mut dice);
        let well = self.make(statement, &mut dice).await.is_ok();
        Called { caller: self, name, well }
    }

    async fn make(&self, statement: Statement, dice: &mut StdRng) -> anyhow::Result<()> {
        match statement {
            Statement::Select => self.select(dice).await?,
            Statement::Insert => {
                let id = self.store.new_id();
                let mut tx = self.db.begin().await?;
                insert(&mut tx, id).await?;
                tx.commit().await?;
                self.lock().open.push_back(id);
            }
            Statement::Update => {
                let id = self.lock().open.pop_front().context("no row to update is left")?;
                let mut tx = self.db.begin().await?;
                end(&mut tx, id).await?;
                tx.commit().await?;
                self.lock().ended.push_back(id);
            }
            Statement::Delete => {
                const SQL: &str = "DELETE FROM jobs WHERE id = $1";
                let id = self.lock().ended.pop_front().context("no row to delete is left")?;
                let mut tx = self.db.begin().await?;
                on_tx!(&mut tx, conn => sqlx::query(SQL).bind(id).execute(conn).await.map(drop))?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// One job, or a page of them, as the API looks at them.
    async fn select(&self, dice: &mut StdRng) -> anyhow::Result<()> {
        const ONE: &str = "SELECT args FROM jobs WHERE id = $1";
        const SOME: &str = "SELECT args FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let (at, one) = (dice.random::<u32>() as usize, dice.random_bool(0.8));
        let id = self.lock().any(at);
        let found: Vec<String> = on_db!(&self.db, pool => {
            let query = sqlx::query_scalar(if one { ONE } else { SOME }).bind(id);
            let query = if one { query } else { query.bind(i64::from(PAGE)) };
            query.fetch_all(pool).await
        })?;
        ensure!(found.len() <= usize::from(PAGE), "a page has {} rows", found.len());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A row that has not ended.
    fn any(&self, at: usize) -> Uuid {
        self.open.get(at % self.open.len().max(1)).copied().unwrap_or(Uuid::max())
    }
}

/// A job has run.
async fn end(tx: &mut Tx, id: Uuid) -> Result<(), postworks::ledger::Error> {
    const SQL: &str = "UPDATE jobs SET state = 'completed', settled = true, \
         token = 1, finished_at = $2 WHERE id = $1";
    let now = SystemClock.now().as_millis();
    on_tx!(tx, conn => sqlx::query(SQL).bind(id).bind(now).execute(conn).await.map(drop))?;
    Ok(())
}

async fn insert(tx: &mut Tx, id: Uuid) -> Result<(), postworks::ledger::Error> {
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

//! A thousand accounts whose tokens end together, with real processes: when they are renewed on
//! demand, as most products do it, and when they are renewed ahead.
//!
//! `make observe-renewals` runs it and prints a table from the platform's journal; it fails if a post is
//! lost or there twice, or if a token that is renewed ahead ends under a job.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench talks, and fails by panicking"
)]

#[path = "../../tests/it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod fleet;
mod seen;

use std::time::Duration;

use clap::Parser;
use fleet::{Fleet, LONG, Process, Publication};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use seen::{Seen, refreshes_on_demand, refused_posts};

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Most accounts in one request to publish.
const TOGETHER: usize = 100;

/// Lets the tokens of many accounts end together, and shows when they are renewed.
#[derive(Debug, Parser)]
struct Args {
    /// How many accounts, a multiple of 100
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    /// How long an access token lives, in seconds
    #[arg(long, default_value_t = 120)]
    token_ttl_s: u32,
    /// How often all accounts publish
    #[arg(long, default_value_t = 8)]
    rounds: u32,
    /// Between two rounds, in seconds
    #[arg(long, default_value_t = 30)]
    every_s: u64,
    /// Worker processes
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Only with this plan
    #[arg(long, value_enum)]
    plan: Option<Plan>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// When tokens are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Plan {
    /// By the first job that finds less than 30 seconds left.
    OnDemand,
    /// As planned, before a job needs it.
    Ahead,
}

/// What is due is forgotten as it is written, so the chore never finds any.
const FORGET_PLANS: &str = "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN NEW.refresh_due_at := NULL; RETURN NEW; END'; \
     CREATE TRIGGER forget BEFORE INSERT OR UPDATE ON connector_tokens \
     FOR EACH ROW EXECUTE FUNCTION forget()";

#[tokio::main]
async fn main() {
    let args = Args::parse();
    println!(
        "{} accounts, tokens of {} s, all publish every {} s; {} workers",
        args.accounts, args.token_ttl_s, args.every_s, args.workers
    );
    let mut all = Vec::new();
    let plans = [Plan::OnDemand, Plan::Ahead];
    for plan in plans.into_iter().filter(|plan| args.plan.is_none_or(|only| only == *plan)) {
        let seen = args.run(plan).await;
        println!("\n{plan:?}: refreshes in each second that had any, after the first tokens");
        println!("{}", seen.seconds());
        all.push((plan, seen));
    }
    println!("\n{}", seen::COLUMNS);
    for (plan, seen) in &all {
        println!("{:<10}{seen}", format!("{plan:?}"));
    }
}

impl Args {
    async fn run(&self, plan: Plan) -> Seen {
        let settings = [
            ("POSTWORKS__LEDGER__POOL_SIZE", "8"),
            ("POSTWORKS__LEDGER__ACQUIRE_TIMEOUT", "30s"),
            // All publish at once, and that is the point.
            ("POSTWORKS__ADMISSION__DEPTH", "0"),
            ("POSTWORKS__ADMISSION__OLDEST", ""),
            ("POSTWORKS__ADMISSION__POSTGRES_WAIT", ""),
            ("POSTWORKS_LOG", "warn"),
        ];
        let fleet = Fleet::start_with(&settings).await;
        if plan == Plan::OnDemand {
            let mut database =
                PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
            sqlx::raw_sql(FORGET_PLANS).execute(&mut database).await.unwrap();
        }
        let accounts = self.connect(&fleet).await;
        let mut workers = Vec::new();
        for _ in 0..self.workers {
            workers.push(fleet.worker(&["--concurrency", "20"]).await);
        }
        let mut rounds = Vec::new();
        let mut published = Vec::new();
        let mut due = Instant::now();
        for round in 0..self.rounds {
            tokio::time::sleep_until(due).await;
            due += Duration::from_secs(self.every_s);
            rounds.push(fleet::now_ms());
            published.push(publish(&fleet, round, &accounts).await);
        }
        let all: Vec<Publication> = published.concat();
        fleet.client.until_published(&all, LONG).await;
        self.judge(plan, &fleet, &workers, &published, rounds).await
    }

    async fn judge(
        &self,
        plan: Plan,
        fleet: &Fleet,
        workers: &[Process],
        published: &[Vec<Publication>],
        rounds: Vec<i64>,
    ) -> Seen {
        let journal = fleet.sandbox.journal();
        journal.must_have_each_once(&published.concat());
        let mut seen = Seen::of(&journal, published, &rounds);
        for worker in workers {
            seen.on_demand += refreshes_on_demand(worker).await;
            seen.refused += refused_posts(worker).await;
        }
        // Each account's first tokens were got by the job that came first.
        seen.on_demand -= self.accounts as u64;
        if plan == Plan::Ahead {
            assert_eq!((seen.on_demand, seen.refused), (0, 0), "a token ended under a job");
        }
        seen
    }

    async fn connect(&self, fleet: &Fleet) -> Vec<String> {
        let connect = |n: usize| async move {
            let handle = format!("account-{n}");
            let connector = json!({
                "platform": "sandbox",
                "base_url": fleet.sandbox.url(),
                "secret": fleet.sandbox.account_living(&handle, self.token_ttl_s).await,
                "identifier": handle,
            });
            let created = fleet.client.http.post("/api/connectors", &connector).await.expect(201);
            created["id"].as_str().expect("an id").to_owned()
        };
        stream::iter(0..self.accounts).map(connect).buffer_unordered(AT_ONCE).collect().await
    }
}

/// Publishes one text on every account.
async fn publish(fleet: &Fleet, round: u32, accounts: &[String]) -> Vec<Publication> {
    let words = format!("round {round}");
    let publish = |some| fleet.client.publish(&words, some);
    let accepted: Vec<Vec<Publication>> =
        stream::iter(accounts.chunks(TOGETHER)).map(publish).buffer_unordered(2).collect().await;
    accepted.concat()
}

//! The engine's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod broker;
mod chaos_proxy;
mod chores;
mod cluster_worker;
mod cron;
mod delayed;
mod families;
mod fragile;
mod ledger;
mod ledger_faults;
mod ledger_model;
mod life;
mod limits;
mod lost_memory;
mod metrics_page;
mod mishaps;
mod newer;
mod postgres;
mod schedules;
mod stories;
mod tidy;
mod trust;
mod unique;
mod window;

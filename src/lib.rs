//! Postworks runs the background jobs of a product that publishes to social platforms.
//!
//! This crate is the engine. It knows what a job is ([`job`]), keeps the record of every job
//! ([`ledger`]), hands jobs out ([`broker`]) and runs them ([`worker`]). It does not know any
//! platform: handlers and platform clients live in `postworks-workers`.
//!
//! `ARCHITECTURE.md` at the top of the repository tells how the parts work together.

pub mod broker;
pub mod chore;
pub mod client;
pub mod clock;
pub mod config;
pub mod finding;
pub mod job;
pub mod ledger;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod worker;

/// The README's Rust is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

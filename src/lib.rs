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
#[cfg(feature = "faults")]
pub mod faults;
pub mod finding;
pub mod gate;
pub mod job;
pub mod ledger;
pub mod telemetry;
#[cfg(feature = "servers")]
pub mod testing;
pub mod worker;

/// Marks a moment for the fault suite; nothing without the feature `faults`.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! failpoint {
    ($point:ident $(if $when:expr)?) => {};
}

/// Whether a deliberate bug is switched on: never without the feature `faults`.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! planted {
    ($plant:ident) => {
        false
    };
}

/// The README's Rust is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

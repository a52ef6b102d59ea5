//! What the jobs do: handlers, one for each kind; clients, one for each platform; and the product's
//! tables.
//!
//! The engine in `postworks` runs the handlers and decides what becomes of a failure. Here is what
//! it must not know: platforms, accounts, posts.

pub mod accounts;
pub mod built_in;
pub mod checkup;
pub mod disconnected;
mod due_jobs;
pub mod handlers;
pub mod health;
pub mod images;
pub mod keys;
mod looking;
pub mod metrics_page;
pub mod moved;
pub mod node;
pub mod platforms;
pub mod presence;
pub mod readings;
pub mod reconnected;
pub mod registry;
pub mod renewals;
pub mod role;
pub mod secrets;
mod served;
pub mod service;
pub mod signals;
pub mod store;
pub mod syncs;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

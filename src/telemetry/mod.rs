//! What operators see of the engine: the table of its metrics.
//!
//! The engine only counts; binaries install a recorder, write logs and serve pages
//! (`postworks_workers::telemetry`).

pub mod metrics;

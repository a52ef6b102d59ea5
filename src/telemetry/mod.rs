//! What operators see of the engine: the names of its metrics.
//!
//! The engine only counts; binaries install a recorder, write logs and serve pages
//! (`postworks_workers::telemetry`).

pub mod metrics;

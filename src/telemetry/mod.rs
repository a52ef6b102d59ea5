//! What operators see of the engine: the table of its metrics, and the spans of jobs.
//!
//! The engine only counts and opens spans; binaries install who takes them, write logs and serve
//! pages (`postworks_workers::telemetry`).

pub mod metrics;
pub mod traces;

//! Workers.

pub mod health;
pub mod platforms;
pub mod telemetry;

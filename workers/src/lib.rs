//! Workers.

pub mod health;
pub mod platforms;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

//! Workers.

pub mod platforms;
#[cfg(feature = "testing")]
pub mod testing;

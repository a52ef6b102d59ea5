//! Workers.

pub mod platforms;
pub mod secrets;

//! Runs jobs: claims them, carries them to their handlers, records what became of them.
//!
//! The parts, in the order a job meets them: `fetch` claims, `admit` looks, `backend` hands to
//! apalis, `stack` surrounds the handler, `judge` decides, `settle` records. Beside them `lease`
//! keeps what is held, `open` and `reassert` restore it after a broker lost its memory, and `inflight`
//! knows what it is.

mod admit;
mod backend;
mod context;
mod engine;
mod fetch;
mod inflight;
mod judge;
mod lease;
mod meter;
mod open;
mod pace;
mod reassert;
mod registry;
mod run;
mod settle;
mod stack;

pub use context::JobContext;
pub use engine::{Drained, Error, Options, Stop, Worker};
pub(crate) use judge::BROKER_HORIZON;
pub use registry::{Handler, Registry};

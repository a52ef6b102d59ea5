//! Runs jobs: claims them, carries them through the layers to their handlers, records what
//! became of them.

mod context;
mod registry;

pub use context::JobContext;
pub use registry::{Handler, Registry};

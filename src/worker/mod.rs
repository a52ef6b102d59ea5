//! Runs jobs: claims them, carries them to their handlers, records what became of them.
//!
//! The parts, in the order a job meets them: `fetch` claims, `admit` looks, with what `asker` got to
//! know of the ledger, `intake` hands on, `backend` hands to apalis, `stack` surrounds the handler, `judge` decides, `spacing` keeps
//! retries apart, `settle` records. Beside them `lease`
//! keeps what is held, `open` and `reassert` restore it after a broker lost its memory, `inflight`
//! knows what that is, `blocks` which accounts are to be left alone, `waits` which jobs must wait for
//! that or for a quota, `shares` how much of it each queue may have, and `effect` what a run leaves
//! behind. `quarantine` runs what may take the process down, `watchdog` notices handlers that let
//! nothing else run, `standstill` that nothing ran at all, `tempo` knows how long runs took lately, `welcome` brings back what
//! older workers did not know, and `calls` is how all of them ask for jobs that the broker lacks.

mod absolve;
mod admit;
mod asker;
mod backend;
mod blocks;
mod calls;
mod context;
mod effect;
mod ends;
mod engine;
mod family;
mod fetch;
mod inflight;
mod intake;
mod judge;
mod lanes;
mod lease;
mod listener;
mod meter;
mod open;
mod overdue;
mod pace;
mod places;
mod quarantine;
mod question;
mod reassert;
mod registry;
mod run;
mod schedule;
mod settle;
mod shares;
mod solitude;
mod spacing;
mod span;
mod stack;
mod standstill;
mod tempo;
mod terms;
mod waits;
mod watchdog;
mod welcome;

pub use blocks::Blocks;
pub use calls::Calls;
pub use context::{BreakerView, JobContext};
pub use effect::{Effect, EffectSlot};
pub use engine::{Drained, Error, Options, Stop, Worker};
pub use family::{Family, ParentEnd};
pub(crate) use judge::BROKER_HORIZON;
pub use registry::{Handler, Registry};
pub use solitude::Solitude;
pub use tempo::Tempo;
pub use watchdog::Pulse;

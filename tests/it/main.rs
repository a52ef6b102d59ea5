//! The engine's tests against real servers: one program, so that it is linked once.

mod broker;

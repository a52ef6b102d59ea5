//! chore.

//! Postworks.

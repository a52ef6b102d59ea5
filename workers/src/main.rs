//! Worker binary.
fn main() {}

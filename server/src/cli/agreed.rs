//! Asks a person before something that cannot be taken back.

use std::io::{BufRead as _, Write as _};

use super::failure::Failure;

/// Tells what is about to be done, and answers whether the person at the terminal agrees.
pub(super) fn agreed(plan: &str) -> Result<bool, Failure> {
    let mut err = std::io::stderr().lock();
    write!(err, "{plan}\nGo on? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

//! Who hears the interrupts of a terminal: it sends them to everybody in the foreground.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Who hears them of a private server and of whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupts {
    /// Both: whoever started it may end without a word to it.
    Heard,
    /// Whoever started it, who ends it when it is no longer needed.
    Kept,
}

impl Interrupts {
    /// Tells a program that is about to be started.
    pub(super) fn tell(self, command: &mut Command) {
        if self == Self::Kept {
            command.process_group(0);
        }
    }
}

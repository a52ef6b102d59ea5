//! The ceiling on memory: a test double that never forgets must still not eat the machine.

use axum::http::StatusCode;

use super::error::ApiError;

/// How much a sandbox keeps before it answers 507, unless told otherwise: about 750,000 short posts.
pub const MEMORY_LIMIT_BYTES: usize = 512 * 1024 * 1024;

/// What a row costs beside its own text: ids, times, index entries, tokens. Estimated from their
/// sizes and rounded up; the limit is a guard, not an account.
const ROW_BYTES: usize = 640;

/// What is left of the memory a sandbox may fill.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
}

impl Room {
    /// A sandbox's whole room.
    pub(super) fn of(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// Sets room aside for a row that carries `text_bytes` of the client's text.
    pub(super) fn take(&mut self, text_bytes: usize) -> Result<(), ApiError> {
        match self.left.checked_sub(ROW_BYTES + text_bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ApiError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "sandbox_full",
                "the sandbox keeps everything in memory and is full; start a new one",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ROW_BYTES, Room};

    #[test]
    fn a_full_sandbox_refuses_and_stays_usable_for_what_fits() {
        let mut room = Room { left: ROW_BYTES + 10 };
        assert!(room.take(11).is_err());
        assert!(room.take(10).is_ok());
        assert!(room.take(0).is_err());
    }
}

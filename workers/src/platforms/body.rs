//! An answer's body while it comes: no longer than it may be, and nowhere left behind.

use zeroize::Zeroizing;

/// Longest answer read, in bytes. A page of posts is below this on every platform but Facebook, where
/// it is unless a few of them are books: one of its posts may have 63,206 characters.
const BYTES_MAX: usize = 1024 * 1024;
/// Room made for a body whose length nobody said, in bytes: most answers fit.
const ROOM: usize = 4 * 1024;

/// The answer is longer than we read.
#[derive(Debug)]
pub(super) struct TooLong;

/// What has come of a body.
#[derive(Debug)]
pub(super) struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Makes room for a body of the length that the answer's head says, if it says one.
    pub(super) fn expecting(length: Option<u64>) -> Result<Self, TooLong> {
        let length = length.map_or(Ok(ROOM), usize::try_from).map_err(|_| TooLong)?;
        if length > BYTES_MAX {
            return Err(TooLong);
        }
        Ok(Self(Zeroizing::new(Vec::with_capacity(length))))
    }

    /// Adds what has come.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), TooLong> {
        let length = self.0.len() + chunk.len();
        if length > BYTES_MAX {
            return Err(TooLong);
        }
        if length > self.0.capacity() {
            // Left to itself, a vector that moves would leave the tokens behind where it was.
            let room = length.max(2 * self.0.capacity());
            let mut roomier = Zeroizing::new(Vec::with_capacity(room));
            roomier.extend_from_slice(&self.0);
            self.0 = roomier;
        }
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    /// The whole body.
    pub(super) fn whole(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
        assert!(Body::expecting(Some(BYTES_MAX as u64)).is_ok());
        assert!(Body::expecting(Some(BYTES_MAX as u64 + 1)).is_err());
        assert!(Body::expecting(Some(u64::MAX)).is_err());
        for length in [None, Some(0), Some(7)] {
            let mut body = Body::expecting(length).unwrap();
            let chunk = [7; 64 * 1024];
            for _ in 0..BYTES_MAX / chunk.len() {
                body.push(&chunk).unwrap();
            }
            assert!(body.push(&[7]).is_err());
            let whole = body.whole();
            assert!(whole.len() == BYTES_MAX && whole.iter().all(|byte| *byte == 7));
        }
    }
}

//! Traps: something happens when certain bytes come by.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::Way;

/// Longest pattern; so much of a stream is kept, since a pattern may come in two pieces.
const PATTERN_MAX: usize = 64;

/// What a trap does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spring {
    /// Nothing but tell: see [`Trap::sprung`].
    Tell,
    /// The piece with the bytes does not arrive, and the connection is reset.
    CutBefore,
    /// The bytes arrive; the answer to them does not, and the connection is reset in its place.
    LoseAnswer,
    /// So many bytes after the pattern still arrive, then nothing any more: half a request.
    StopAfter(usize),
}

/// Waits for a pattern in one direction, in any connection.
#[derive(Debug)]
pub struct Trap {
    way: Way,
    pattern: Vec<u8>,
    pub(super) spring: Spring,
    /// Matches that are let pass first.
    skip: usize,
    /// Of those after them, each so-and-so-many-th springs it.
    every: usize,
    /// So many times in all.
    times: usize,
    seen: AtomicUsize,
    sprung: watch::Sender<usize>,
}

impl Trap {
    /// A trap that springs once, at the first match.
    pub fn new(way: Way, pattern: &str, spring: Spring) -> Self {
        assert!((1..=PATTERN_MAX).contains(&pattern.len()), "1 to {PATTERN_MAX} bytes");
        Self {
            way,
            pattern: pattern.as_bytes().to_vec(),
            spring,
            skip: 0,
            every: 1,
            times: 1,
            seen: AtomicUsize::new(0),
            sprung: watch::Sender::default(),
        }
    }

    /// Lets so many matches pass first.
    #[must_use]
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Springs at every `n`-th match only, beginning with the first.
    #[must_use]
    pub fn every(self, n: usize) -> Self {
        assert!(n > 0, "every match at the most");
        Self { every: n, ..self }
    }

    /// Springs so many times.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// How often it has sprung so far.
    pub fn count(&self) -> usize {
        *self.sprung.borrow()
    }

    /// Returns once it has sprung.
    pub async fn sprung(&self) {
        let _ = self.sprung.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Counts a match; whether it springs the trap.
    fn springs(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        let Some(nth) = seen.checked_sub(self.skip) else { return false };
        nth % self.every == 0 && nth / self.every < self.times
    }

    pub(super) fn tell(&self) {
        self.sprung.send_modify(|count| *count += 1);
    }
}

/// A trap that sprung.
pub(super) struct Seen {
    pub(super) trap: Arc<Trap>,
    /// Where in the new bytes the pattern ends.
    pub(super) end_of_match: usize,
}

/// The end of one stream, so far as patterns may still begin in it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tail: Vec<u8>,
}

impl Watch {
    /// Looks at what comes next in a stream; answers the first trap that springs and does more
    /// than tell.
    pub(super) fn look(&mut self, way: Way, bytes: &[u8], traps: &[Arc<Trap>]) -> Option<Seen> {
        let known = self.tail.len();
        self.tail.extend_from_slice(bytes);
        let mut first = None;
        for trap in traps.iter().filter(|trap| trap.way == way) {
            let matches = self.tail.windows(trap.pattern.len()).enumerate();
            // One that ended in bytes from before was counted then.
            let new = matches.filter(|(at, window)| {
                at + trap.pattern.len() > known && *window == trap.pattern.as_slice()
            });
            for (at, _) in new {
                if !trap.springs() {
                    continue;
                }
                if trap.spring == Spring::Tell {
                    trap.tell();
                } else if first.is_none() {
                    let end_of_match = at + trap.pattern.len() - known;
                    first = Some(Seen { trap: Arc::clone(trap), end_of_match });
                }
            }
        }
        let old = self.tail.len().saturating_sub(PATTERN_MAX - 1);
        self.tail.drain(..old);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(pattern: &str) -> Arc<Trap> {
        Arc::new(Trap::new(Way::ToServer, pattern, Spring::CutBefore))
    }

    #[test]
    fn a_pattern_is_found_across_pieces_and_counted_once() {
        let traps = [trap("COMMIT")];
        let mut watch = Watch::default();
        assert!(watch.look(Way::ToServer, b"BEGIN;COM", &traps).is_none());
        let seen = watch.look(Way::ToServer, b"MIT;BEGIN", &traps).unwrap();
        assert_eq!(seen.end_of_match, 3);
        assert!(watch.look(Way::ToServer, b"nothing", &traps).is_none());
        assert_eq!(traps[0].seen.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_trap_lets_pass_what_it_was_told_to_and_springs_as_often_as_it_was_told_to() {
        let traps = [Arc::new(Trap::new(Way::ToServer, "x", Spring::CutBefore).after(2).times(1))];
        let mut watch = Watch::default();
        assert!(watch.look(Way::ToServer, b"x-x", &traps).is_none());
        assert!(watch.look(Way::ToServer, b"x", &traps).is_some());
        assert!(watch.look(Way::ToServer, b"x", &traps).is_none());
        assert!(watch.look(Way::ToClient, b"x", &traps).is_none());
    }

    #[test]
    fn a_trap_may_spring_at_every_so_many_th_match() {
        let trap = Trap::new(Way::ToServer, "x", Spring::CutBefore).after(1).every(3).times(2);
        let sprung: Vec<bool> = (0..9).map(|_| trap.springs()).collect();
        let expected = [false, true, false, false, true, false, false, false, false];
        assert_eq!(sprung, expected);
    }

    #[test]
    fn a_trap_that_only_tells_hides_no_other() {
        let tells = Arc::new(Trap::new(Way::ToServer, "x", Spring::Tell).times(usize::MAX));
        let cuts = trap("x");
        let traps = [Arc::clone(&tells), cuts];
        assert!(Watch::default().look(Way::ToServer, b"xx", &traps).is_some());
        assert_eq!(tells.count(), 2);
    }
}

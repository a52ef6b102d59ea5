//! Who may claim beside whom: a job in quarantine runs alone in its process.
//!
//! What a stack overflow takes down is the process, so all workers of one process share a
//! [`Solitude`]. Whoever claims takes a turn first. While the process has nothing in hand, a turn
//! keeps all others out until it is known what was claimed; so does a worker that retreats, which
//! waits until the process has nothing in hand.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::inflight::InFlight;

/// Shared by the workers of one process.
#[derive(Clone, Default)]
pub struct Solitude {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What each worker has in hand.
    crew: Vec<Weak<InFlight>>,
    /// Claims under way whose jobs nobody has in hand yet.
    claiming: usize,
    /// Somebody is alone, or waits to be.
    taken: bool,
    /// Somebody was kept out meanwhile.
    kept_out: bool,
}

/// The right to claim, until it is dropped.
pub(super) struct Turn {
    solitude: Solitude,
    keeps_others_out: bool,
}

impl Solitude {
    pub(super) fn join(&self, inflight: &Arc<InFlight>) {
        let mut state = self.lock();
        state.crew.retain(|member| member.strong_count() > 0);
        state.crew.push(Arc::downgrade(inflight));
    }

    /// Whether nobody may claim now; whoever asks is notified when that ends.
    pub(super) fn is_taken(&self) -> bool {
        let mut state = self.lock();
        state.kept_out |= state.taken;
        state.taken
    }

    /// The right to claim; it keeps others out if the process has nothing in hand. `None` while
    /// somebody is alone: whoever was kept out is notified at the end.
    pub(super) fn turn(&self) -> Option<Turn> {
        let mut state = self.lock();
        if state.taken {
            state.kept_out = true;
            return None;
        }
        let keeps_others_out = state.has_nothing_in_hand();
        if keeps_others_out {
            state.taken = true;
        } else {
            state.claiming += 1;
        }
        Some(Turn { solitude: self.clone(), keeps_others_out })
    }

    /// Keeps others out from now on, whatever they have in hand still; `None` if somebody does so
    /// already.
    pub(super) fn retreat(&self) -> Option<Turn> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.taken, true) {
            return None;
        }
        Some(Turn { solitude: self.clone(), keeps_others_out: true })
    }

    /// Whether nobody can be alone here: a handler of this process blocks its thread and does not
    /// let go, or jobs in hand wait for a ledger that is away.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.lock().members().any(|member| member.overdue() > 0 || member.is_cut_off())
    }

    /// How long the longest run of this process takes already.
    pub(super) fn longest_run(&self) -> Duration {
        // Outside of the lock, which others take while they hold their jobs.
        let members: Vec<_> = self.lock().members().collect();
        members.iter().map(|member| member.longest_run()).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn members(&self) -> impl Iterator<Item = Arc<InFlight>> {
        self.crew.iter().filter_map(Weak::upgrade)
    }

    fn has_nothing_in_hand(&self) -> bool {
        // A handler that does not let go of its thread is active without a job.
        let free = |member: Arc<InFlight>| member.len() == 0 && member.active() == 0;
        self.claiming == 0 && self.members().all(free)
    }
}

impl Turn {
    /// Whether nothing else runs, or will run before this turn ends.
    pub(super) fn is_alone(&self) -> bool {
        self.keeps_others_out && self.solitude.lock().has_nothing_in_hand()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.solitude.lock();
        if !self.keeps_others_out {
            state.claiming -= 1;
            return;
        }
        state.taken = false;
        if std::mem::take(&mut state.kept_out) {
            let members: Vec<_> = state.members().collect();
            drop(state);
            members.iter().for_each(|member| member.note_change());
        }
    }
}

impl fmt::Debug for Solitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solitude").field("taken", &self.lock().taken).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::inflight::tests::delivery;

    #[test]
    fn while_nothing_is_in_hand_a_turn_is_for_one_and_otherwise_for_all() {
        let solitude = Solitude::default();
        let (one, other) = (Arc::new(InFlight::default()), Arc::new(InFlight::default()));
        solitude.join(&one);
        solitude.join(&other);
        let turn = solitude.turn().unwrap();
        assert!(turn.is_alone());
        assert!(solitude.turn().is_none());
        assert!(solitude.retreat().is_none());
        one.claimed(&[delivery(1)]);
        drop(turn);
        let (first, second) = (solitude.turn().unwrap(), solitude.turn().unwrap());
        assert!(!first.is_alone() && !second.is_alone());
    }

    #[test]
    fn who_retreats_is_alone_once_claims_and_jobs_of_others_have_ended() {
        let solitude = Solitude::default();
        let inflight = Arc::new(InFlight::default());
        solitude.join(&inflight);
        inflight.claimed(&[delivery(1)]);
        let claiming = solitude.turn().unwrap();
        let retreat = solitude.retreat().unwrap();
        assert!(solitude.is_taken() && solitude.turn().is_none());
        inflight.judged_unstarted(&delivery(1).queue);
        inflight.settled(std::iter::once(delivery(1).lease));
        assert!(!retreat.is_alone(), "a claim is under way");
        drop(claiming);
        assert!(retreat.is_alone());
        drop(retreat);
        assert!(!solitude.is_taken());
    }
}

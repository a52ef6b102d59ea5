//! How many jobs of each queue are under way, counted as they go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shares::Shares;
use crate::job::Queue;

/// Counts a queue's jobs; no look at them takes longer the more there are.
#[derive(Default)]
pub(super) struct Lanes {
    shares: Arc<Shares>,
    each: Vec<Lane>,
}

#[derive(Default)]
struct Lane {
    /// Claimed and not yet judged.
    active: AtomicUsize,
    /// Claimed and not yet handed to a handler.
    buffered: AtomicUsize,
    /// Judged since the last look of the pace.
    ended: AtomicUsize,
    /// The fetcher looks again once no more than so many wait for a handler.
    enough: AtomicUsize,
}

impl Lanes {
    pub(super) fn new(shares: Arc<Shares>) -> Self {
        let each = std::iter::repeat_with(Lane::default).take(shares.len()).collect();
        Self { shares, each }
    }

    fn of(&self, queue: &Queue) -> Option<&Lane> {
        self.each.get(self.shares.at(queue)?)
    }

    pub(super) fn claimed(&self, queue: &Queue) {
        if let Some(lane) = self.of(queue) {
            lane.active.fetch_add(1, Ordering::SeqCst);
            lane.buffered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A claimed job of the queue takes no place for a while.
    pub(super) fn set_aside(&self, queue: &Queue) {
        if let Some(lane) = self.of(queue) {
            lane.active.fetch_sub(1, Ordering::SeqCst);
            lane.buffered.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A job of the queue is with its handler, or never gets there. Answers whether the fetcher
    /// wants to know.
    pub(super) fn unbuffered(&self, queue: &Queue) -> bool {
        let Some(lane) = self.of(queue) else { return true };
        let before = lane.buffered.fetch_sub(1, Ordering::SeqCst);
        before <= lane.enough.load(Ordering::SeqCst).saturating_add(1)
    }

    /// A job of the queue was judged. Answers whether the fetcher wants to know.
    pub(super) fn judged(&self, queue: &Queue) -> bool {
        let Some(lane) = self.of(queue) else { return true };
        lane.ended.fetch_add(1, Ordering::Relaxed);
        lane.active.fetch_sub(1, Ordering::SeqCst);
        lane.buffered.load(Ordering::SeqCst) <= lane.enough.load(Ordering::SeqCst)
    }

    /// The fetcher claims nothing more of the queue while more than so many wait for a handler, and
    /// until then need not be told what happens to each: at 50,000 jobs a second it would do
    /// nothing else than listen. That a job of this queue made room for another's goes untold as
    /// well, until the next settle, which always tells.
    pub(super) fn is_enough(&self, queue: &Queue, buffered: usize) {
        if let Some(lane) = self.of(queue) {
            lane.enough.store(buffered, Ordering::SeqCst);
        }
    }

    /// Jobs of the queue that wait for a handler.
    pub(super) fn buffered(&self, queue: &Queue) -> usize {
        self.of(queue).map_or(0, |lane| lane.buffered.load(Ordering::SeqCst))
    }

    /// Jobs of the queue judged since the last call.
    pub(super) fn take_ended(&self, queue: &Queue) -> usize {
        self.of(queue).map_or(0, |lane| lane.ended.swap(0, Ordering::Relaxed))
    }

    /// How many more jobs of the queue may be claimed, `ahead` of them before a place is free.
    pub(super) fn room(&self, queue: &Queue, ahead: usize) -> usize {
        let Some(at) = self.shares.at(queue) else { return 0 };
        let limit = self.shares.limit(at, |other| self.active(other));
        (limit + ahead).saturating_sub(self.active(at))
    }

    fn active(&self, at: usize) -> usize {
        self.each.get(at).map_or(0, |lane| lane.active.load(Ordering::SeqCst))
    }
}

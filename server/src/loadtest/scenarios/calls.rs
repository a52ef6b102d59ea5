//! Calls that come as a schedule says, each timed: what the scenarios without jobs share.

use super::{Draft, Ground};
use crate::loadtest::moment::Moment;
use crate::loadtest::openloop::{self, Due};
use crate::loadtest::schedule::{Arrivals, Shape};
use crate::loadtest::tally::{Group, Tally};

/// What is asked for, and what it counts as.
pub(super) struct Calls {
    pub(super) shape: Shape,
    pub(super) group: Group,
    /// What the plots call one.
    pub(super) one: &'static str,
}

/// How many were asked for, were done, and failed.
pub(super) struct Sums {
    pub(super) asked: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
}

/// How a call ended.
pub(super) struct Called<C> {
    /// Whoever made it.
    pub(super) caller: C,
    /// What it was.
    pub(super) name: &'static str,
    pub(super) well: bool,
}

/// Lets these callers make the calls that are due, and writes down how long each took.
///
/// # Errors
/// There is no thread to watch the clock, or a caller broke down; what was measured until then is in
/// the draft.
pub(super) async fn drive<C, F>(
    ground: &Ground<'_>,
    draft: &mut Draft,
    Calls { shape, group, one }: Calls,
    callers: Vec<C>,
    call: impl Fn(C, Due) -> F + Clone + Send + Sync + 'static,
) -> anyhow::Result<Sums>
where
    C: Send + 'static,
    F: Future<Output = Called<C>> + Send + 'static,
{
    let mut bar = ground.screen.bar(draft.name(), shape.span());
    let begun = draft.begin();
    draft.phases_of(&shape);
    let tally = Tally::new(begun);
    bar.follow(&tally);
    let line = openloop::start(Arrivals::new(shape, ground.seed), begun, ground.stop.clone())?;
    let counting = tally.clone();
    let ended = openloop::call(&line, callers, move |caller, due| {
        let (tally, made) = (counting.clone(), call(caller, due));
        async move {
            tally.asked(due.at);
            let Called { caller, name, well } = made.await;
            tally.done(group, name, due.at, Moment::now(), well);
            caller
        }
    })
    .await;
    draft.timings(tally.timings());
    draft.series(tally.series(one));
    ended?;
    let (asked, done, failed) = tally.sums();
    Ok(Sums { asked, done, failed })
}

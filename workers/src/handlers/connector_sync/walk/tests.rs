//! Walks over a platform that changes under them, cut off anywhere: none leaves a gap.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LOOK_BACK: Duration = Duration::from_secs(2 * 3_600);
const MINUTE_MS: i64 = 60_000;

/// What happens on the platform, or to us.
#[derive(Debug, Clone)]
enum Happens {
    /// So many new posts, each a minute after the one before.
    Posts(u8),
    /// So many posts that are dated back by days.
    DatedBack(u8),
    /// The posts from the newest on, or so far below it, are deleted.
    Deleted { from: u8, count: u8 },
    /// The platform forgets every place that it has named.
    Forgets,
    /// So many pages are read, and then the worker dies.
    Pages(u8),
    /// A walk is read to its end.
    Walk,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1_u8..9).prop_map(Happens::Posts),
        1 => (1_u8..9).prop_map(Happens::DatedBack),
        2 => (0_u8..6, 1_u8..6).prop_map(|(from, count)| Happens::Deleted { from, count }),
        1 => Just(Happens::Forgets),
        4 => (1_u8..4).prop_map(Happens::Pages),
        2 => Just(Happens::Walk),
    ]
}

/// A platform that lists in the order of arrival, and whoever reads from it.
#[derive(Default)]
struct Story {
    /// Ids and times, the newest last.
    wall: Vec<(u32, i64)>,
    next_id: u32,
    now_ms: i64,
    /// Places that it named before this one are refused.
    era: u32,
    kept: HashSet<String>,
    cursor: Cursor,
}

impl Story {
    fn post(&mut self, at: i64) {
        self.now_ms += MINUTE_MS;
        self.next_id += 1;
        self.wall.push((self.next_id, at));
    }

    /// A page of three; a place reads `era:below`.
    fn page(&self, token: Option<&str>) -> Option<SyncPage> {
        let below = match token.and_then(|token| token.split_once(':')) {
            Some((era, below)) if era.parse() == Ok(self.era) => below.parse().unwrap_or(0),
            Some(_) => return None,
            None => u32::MAX,
        };
        let older: Vec<_> = self.wall.iter().rev().filter(|(id, _)| *id < below).collect();
        let posts: Vec<RemotePost> = older
            .iter()
            .take(3)
            .map(|(id, at)| RemotePost {
                remote_id: id.to_string(),
                created_at: Some(Timestamp::from_millis(*at)),
                text: String::new(),
            })
            .collect();
        let next = older.get(2).filter(|_| older.len() > 3);
        let next = next.map(|(id, _)| format!("{}:{id}", self.era));
        Some(SyncPage { posts, next })
    }

    /// Reads a page and keeps what it found; answers whether the walk ended.
    fn read(&mut self) -> bool {
        let page = self.page(self.cursor.page_token.as_deref()).unwrap_or_else(|| {
            self.cursor = anew(std::mem::take(&mut self.cursor));
            self.page(None).unwrap_or_default()
        });
        let known = may_end_here(&page, &self.cursor, LOOK_BACK)
            && page.posts.iter().all(|post| self.kept.contains(&post.remote_id));
        let now = Timestamp::from_millis(self.now_ms);
        let cursor = std::mem::take(&mut self.cursor);
        let taken = step(page, cursor, LOOK_BACK, known, now).expect("another page");
        self.kept.extend(taken.posts.into_iter().map(|post| post.remote_id));
        self.cursor = taken.next;
        taken.ended
    }

    /// Reads until the walk ends; answers how many pages that took.
    fn walk(&mut self) -> usize {
        let mut pages = 1;
        while !self.read() {
            pages += 1;
            assert!(pages < 10_000, "a walk without an end");
        }
        pages
    }

    fn goes_on(&mut self, happens: &Happens) {
        match happens {
            Happens::Posts(count) => (0..*count).for_each(|_| self.post(self.now_ms + MINUTE_MS)),
            Happens::DatedBack(count) => {
                let at = self.now_ms - 3 * 24 * 60 * MINUTE_MS;
                (0..*count).for_each(|_| self.post(at));
            }
            Happens::Deleted { from, count } => {
                let end = self.wall.len().saturating_sub(usize::from(*from));
                let start = end.saturating_sub(usize::from(*count));
                drop(self.wall.drain(start..end));
            }
            Happens::Forgets => self.era += 1,
            Happens::Pages(count) => drop((0..*count).any(|_| self.read())),
            Happens::Walk => drop(self.walk()),
        }
    }

    fn missing(&self) -> Vec<u32> {
        let is_missing = |id: &u32| !self.kept.contains(&id.to_string());
        self.wall.iter().map(|(id, _)| *id).filter(is_missing).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_walk_leaves_a_gap_whatever_happens_on_the_platform(
        all in prop::collection::vec(happens(), 1..60)
    ) {
        let mut story = Story { now_ms: 1_800_000_000_000, ..Story::default() };
        for happens in &all {
            story.goes_on(happens);
        }
        // The rest of the walk that is under way, and one from the top.
        story.walk();
        story.walk();
        prop_assert_eq!(story.missing(), Vec::<u32>::new());
    }
}

#[test]
fn a_walk_with_nothing_new_reads_what_the_look_back_takes_and_no_more() {
    let mut story = Story { now_ms: 1_800_000_000_000, ..Story::default() };
    (0..3_000).for_each(|_| story.goes_on(&Happens::Posts(1)));
    assert_eq!(story.walk(), 1_000);
    // Two hours of a post a minute, three a page.
    assert!((40..=42).contains(&story.walk()));
    // Nothing that is known stands in the way: the high water and the twenty before it are deleted.
    story.goes_on(&Happens::Deleted { from: 0, count: 20 });
    assert!((34..=42).contains(&story.walk()));
    assert!((40..=42).contains(&story.walk()), "the next one has a high water again");
}

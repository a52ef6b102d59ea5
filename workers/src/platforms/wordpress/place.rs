//! A place in the list of a user's posts, newest first.
//!
//! By times and not by numbers of pages: those would move with each post that comes or goes while the
//! list is read. Posts of the same second are told apart by leaving out those that were listed.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::DateTime;

use super::wire::Listed;

/// Where a page begins: after the posts of this second that were listed. Its form is the second, by
/// the blog's clock, and their numbers, with spaces between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    second: Option<DateTime>,
    listed: Vec<u64>,
}

/// A text is no place.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Place {
    /// The list is of posts from before this time, by the blog's clock; `None` for all.
    pub(super) fn before(&self) -> Option<String> {
        let next = self.second?.saturating_add(1.second());
        Some(next.to_string())
    }

    /// Without these.
    pub(super) fn seen(&self) -> String {
        let numbers: Vec<String> = self.listed.iter().map(u64::to_string).collect();
        numbers.join(",")
    }

    /// The place after this page, which began here.
    pub(super) fn after(&self, page: &[Listed]) -> Self {
        let Some(second) = page.last().and_then(published_at) else { return self.clone() };
        let of_it = page.iter().filter(|post| published_at(post) == Some(second));
        let before = self.listed.iter().copied().filter(|_| self.second == Some(second));
        let listed = before.chain(of_it.map(|post| post.id)).collect();
        Self { second: Some(second), listed }
    }
}

fn published_at(post: &Listed) -> Option<DateTime> {
    post.date.parse().ok()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(second) = self.second else { return Ok(()) };
        write!(f, "{second}")?;
        self.listed.iter().try_for_each(|number| write!(f, " {number}"))
    }
}

impl FromStr for Place {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut parts = text.split(' ');
        let second = parts.next().and_then(|second| second.parse().ok()).ok_or(Unreadable)?;
        let listed = parts.map(str::parse).collect::<Result<_, _>>().map_err(|_| Unreadable)?;
        Ok(Self { second: Some(second), listed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::wordpress::wire::Written;

    /// What a blog with these posts would answer, newest first: their numbers, and whether there is more.
    fn page(blog: &[(u64, &str)], place: &Place, size: usize) -> (Vec<Listed>, bool) {
        let before = place.before();
        let seen: Vec<String> = place.seen().split(',').map(str::to_owned).collect();
        let mut left: Vec<&(u64, &str)> = blog
            .iter()
            .filter(|(id, date)| {
                before.as_deref().is_none_or(|before| *date < before)
                    && !seen.contains(&id.to_string())
            })
            .collect();
        left.sort_by_key(|(_, date)| std::cmp::Reverse(*date));
        let listed = left.iter().take(size).map(|(id, date)| Listed {
            id: *id,
            date: (*date).to_owned(),
            date_gmt: String::new(),
            title: Written { raw: String::new() },
            content: Written { raw: String::new() },
        });
        (listed.collect(), left.len() > size)
    }

    #[test]
    fn posts_that_come_and_go_while_the_list_is_read_hide_no_other() {
        let (one, two, three) =
            ("2026-03-01T09:30:00", "2026-03-01T09:30:59", "2026-12-31T23:59:59");
        let mut blog = vec![(1, one), (2, two), (3, two), (4, two), (5, two), (6, two), (7, three)];
        let (mut place, mut seen) = (Place::default(), Vec::new());
        for round in 0.. {
            let (listed, more) = page(&blog, &place, 2);
            seen.extend(listed.iter().map(|post| post.id));
            place = place.after(&listed).to_string().parse().unwrap();
            if !more {
                break;
            }
            // One is deleted that was read, and a new one comes.
            blog.retain(|(id, _)| *id != seen[0]);
            blog.push((100 + round, "2027-01-01T00:00:00"));
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(place.to_string(), "2026-03-01T09:30:00 1");
    }

    #[test]
    fn a_text_that_is_no_place_is_not_taken_for_one() {
        for text in ["", "2", "2026-03-01T09:30:00 x", "2026-03-01T09:30:00  1"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}

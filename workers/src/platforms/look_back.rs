//! Looks for a post among those that an account shows, where nothing of ours is in it: by its time, by
//! what it answers, and by its text.
//!
//! To take another's post for ours loses one, and to miss ours publishes it twice. So a post that another
//! publication has is never ours, and one of that time that reads as nothing of ours does, which ours
//! may be all the same, proves nothing: what a platform makes of texts is known in part only.

use std::time::Duration;

use postworks::job::Timestamp;

use super::likeness::alike;
use super::{Published, Reconciled, RemotePost, Sought};

/// How far the clocks of a platform and of ours may be apart.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// A post that an account shows.
pub(super) struct Shown {
    pub(super) published: Published,
    /// When it was made, if that is known.
    pub(super) at: Option<Timestamp>,
    pub(super) text: String,
    /// The post that it answers.
    pub(super) answers: Option<String>,
}

impl Shown {
    /// A post that answers none.
    pub(super) fn of(post: RemotePost, published: fn(String) -> Published) -> Self {
        let RemotePost { remote_id, created_at, text } = post;
        Self { published: published(remote_id), at: created_at, text, answers: None }
    }
}

/// What an account shows, newest first.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) shown: Vec<Shown>,
    /// It has all from [`Sought::from`] on.
    pub(super) is_whole: bool,
}

impl Sought<'_> {
    /// The earliest time that the post may show.
    pub(super) fn from(&self) -> Timestamp {
        self.since.before(CLOCKS_DIFFER)
    }

    fn may_be_from(&self, at: Option<Timestamp>) -> bool {
        at.is_none_or(|at| at >= self.from() && at <= self.until.after(CLOCKS_DIFFER))
    }
}

impl Listing {
    /// Whether the post of this text, which answers that one, is there. `as_shown` makes of a text of
    /// ours what the platform shows of it.
    pub(super) fn look_for(
        mut self,
        text: &str,
        answers: Option<&str>,
        sought: Sought<'_>,
        as_shown: impl Fn(&str) -> String,
    ) -> Reconciled {
        let others = sought.others;
        self.shown.retain(|post| {
            sought.may_be_from(post.at) && !others.ids.contains(&post.published.remote_id)
        });
        let wanted = as_shown(text);
        let is_it = |post: &Shown| post.answers.as_deref() == answers && alike(&post.text, &wanted);
        let unsure = |words: &str| Reconciled::Unsure(words.to_owned());
        // Of several the oldest: it is of the first request.
        if let Some(found) = self.shown.iter().rfind(|post| is_it(post)) {
            return if wanted.trim().is_empty() {
                unsure("the account has a post without a text, as this one is")
            } else {
                Reconciled::Alike(found.published.clone())
            };
        }
        if !self.is_whole {
            return unsure("the account has posted more since then than is looked through");
        }
        let may_be_theirs: Vec<String> = others.texts.iter().map(|text| as_shown(text)).collect();
        let is_theirs = |post: &Shown| may_be_theirs.iter().any(|text| alike(text, &post.text));
        match self.shown.iter().find(|post| !is_theirs(post)) {
            None => Reconciled::Absent,
            Some(post) => Reconciled::Unsure(format!(
                "a post of that time, {}, reads differently and is of no other publication",
                post.published.remote_id
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::platforms::Others;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + second * 1_000)
    }

    fn shown(id: &str, second: i64, text: &str, answers: Option<&str>) -> Shown {
        let published = Published { remote_id: id.to_owned(), remote_url: None };
        let answers = answers.map(str::to_owned);
        Shown { published, at: Some(at(second)), text: text.to_owned(), answers }
    }

    /// Looks for "hello", which was sent from the 100th to the 130th second.
    fn look(posts: Vec<Shown>, is_whole: bool, answers: Option<&str>, others: &Others) -> String {
        let sought = Sought { since: at(100), until: at(130), named: None, others };
        match (Listing { shown: posts, is_whole }).look_for("hello", answers, sought, str::to_owned)
        {
            Reconciled::Alike(post) => post.remote_id,
            Reconciled::Absent => "absent".to_owned(),
            Reconciled::Unsure(words) => words,
            Reconciled::There(_) => panic!("a text is no proof"),
        }
    }

    fn others(ids: &[&str], texts: &[&str]) -> Others {
        let owned = |text: &&str| (*text).to_owned();
        Others {
            ids: ids.iter().map(owned).collect::<BTreeSet<_>>(),
            texts: texts.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_post_is_known_by_its_time_its_text_and_what_it_answers() {
        let none = Others::NONE;
        let hello = |second| vec![shown("1", second, "hello", None)];
        for (second, found) in [(39, "absent"), (40, "1"), (190, "1"), (191, "absent")] {
            assert_eq!(look(hello(second), true, None, none), found, "{second}");
        }
        let timeless = Shown { at: None, ..shown("1", 0, "hello", None) };
        assert_eq!(look(vec![timeless], true, None, none), "1");
        let two = || vec![shown("2", 120, "hello", None), shown("1", 110, " hello\n", None)];
        assert_eq!(look(two(), true, None, none), "1", "the first request made the older one");
        let answer = |to| vec![shown("1", 110, "hello", to)];
        assert_eq!(look(answer(Some("a")), true, Some("a"), none), "1");
        assert_ne!(look(answer(Some("b")), true, Some("a"), none), "1");
        assert_ne!(look(answer(None), true, Some("a"), none), "1");
        assert_ne!(look(answer(Some("a")), true, None, none), "1");
        assert_eq!(look(vec![], true, None, none), "absent");
    }

    #[test]
    fn what_another_publication_has_is_neither_ours_nor_in_doubt() {
        let posts = || vec![shown("2", 120, "bye", None), shown("1", 110, "hello", None)];
        assert_eq!(look(posts(), true, None, &others(&["1", "2"], &[])), "absent");
        assert_eq!(look(posts(), true, None, &others(&["1"], &["bye"])), "absent");
        assert_eq!(look(posts(), true, None, &others(&["2"], &["hello"])), "1");
    }

    #[test]
    fn a_post_that_may_be_ours_in_other_words_proves_nothing() {
        let posts = || vec![shown("7", 110, "hello, shortened", None)];
        assert!(look(posts(), true, None, Others::NONE).contains("7, reads differently"));
        assert!(look(vec![], false, None, Others::NONE).contains("more since then"));
        let sought = Sought::alone(at(100), at(130));
        let silent = Listing { shown: vec![shown("1", 110, "", None)], is_whole: true };
        let found = silent.look_for(" ", None, sought, str::to_owned);
        assert!(matches!(found, Reconciled::Unsure(words) if words.contains("without a text")));
    }
}

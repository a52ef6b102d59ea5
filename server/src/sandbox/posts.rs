//! Finds posts: by account, by the client's reference, by idempotency key.
//!
//! A post is its line in the journal; these indexes hold only places in it.

use std::collections::HashMap;

use super::accounts::AccountNo;

/// Where a post's line stands in the journal's entries.
pub(super) type PostNo = usize;

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Newest first.
    pub(super) posts: Vec<PostNo>,
    /// Where the next page goes on, if there is one: below this post.
    pub(super) next: Option<PostNo>,
}

/// The indexes.
#[derive(Debug, Default)]
pub(super) struct Posts {
    by_account: HashMap<AccountNo, Vec<PostNo>>,
    by_ref: HashMap<(AccountNo, String), Vec<PostNo>>,
    by_key: HashMap<(AccountNo, String), PostNo>,
    by_id: HashMap<String, (AccountNo, PostNo)>,
}

impl Posts {
    /// Files a new post; places only ever grow.
    pub(super) fn add(
        &mut self,
        account: AccountNo,
        key: Option<String>,
        client_ref: Option<String>,
        post: PostNo,
    ) {
        self.by_account.entry(account).or_default().push(post);
        if let Some(client_ref) = client_ref {
            self.by_ref.entry((account, client_ref)).or_default().push(post);
        }
        if let Some(key) = key {
            self.by_key.insert((account, key), post);
        }
    }

    /// Files a post by its id as well, for whoever asks for posts one by one.
    pub(super) fn name(&mut self, id: String, account: AccountNo, post: PostNo) {
        self.by_id.insert(id, (account, post));
    }

    /// The post of this id, if this account made it.
    pub(super) fn named(&self, account: AccountNo, id: &str) -> Option<PostNo> {
        self.by_id.get(id).filter(|(owner, _)| *owner == account).map(|(_, post)| *post)
    }

    /// How many posts an account has made.
    pub(super) fn count(&self, account: AccountNo) -> usize {
        self.by_account.get(&account).map_or(0, Vec::len)
    }

    /// The post an account already made with this key.
    pub(super) fn keyed(&self, account: AccountNo, key: &str) -> Option<PostNo> {
        self.by_key.get(&(account, key.to_owned())).copied()
    }

    /// An account's posts below a place, newest first. Posts made meanwhile shift no page.
    pub(super) fn page(
        &self,
        account: AccountNo,
        client_ref: Option<String>,
        below: Option<PostNo>,
        limit: usize,
    ) -> Page {
        let all = match client_ref {
            Some(client_ref) => self.by_ref.get(&(account, client_ref)),
            None => self.by_account.get(&account),
        };
        let all = all.map(Vec::as_slice).unwrap_or_default();
        let end = below.map_or(all.len(), |below| all.partition_point(|post| *post < below));
        let start = end.saturating_sub(limit);
        let posts: Vec<PostNo> = all[start..end].iter().rev().copied().collect();
        let next = if start > 0 { posts.last().copied() } else { None };
        Page { posts, next }
    }
}

#[cfg(test)]
mod tests {
    use super::Posts;

    #[test]
    fn pages_go_newest_first_and_do_not_shift_when_posts_arrive() {
        let mut posts = Posts::default();
        for post in [0, 2, 4, 6, 8] {
            posts.add(1, None, None, post);
            posts.add(2, None, None, post + 1);
        }
        let first = posts.page(1, None, None, 2);
        assert_eq!((first.posts, first.next), (vec![8, 6], Some(6)));
        posts.add(1, None, None, 10);
        let second = posts.page(1, None, first.next, 2);
        assert_eq!((second.posts, second.next), (vec![4, 2], Some(2)));
        let last = posts.page(1, None, second.next, 2);
        assert_eq!((last.posts, last.next), (vec![0], None));
    }

    #[test]
    fn a_page_that_ends_the_list_promises_no_next_one() {
        let mut posts = Posts::default();
        posts.add(1, None, Some("r".to_owned()), 3);
        posts.add(1, None, Some("r".to_owned()), 5);
        assert_eq!(posts.page(1, Some("r".to_owned()), None, 2).next, None);
        assert!(posts.page(1, Some("other".to_owned()), None, 2).posts.is_empty());
    }
}

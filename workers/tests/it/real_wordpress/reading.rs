//! What is read of a real blog: the account's posts, and its profile.

use std::collections::HashSet;

use postworks_workers::platforms::{Platform, Profile, RemotePost};
use serde_json::json;

use super::World;

impl World {
    /// All posts of the account, as a walk finds them.
    async fn walk(&self) -> Vec<RemotePost> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page =
                self.client.posts(self.account.with(&self.owner.password), cursor.as_deref()).await;
            let page = page.unwrap();
            all.extend(page.posts);
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn each_of_a_hundred_and_twenty_posts_is_found_once_newest_first() {
    let world = World::start().await;
    let other = world.server.create_account("bob").await;
    // Thirty of each second, as an import leaves them: three pages of the same.
    let posts: Vec<_> = (0..120)
        .map(|number| {
            let date = format!("2026-03-01T09:30:{:02}", number / 30);
            json!({ "title": format!("Post {number}"), "status": "publish", "date_gmt": date })
        })
        .collect();
    world.server.write_posts(&world.owner, &posts).await;
    let draft = json!({ "title": "Not yet", "status": "draft" });
    world.server.write_posts(&world.owner, &[draft]).await;
    let others = json!({ "title": "Bob's", "status": "publish" });
    world.server.write_posts(&other, &[others]).await;

    let found = world.walk().await;
    let texts: HashSet<&str> = found.iter().map(|post| post.text.as_str()).collect();
    let ids: HashSet<&str> = found.iter().map(|post| post.remote_id.as_str()).collect();
    assert_eq!((found.len(), texts.len(), ids.len()), (120, 120, 120));
    assert!(texts.iter().all(|text| text.starts_with("Post ")), "{texts:?}");
    assert!(found.is_sorted_by(|one, next| one.created_at >= next.created_at));
    assert_eq!(found[119].created_at, "2026-03-01T09:30:00Z".parse().ok());
}

#[tokio::test]
async fn an_edited_post_is_read_as_it_is_now() {
    let world = World::start().await;
    let published = world.publish(&super::rich("As it was")).await.unwrap();
    let before = world.walk().await;
    assert_eq!(before[0].remote_id, published.remote_id, "the same id as when it was published");
    assert_eq!(before[0].text, "A <b>title</b> & more\n\nAs it was\n\nA page");

    let id = published.remote_id.parse().unwrap();
    let html =
        "<!-- wp:heading --><h2>New</h2><!-- /wp:heading --><p>As it&#8217;s <em>now</em></p>";
    world.server.edit(id, &json!({ "title": "Another", "content": html })).await;
    let after = world.walk().await;
    assert_eq!(after[0].text, "Another\n\nNew\n\nAs it’s now");
    assert_eq!(after[0].created_at, before[0].created_at);
    world.server.edit(id, &json!({ "status": "draft" })).await;
    assert_eq!(world.walk().await, []);
}

#[tokio::test]
async fn an_account_says_who_it_is() {
    let world = World::start().await;
    let profile = world.client.profile(world.account.with(&world.owner.password)).await.unwrap();
    let (display_name, description) =
        (Some("alice of the blog".to_owned()), Some("Writes as alice".to_owned()));
    assert_eq!(profile, Profile { display_name, description, followers: None });
}

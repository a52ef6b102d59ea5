//! WordPress: a draft is kept under its number, so that publishing it again is harmless.

use std::net::SocketAddr;

use postworks_workers::testing::wordpress::{WordPressAccount, WordPressServer};

use super::rig::{Login, RealServer, each_post_is_there_once};

struct WordPress {
    blog: WordPressServer,
    owner: WordPressAccount,
}

impl RealServer for WordPress {
    const PLATFORM: &'static str = "wordpress";
    // The draft is sought, written and published.
    const ANSWERS: usize = 3;

    async fn start() -> Self {
        let blog = WordPressServer::start().await;
        let owner = blog.create_account("alice").await;
        Self { blog, owner }
    }

    fn address(&self) -> SocketAddr {
        self.blog.address()
    }

    fn login(&self) -> Login {
        let secret = self.owner.exposed_password().to_owned();
        Login { identifier: self.owner.login.clone(), secret, target: None }
    }

    async fn kill(&mut self) {
        self.blog.kill();
    }

    async fn restart(&mut self) {
        self.blog.restart().await;
    }

    async fn texts(&self) -> Vec<String> {
        let posts = self.blog.posts().await.into_iter();
        let published = posts.filter(|post| post.status == "publish");
        let text =
            |content: &str| content.split("<p>").nth(1)?.split("</p>").next().map(str::to_owned);
        published.map(|post| text(&post.content).expect("a paragraph")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_posts_are_on_wordpress_once_each_whatever_is_killed_or_lost() {
    each_post_is_there_once::<WordPress>().await;
}

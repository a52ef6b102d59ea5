//! Mastodon's API, by a mock of it that somebody else wrote: a status has a key of ours, which the mock
//! remembers for its account.

use std::net::SocketAddr;

use postworks_workers::testing::mastodon_mock::{MastodonMock, TOKEN, USERNAME};

use super::rig::{Login, RealServer, each_post_is_there_once};

impl RealServer for MastodonMock {
    const PLATFORM: &'static str = "mastodon";

    async fn start() -> Self {
        Self::start().await
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn login(&self) -> Login {
        Login { identifier: USERNAME.to_owned(), secret: TOKEN.to_owned(), target: None }
    }

    async fn kill(&mut self) {
        self.kill().await;
    }

    async fn restart(&mut self) {
        self.restart().await;
    }

    async fn texts(&self) -> Vec<String> {
        self.statuses().await.into_iter().map(|status| status.text).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_posts_are_on_a_mock_of_mastodon_once_each_whatever_is_killed_or_lost() {
    each_post_is_there_once::<MastodonMock>().await;
}

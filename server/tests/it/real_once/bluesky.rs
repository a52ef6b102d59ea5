//! Bluesky: a post's record has a key of ours, so that sending again is harmless.

use std::net::SocketAddr;

use postworks_workers::testing::pds::{PdsAccount, PdsServer};

use super::rig::{Login, RealServer, each_post_is_there_once};

struct Bluesky {
    pds: PdsServer,
    owner: PdsAccount,
}

impl RealServer for Bluesky {
    const PLATFORM: &'static str = "bluesky";

    async fn start() -> Self {
        let pds = PdsServer::start().await;
        let owner = pds.create_account("alice.test").await;
        Self { pds, owner }
    }

    fn address(&self) -> SocketAddr {
        self.pds.address()
    }

    fn login(&self) -> Login {
        let secret = self.owner.exposed_password().to_owned();
        Login { identifier: self.owner.handle.clone(), secret, target: None }
    }

    async fn kill(&mut self) {
        self.pds.kill().await;
    }

    async fn restart(&mut self) {
        self.pds.restart().await;
    }

    async fn texts(&self) -> Vec<String> {
        let records = self.pds.records(&self.owner.did).await;
        records.into_iter().map(|record| record.text).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_posts_are_on_bluesky_once_each_whatever_is_killed_or_lost() {
    each_post_is_there_once::<Bluesky>().await;
}

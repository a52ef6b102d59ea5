//! Matrix: the server knows a message by a key that the device sent, until the device is signed out.

use std::net::SocketAddr;

use postworks_workers::testing::synapse::{SynapseServer, SynapseUser};
use serde_json::json;

use super::rig::{Login, RealServer, each_post_is_there_once};

struct Matrix {
    server: SynapseServer,
    owner: SynapseUser,
    room: String,
}

impl RealServer for Matrix {
    const PLATFORM: &'static str = "matrix";
    // Whether the account is in the room, whether that is encrypted, and the message.
    const ANSWERS: usize = 3;

    async fn start() -> Self {
        let server = SynapseServer::start().await;
        let owner = server.create_user("alice").await;
        let room = server.create_room(&owner, &json!({ "preset": "public_chat" })).await;
        Self { server, owner, room }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn login(&self) -> Login {
        Login {
            identifier: self.owner.user_id.clone(),
            secret: self.owner.exposed_password().to_owned(),
            target: Some(self.room.clone()),
        }
    }

    async fn kill(&mut self) {
        self.server.kill().await;
    }

    async fn restart(&mut self) {
        self.server.restart().await;
    }

    async fn texts(&self) -> Vec<String> {
        let messages = self.server.messages(&self.owner, &self.room).await;
        messages.into_iter().map(|message| message.text).collect()
    }

    /// Its owner signs the device out. With its memory gone too, the server forgets every key.
    async fn disturb(&mut self) -> bool {
        self.server.end_sessions(&self.owner).await;
        self.server.restart().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_posts_are_on_matrix_once_each_whatever_is_killed_or_lost() {
    each_post_is_there_once::<Matrix>().await;
}

//! The end of a sandbox, whatever its clients are doing.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::World;

/// Far more than a shutdown may take, far less than a client's own patience.
const LIMIT: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_hanging_request_does_not_outlive_a_shutdown() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    world.fault(json!({"op": "publish", "action": "hang"})).await;
    let hanging = tokio::spawn(world.publishing(&ann, &json!({"text": "made"})).send());
    while world.running.journal().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(LIMIT, world.running.shutdown()).await.unwrap();
    let error = hanging.await.unwrap().unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_a_shutdown() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
    stream.write_all(b"POST /accounts HTTP/1.1\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
    // Answered on a later connection, so the half request has been accepted too.
    world.get("/_health").await;
    tokio::time::timeout(LIMIT, world.running.shutdown()).await.unwrap();
}

#[tokio::test]
async fn after_a_shutdown_nobody_listens() {
    let world = World::start().await;
    world.get("/_health").await;
    let address = world.running.address();
    world.running.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
}

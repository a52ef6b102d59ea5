//! The chaos proxy does to connections what it says.

use std::time::{Duration, Instant};

use postworks::testing::chaos_proxy::{
    ChaosProxy, Cut, Door, Flow, Spring, Target, Trap, Way, Weather,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything on loopback takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);
/// Nothing that is on its way needs this long on loopback.
const QUIET: Duration = Duration::from_millis(150);

/// A server that says back what it hears, and what it heard in all to whoever asks with `?`.
async fn echo() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
                let _ = stream.write_all(b"bye").await;
            });
        }
    });
    Target::Tcp(address)
}

async fn proxy() -> (ChaosProxy, TcpStream) {
    let proxy = ChaosProxy::start(echo().await, 7).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

async fn heard(client: &mut TcpStream, length: usize) -> std::io::Result<String> {
    let mut answer = vec![0; length];
    tokio::time::timeout(LONG, client.read_exact(&mut answer)).await.expect("no answer")?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn asked(client: &mut TcpStream, words: &str) -> std::io::Result<String> {
    client.write_all(words.as_bytes()).await?;
    heard(client, words.len()).await
}

async fn is_quiet(client: &mut TcpStream) -> bool {
    tokio::time::timeout(QUIET, client.read_u8()).await.is_err()
}

#[tokio::test]
async fn everything_passes_until_something_is_changed() {
    let (proxy, mut client) = proxy().await;
    assert_eq!(asked(&mut client, "hello").await.unwrap(), "hello");
    assert_eq!((proxy.open(), proxy.accepted()), (1, 1));
    client.shutdown().await.unwrap();
    assert_eq!(heard(&mut client, 3).await.unwrap(), "bye", "a half-closed connection answers");
}

#[tokio::test]
async fn bytes_arrive_late_and_in_order() {
    let (proxy, mut client) = proxy().await;
    let delay = Duration::from_millis(60);
    proxy.set_both(Weather { delay, jitter: Duration::from_millis(20), flow: Flow::Pass });
    let start = Instant::now();
    for word in ["one ", "two ", "three"] {
        client.write_all(word.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(heard(&mut client, 13).await.unwrap(), "one two three");
    assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_held_arrives_once_the_way_is_open_again() {
    let (proxy, mut client) = proxy().await;
    assert_eq!(asked(&mut client, "a").await.unwrap(), "a");
    proxy.set(Way::ToServer, Weather::of(Flow::Hold));
    client.write_all(b"held").await.unwrap();
    assert!(is_quiet(&mut client).await);
    proxy.heal();
    assert_eq!(heard(&mut client, 4).await.unwrap(), "held");
}

#[tokio::test]
async fn a_connection_that_lost_bytes_is_reset_when_the_way_is_open_again() {
    let (proxy, mut client) = proxy().await;
    assert_eq!(asked(&mut client, "a").await.unwrap(), "a");
    proxy.set(Way::ToClient, Weather::of(Flow::Swallow));
    client.write_all(b"lost").await.unwrap();
    assert!(is_quiet(&mut client).await);
    proxy.heal();
    assert!(asked(&mut client, "more").await.is_err());
    let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(asked(&mut fresh, "fresh").await.unwrap(), "fresh");
}

#[tokio::test]
async fn connections_end_in_the_chosen_manner() {
    let (proxy, mut client) = proxy().await;
    assert_eq!(asked(&mut client, "a").await.unwrap(), "a");
    proxy.cut(Cut::HalfClose);
    assert_eq!(heard(&mut client, 3).await.unwrap(), "bye");

    for (how, clean) in [(Cut::Close, true), (Cut::Reset, false)] {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(asked(&mut client, "a").await.unwrap(), "a");
        proxy.cut(how);
        let ended = tokio::time::timeout(LONG, client.read(&mut [0; 1])).await.unwrap();
        assert_eq!(ended.is_ok(), clean, "{how:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_door_refuses_or_says_nothing() {
    let (proxy, mut client) = proxy().await;
    assert_eq!(asked(&mut client, "a").await.unwrap(), "a");
    proxy.go_away();
    assert!(asked(&mut client, "b").await.is_err());
    let refused = TcpStream::connect(proxy.address()).await;
    let refused = async { asked(&mut refused?, "c").await };
    assert!(refused.await.is_err());

    proxy.door(Door::Silent);
    let mut waiting = TcpStream::connect(proxy.address()).await.unwrap();
    waiting.write_all(b"anybody?").await.unwrap();
    assert!(is_quiet(&mut waiting).await);
    proxy.heal();
    assert!(heard(&mut waiting, 1).await.is_err(), "it never led anywhere");
}

#[tokio::test]
async fn an_answer_is_lost_after_the_server_has_acted() {
    let (proxy, mut client) = proxy().await;
    let trap = proxy.set_trap(Trap::new(Way::ToServer, "COMMIT", Spring::LoseAnswer).after(1));
    assert_eq!(asked(&mut client, "COMMIT").await.unwrap(), "COMMIT");
    client.write_all(b"COMMIT").await.unwrap();
    assert!(heard(&mut client, 1).await.is_err());
    tokio::time::timeout(LONG, trap.sprung()).await.unwrap();
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(asked(&mut next, "COMMIT").await.unwrap(), "COMMIT", "it springs once");
}

#[tokio::test]
async fn a_request_is_cut_in_the_middle_or_before() {
    let (proxy, mut client) = proxy().await;
    let trap = proxy.set_trap(Trap::new(Way::ToServer, "POST", Spring::StopAfter(3)));
    client.write_all(b"POST /posts and a body").await.unwrap();
    assert_eq!(heard(&mut client, 7).await.unwrap(), "POST /p");
    assert!(is_quiet(&mut client).await);
    assert_eq!(trap.count(), 1);

    proxy.set_trap(Trap::new(Way::ToServer, "DELETE", Spring::CutBefore));
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(asked(&mut client, "DELETE it").await.is_err());
}

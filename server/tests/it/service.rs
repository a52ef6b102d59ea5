//! Roles under systemd: what they tell it, on a socket as systemd has one.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;

use crate::fleet::{ANY, Client, Fleet, LONG, Process, until};

/// Waits until it is told this; answers what it was told before.
async fn told(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut before = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let received = tokio::time::timeout(LONG, socket.recv(&mut buffer)).await;
        let length = received.unwrap_or_else(|_| panic!("nobody says {wanted}: {before:?}"));
        let text = String::from_utf8_lossy(&buffer[..length.unwrap()]).trim().to_owned();
        if text == wanted {
            return before;
        }
        before.push(text);
    }
}

async fn lives_as_a_service(socket: &UnixDatagram, mut role: Process) {
    let before = told(socket, "READY=1").await;
    assert!(before.iter().all(|said| said == "WATCHDOG=1"), "{before:?}");
    for _ in 0..3 {
        told(socket, "WATCHDOG=1").await;
    }
    role.signal(Signal::SIGTERM);
    let before = told(socket, "STOPPING=1").await;
    assert!(before.iter().all(|said| said == "WATCHDOG=1"), "{before:?}");
    let (status, _) = role.ended(LONG).await;
    assert_eq!(status.code(), Some(0));
    // What it said on its way out is not the next one's.
    while socket.try_recv(&mut [0; 256]).is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_says_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let mut fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    fleet.set("NOTIFY_SOCKET", path.to_str().unwrap());
    fleet.set("WATCHDOG_USEC", &Duration::from_secs(3).as_micros().to_string());
    for role in [&["api", "--listen", ANY][..], &["worker"], &["up", "--listen", ANY]] {
        lives_as_a_service(&socket, fleet.command(role[0], role)).await;
    }
    // Its workers say nothing in its name.
    let mut up = fleet.command("up", &["up", "--listen", ANY, "--workers", "auto"]);
    told(&socket, "READY=1").await;
    let client = Client::new(&up.listening("api").await);
    until("a worker of its own", LONG, async || {
        client.http.get("/api/autoscale").await.expect(200)["workers"] == 1
    })
    .await;
    up.signal(Signal::SIGTERM);
    let before = told(&socket, "STOPPING=1").await;
    assert!(before.iter().all(|said| said == "WATCHDOG=1"), "{before:?}");
    up.ended(LONG).await;
}

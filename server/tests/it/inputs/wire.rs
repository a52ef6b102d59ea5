//! Bytes on a connection that are no good request; the server answers, or hangs up, and lives.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

/// Sends bytes and reads until the server hangs up or says nothing for a while.
async fn talk(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    // The server may answer and hang up before everything is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(Ok(count @ 1..)) =
        tokio::time::timeout(Duration::from_millis(700), stream.read(&mut buffer)).await
    {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    let head = "POST /api/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    format!("{head}{headers}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn a_body_that_is_announced_as_endless_is_refused_without_waiting_for_it() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let answer = talk(&url, &post("content-length: 1073741824\r\n", "")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let asks = post("content-length: 65537\r\nexpect: 100-continue\r\n", "");
    let answer = talk(&url, &asks).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn requests_that_are_none_are_answered_and_the_server_lives() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
        (b"GET\r\n\r\n", "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"POST /api/jobs HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", "400"),
        (
            b"POST /api/jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "400",
        ),
        (b"GET /api/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\x00b\r\n\r\n", "400"),
        (b"GET /api/jobs HTTP/1.1\r\nhost: evil.example\r\n\r\n", "403"),
        (b"GET http://evil.example/api/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "403"),
        (b"GET /api/jobs%00 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "404"),
        (b"TRACE /api/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "405"),
    ] {
        let answer = talk(&url, bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer:?}");
    }
    let many: String = (0..200).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let answer = talk(&url, &post(&many, "")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let good = post("content-length: 23\r\n", r#"{"kind":"data_cleanup"}"#);
    assert!(talk(&url, &good).await.starts_with("HTTP/1.1 202"), "the server lives");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let whole = post("content-length: 23\r\n", r#"{"kind":"data_cleanup"}"#);
    for cut in [10, whole.len() - 23, whole.len() - 1] {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(&whole[..cut]).await.unwrap();
        drop(stream);
    }
    let chunked = post("transfer-encoding: chunked\r\n", "zz\r\nnonsense");
    assert!(talk(&url, &chunked).await.starts_with("HTTP/1.1 400"));
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn a_compressed_body_is_no_json_rather_than_a_bomb() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("{url}/api/jobs"))
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

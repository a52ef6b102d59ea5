//! What workers call, and what they leave alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use crate::fleet::{ANY, Fleet, LONG, run};

const OFF: [&str; 3] = [
    "POSTWORKS__PLATFORMS__SANDBOX__ENABLED",
    "POSTWORKS__PLATFORMS__SANDBOX_LOOKUP__ENABLED",
    "POSTWORKS__PLATFORMS__SANDBOX_BLIND__ENABLED",
];

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_platform_that_is_switched_off_wait_until_it_is_on() {
    let mut fleet = Fleet::start().await;
    let waits = fleet.client.connect(&fleet.sandbox, "sandbox", 1).await;
    let runs = fleet.client.connect(&fleet.sandbox, "sandbox_blind", 1).await;
    fleet.set(OFF[0], "false");
    let _without = fleet.worker(&[]).await;
    let waiting = fleet.client.publish("it waits", &waits).await;
    let running = fleet.client.publish("it runs", &runs).await;
    fleet.client.until_published(&running, LONG).await;
    let job = waiting[0].job.as_str();
    assert_eq!(fleet.client.job(job).await["state"], "ready", "nobody took it");
    let why = run(&["job", "why", job], fleet.vars()).await;
    assert_eq!(why.code, 0, "{}", why.stderr);
    assert!(why.stdout.contains("sandbox is switched off here"), "{}", why.stdout);
    let workers = run(&["doctor"], fleet.vars()).await;
    assert!(!workers.stdout.contains("none serves"), "{}", workers.stdout);

    fleet.set(OFF[0], "true");
    let _with = fleet.worker(&[]).await;
    fleet.client.until_published(&waiting, LONG).await;
    assert_eq!(fleet.sandbox.journal().posts(), 2, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_nothing_but_switched_off_queues_does_not_start() {
    let mut fleet = Fleet::start().await;
    fleet.set(OFF[1], "false");
    let worker = ["worker", "--queues", "post_publication.sandbox_lookup"];
    let refused = run(&worker, fleet.vars()).await;
    assert_eq!(refused.code, 78, "{}", refused.stderr);
    assert!(refused.stderr.contains("enabled = true"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_serves_the_sandbox_to_others_is_warned() {
    let mut fleet = Fleet::start().await;
    fleet.set("POSTWORKS_AUTH", "on");
    let warned = async |fleet: &Fleet, listen: &str| {
        let mut api = fleet.command("api", &["api", "--listen", listen]);
        api.listening("api").await;
        api.log().contains("platforms for demos and tests are on")
    };
    assert!(warned(&fleet, "0.0.0.0:0").await);
    assert!(!warned(&fleet, ANY).await, "only this machine reaches it");
    for setting in OFF {
        fleet.set(setting, "false");
    }
    assert!(!warned(&fleet, "0.0.0.0:0").await, "they are off");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_asked() {
    let proxy = TcpListener::bind(ANY).await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while proxy.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut fleet = Fleet::start().await;
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        fleet.set(name, &address);
    }
    let _worker = fleet.worker(&[]).await;
    fleet.connect("sandbox", 2).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

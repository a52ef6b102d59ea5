//! What the API refuses comes back as what a producer can do about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use postworks::client::http::{Cancellation, Error, HttpOptions, HttpProducer};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ConnectorSync, JobId, Request, State, UniqueUntil, Uniqueness};
use postworks_server::auth::Role;
use serde_json::value::RawValue;

use super::{Far, cleanup, held, patient, request};
use crate::auth::guarded;
use crate::busy::until_refused;
use crate::world::{NOBODY, World};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The fields that are wrong.
#[track_caller]
fn fields(error: &Error) -> Vec<&str> {
    let Error::Invalid { errors, .. } = error else { panic!("{error:?}") };
    errors.iter().map(|error| error.field.as_str()).collect()
}

fn of_kind(kind: &str, args: &str) -> Request {
    let args = RawValue::from_string(args.to_owned()).unwrap();
    Request { kind: kind.to_owned(), args, policy: Default::default() }
}

#[tokio::test]
async fn everything_that_a_request_says_arrives() {
    let far = Far::start().await;
    let producer = far.producer(&patient());
    let mut request = request();
    request.policy.delay = Some(Duration::from_secs(600));
    request.policy.unique_key = Some("daily".to_owned());
    request.policy.priority_s = Some(60);
    request.policy.max_attempts = Some(7);
    request.policy.expires_at = Some(SystemClock.now().after(Duration::from_secs(7_200)));
    request.policy.trace = Some(TRACEPARENT.parse().unwrap());
    let made = producer.enqueue(&request).await.unwrap();
    assert_eq!((made.state, made.created), (State::Delayed, true));
    let job = producer.job(made.id).await.unwrap();
    let delay = job.run_at.since(job.created_at);
    assert_eq!(delay, Duration::from_secs(600));
    assert_eq!((job.kind.as_str(), job.max_attempts), ("data_cleanup", 7));
    assert_eq!(job.unique_key.as_deref(), Some("daily"));
    assert_eq!(job.expires_at, request.policy.expires_at);
    assert_eq!(job.trace_id.as_deref(), Some(&TRACEPARENT[3..35]));
    let row = far.world.node.ledger.job(made.id).await.unwrap().unwrap();
    assert_eq!(row.job.priority_s, 60);
    let again = producer.enqueue(&request).await.unwrap();
    assert_eq!((again.id, again.created), (made.id, false), "another request, the same unique key");
    let bulk = producer.enqueue_bulk(&[request.clone(), request]).await.unwrap();
    assert!(bulk.iter().all(|job| job.id == made.id && !job.created), "{bulk:?}");
}

#[tokio::test]
async fn how_a_key_is_held_arrives_and_who_was_replaced_comes_back() {
    let far = Far::start().await;
    let producer = far.producer(&patient());
    let mut edit = request();
    edit.policy.unique_key = Some("profile".to_owned());
    edit.policy.unique_until = Some(UniqueUntil::Started);
    edit.policy.debounce = Some(Duration::from_secs(600));
    edit.policy.max_delay = Some(Duration::from_secs(900));
    let made = producer.enqueue(&edit).await.unwrap();
    assert_eq!((made.state, made.created, made.replaced), (State::Delayed, true, false));
    let row = far.world.node.ledger.job(made.id).await.unwrap().unwrap().job;
    let until = row.created_at.after(Duration::from_secs(900));
    assert_eq!(row.uniqueness, Uniqueness::Debounced { until });
    let again = producer.enqueue(&edit).await.unwrap();
    assert_eq!((again.id, again.created, again.replaced), (made.id, false, true));
    let mut period = request();
    period.policy.unique_key = Some("report".to_owned());
    period.policy.unique_for = Some(Duration::from_secs(60));
    let bulk = producer.enqueue_bulk(&[edit, period]).await.unwrap();
    assert_eq!(bulk.iter().map(|job| job.replaced).collect::<Vec<_>>(), [true, false]);
    let row = far.world.node.ledger.job(bulk[1].id).await.unwrap().unwrap().job;
    let until = row.created_at.after(Duration::from_secs(60));
    assert_eq!(row.uniqueness, Uniqueness::For { until });
}

#[tokio::test]
async fn wrong_fields_come_back_by_their_names() {
    let far = Far::start().await;
    let producer = far.producer(&patient());
    let mut wrong = of_kind("token_refresh", r#"{"connector_id":7}"#);
    wrong.policy.priority_s = Some(9_999);
    wrong.policy.delay = Some(Duration::from_secs(1));
    wrong.policy.run_at = Some(SystemClock.now());
    let error = producer.enqueue(&wrong).await.unwrap_err();
    assert_eq!(fields(&error), ["/delay_ms", "/priority", "/args/connector_id"]);
    let nobody = ConnectorSync::of(NOBODY);
    let error = producer.enqueue_one(&nobody).await.unwrap_err();
    assert_eq!(fields(&error), ["/args/connector_id"]);
    let bulk = [request(), of_kind("data_clenup", "{}"), of_kind("data_cleanup", r#"{"x":1}"#)];
    let error = producer.enqueue_bulk(&bulk).await.unwrap_err();
    assert_eq!(fields(&error), ["/jobs/1/kind", "/jobs/2/args/x"]);
    let long = of_kind("data_cleanup", &format!(r#"{{"x":"{}"}}"#, "a".repeat(70_000)));
    let error = producer.enqueue(&long).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { detail, .. } if detail.contains("bytes")), "{error}");
    assert_eq!(far.world.jobs().await, 0);
}

#[tokio::test]
async fn a_bulk_is_taken_whole_or_refused_and_never_divided() {
    let far = Far::start().await;
    let asked = far.count();
    let producer = far.producer(&patient());
    assert_eq!(producer.enqueue_bulk(&vec![request(); 1_000]).await.unwrap().len(), 1_000);
    for jobs in [0, 1_001] {
        let error = producer.enqueue_bulk(&vec![request(); jobs]).await.unwrap_err();
        assert_eq!(fields(&error), ["/jobs"]);
        assert!(error.to_string().contains("all or none"), "{error}");
    }
    let mut traced = vec![request(); 2];
    traced[1].policy.trace = Some(TRACEPARENT.parse().unwrap());
    let error = producer.enqueue_bulk(&traced).await.unwrap_err();
    assert_eq!(fields(&error), ["/jobs/1/traceparent"]);
    for key in ["", "ä", "a\nb", &"k".repeat(256)] {
        let error = producer.keyed(key).enqueue(&request()).await.unwrap_err();
        assert_eq!(fields(&error), ["Idempotency-Key"], "{key:?}");
    }
    assert_eq!(asked.count(), 1, "the others never left");
}

#[tokio::test]
async fn who_may_not_is_told_so_and_the_key_is_told_to_nobody() {
    let (world, _clock) = guarded().await;
    let far = Far::over(world).await;
    let key = async |role| far.world.app.create_api_key(role, None).await.unwrap().key;
    let (may, looks) = (key(Role::Producer).await, key(Role::Readonly).await);
    let wrong = may.replace(&may[may.len() - 6..], "hushed");
    for key in [None, Some(wrong.as_str())] {
        let error = far.producer_as(key, &patient()).enqueue(&request()).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hushed"), "{error:?}");
    }
    let producer = far.producer_as(Some(&looks), &patient());
    assert!(!format!("{producer:?}").contains(&looks), "{producer:?}");
    let error = producer.enqueue(&request()).await.unwrap_err();
    assert!(matches!(&error, Error::Forbidden(words) if words.contains("readonly")), "{error:?}");
    let made = far.producer_as(Some(&may), &patient()).enqueue_one(&cleanup()).await.unwrap();
    assert_eq!(producer.job(made.id).await.unwrap().id, made.id);
    for secret in ["no\nheader", "ä\u{0}"] {
        let error = HttpProducer::new(&far.near, Some(secret.to_owned().into())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("header"), "{error:?}");
    }
}

#[tokio::test]
async fn a_job_is_cancelled_once_and_what_is_not_there_or_over_is_said() {
    let far = Far::start().await;
    let producer = far.producer(&patient());
    let nobody = JobId::from_uuid(NOBODY);
    assert!(matches!(producer.job(nobody).await, Err(Error::NotFound(_))));
    assert!(matches!(producer.cancel(nobody).await, Err(Error::NotFound(_))));
    let made = producer.enqueue(&request()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(producer.cancel(made.id).await.unwrap(), Cancellation::Cancelled);
    }
    assert_eq!(producer.job(made.id).await.unwrap().state, State::Cancelled);
    let done = far.world.enqueue().await;
    far.world.complete(done).await;
    let error = producer.cancel(done).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict(words) if words.contains("completed")), "{error:?}");
}

#[tokio::test]
async fn a_busy_api_is_asked_again_when_it_said_and_not_before() {
    let far = Far::over(World::with("[admission]\ndepth = 5").await).await;
    let _watch = far.world.watch_load();
    let first = far.world.enqueue().await;
    for _ in 0..4 {
        far.world.enqueue().await;
    }
    until_refused(&far.world, true).await;
    let asked = far.count();
    let options = HttpOptions { budget: Duration::from_secs(20), ..patient() };
    let busy = far.producer(&options).enqueue(&request()).await.unwrap_err();
    let Error::Busy { retry_after, cause } = &busy else { panic!("{busy:?}") };
    assert!((30..=45).contains(&retry_after.as_secs()), "{retry_after:?}");
    assert!(cause.starts_with("depth: "), "{cause}");
    assert_eq!(asked.count(), 1, "there is no time for what it said");

    let (producer, mut waits) = held(far.producer(&patient()));
    let asking = tokio::spawn(async move { producer.enqueue(&request()).await });
    let (span, go_on) = waits.recv().await.unwrap();
    assert!(span >= Duration::from_secs(30), "{span:?}");
    assert_eq!(asked.count(), 2);
    far.world.complete(first).await;
    until_refused(&far.world, false).await;
    go_on.send(()).unwrap();
    assert!(asking.await.unwrap().unwrap().created);
    assert_eq!(asked.count(), 3);
    assert_eq!(far.world.jobs().await, 6);
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let far = Far::over(World::with("[api]\nrate_limit = 1\nrate_burst = 1").await).await;
    let options = HttpOptions { budget: Duration::from_secs(1), ..patient() };
    let producer = far.producer(&options);
    let mut answer = producer.enqueue(&request()).await;
    while answer.is_ok() {
        answer = producer.enqueue(&request()).await;
    }
    let Err(Error::RateLimited { retry_after, .. }) = answer else { panic!("{answer:?}") };
    assert!((1..=2).contains(&retry_after.as_secs()), "{retry_after:?}");
}

/// A stand-in: no server of ours redirects or answers web pages.
#[tokio::test]
async fn a_key_does_not_follow_a_redirect_and_a_web_page_is_no_api() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let elsewhere = move |headers: HeaderMap| {
        assert!(!headers.contains_key(header::AUTHORIZATION));
        seen.fetch_add(1, Ordering::SeqCst);
        std::future::ready("<html>")
    };
    let serve = async |router: Router| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    };
    let target = serve(Router::new().fallback(elsewhere)).await;
    let location = [(header::LOCATION, target.clone())];
    let redirect = move || std::future::ready((StatusCode::TEMPORARY_REDIRECT, location.clone()));
    let redirects = serve(Router::new().fallback(redirect)).await;
    let producer = HttpProducer::new(&redirects, Some("hush".to_owned().into())).unwrap();
    let error = producer.enqueue(&request()).await.unwrap_err();
    assert!(matches!(&error, Error::Protocol(words) if words.contains("redirects")), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let page = HttpProducer::new(&target, None).unwrap();
    let error = page.enqueue(&request()).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it is not asked twice");
}

//! The sandbox's HTTP surface: which path leads where, and how an outcome becomes an answer.

mod accounts;
mod control;
mod oauth;
mod posts;
mod reading;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    clock::NowMs,
    error::ApiError,
    faults::{Outcome, Refusal, Then},
    platform::Platform,
    server::cut,
};

/// The largest body a request may have; the contract's 64 KiB.
pub(super) const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// What every request shares.
pub(super) struct Sandbox {
    pub(super) platform: Mutex<Platform>,
    pub(super) now_ms: NowMs,
    /// Cancelled at shutdown, which requests that wait or hang do not outlive.
    pub(super) stopping: CancellationToken,
}

impl Sandbox {
    /// Locks the platform. Each operation changes it only once nothing can fail any more, so a
    /// panic elsewhere leaves it usable.
    pub(super) fn platform(&self) -> MutexGuard<'_, Platform> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation. The time is read under the lock, so that it never runs backwards in
    /// the journal.
    fn operate<T>(&self, operation: impl FnOnce(&mut Platform, i64) -> T) -> T {
        let mut platform = self.platform();
        let now_ms = (self.now_ms)();
        operation(&mut platform, now_ms)
    }

    /// Answers as the fault rules have decided; `success` words the answer if there is one.
    async fn answer<T, B: Serialize>(
        &self,
        outcome: Outcome<T>,
        success: StatusCode,
        body: impl FnOnce(T) -> B,
    ) -> Response {
        let (value, then) = match outcome {
            Outcome::Refused(refusal) => return refused(refusal),
            Outcome::Cut => return cut(),
            Outcome::Applied(value, then) => (value, then),
        };
        match then {
            Then::Answer => {}
            Then::Cut => return cut(),
            Then::Hang => {
                self.stopping.cancelled().await;
                return cut();
            }
            Then::Wait(delay) => tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stopping.cancelled() => return cut(),
            },
        }
        (success, Json(body(value))).into_response()
    }
}

fn refused(refusal: Refusal) -> Response {
    let words = "a fault rule of the sandbox refused this request";
    let message = refusal.message.unwrap_or_else(|| words.to_owned());
    let mut response = ApiError::new(refusal.status, refusal.code, message).into_response();
    response.headers_mut().extend(refusal.headers);
    response
}

/// All routes.
pub(super) fn router(sandbox: Arc<Sandbox>) -> Router {
    let faults = get(control::show_faults).put(control::put_faults).delete(control::clear_faults);
    Router::new()
        .route("/accounts", post(accounts::create))
        .route("/oauth/token", post(oauth::token))
        .route("/oauth/revoke", post(oauth::revoke))
        .route("/accounts/{account}", get(reading::profile))
        .route("/posts/numbers", get(reading::numbers))
        .route("/posts", get(posts::list).post(posts::publish))
        .route("/_control/faults", faults)
        .route("/_control/journal", get(control::journal))
        .route("/_health", get(async || Json(json!({"status": "ok"}))))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such path"))
        .method_not_allowed_fallback(async || {
            let message = "this path has no such method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(sandbox)
}

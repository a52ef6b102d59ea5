//! `Idempotency-Key`: a request that is sent again is not done again.
//!
//! The first answer is kept for a day and given to whoever sends the same key with the same request;
//! with another request it is refused (422), and while the first is under way too (409). A request
//! that was begun is done to its end, also if its client is gone.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postworks::job::FieldError;
use postworks_workers::store::{Answered, Holding, Taken};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::Limits;
use super::entry::Acting;
use super::input::{bytes, decode, idempotency_key};
use super::problem::Problem;
use super::work::Work;
use crate::app::{App, Ended, RequestKey};

/// Beyond the longest time that a request may take, for its answer to be kept.
const KEEPING: Duration = Duration::from_secs(10);
/// Says that an answer was given before.
const REPLAYED: &str = "idempotent-replayed";

/// Answers a request that makes something: once, if it has a key.
pub(super) async fn once<T, B, F>(
    api: &Acting,
    request: Request,
    limit: usize,
    work: Work,
    make: impl FnOnce(App, T) -> F + Send + 'static,
) -> Result<Response, Problem>
where
    T: DeserializeOwned + Send,
    B: Serialize + Send,
    F: Future<Output = Result<(StatusCode, B), Problem>> + Send + 'static,
{
    let key = idempotency_key(request.headers())?;
    let line = format!("{} {}\n", request.method(), request.uri().path());
    let body = bytes(request, limit).await?;
    // Before the key is looked at: whoever is refused, and asks again, is answered then.
    work.must_be_taken(&api.app, &body)?;
    let Some(key) = key else {
        return Ok(sent(&answered(make(api.app.clone(), decode(&body)?).await?)?));
    };
    let asked = Sha256::new().chain_update(line).chain_update(&body).finalize().into();
    let key = RequestKey { key, asked };
    let holding = match api.app.take_request(&key, hold(api.limits)).await? {
        Taken::Ours(holding) => holding,
        Taken::Done(answered) => {
            let mut response = sent(&answered);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
        Taken::UnderWay(_) => return Err(Problem::under_way()),
        Taken::OfAnother => {
            let words = "came with another request before; every request needs a key of its own";
            return Err(Problem::fields(vec![FieldError::new("Idempotency-Key", words)]));
        }
    };
    let (app, limits) = (api.app.clone(), api.limits);
    // A task of its own: a client that goes away takes its future along.
    let task = tokio::spawn(async move {
        let made = async {
            let document = decode(&body)?;
            answered(make(app.repeating(&holding), document).await?)
        };
        let made = tokio::time::timeout(limits.request_timeout, made).await.unwrap_or_else(|_| {
            Err(Problem::unsure("no answer in time; what was asked may have been done"))
        });
        end(&app, &key, holding, &made).await;
        made
    });
    match task.await {
        Ok(made) => Ok(sent(&made?)),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::unsure("the request was cut off")),
        },
    }
}

fn hold(limits: Limits) -> Duration {
    limits.request_timeout + KEEPING
}

/// An answer that cannot be kept costs nothing but its repetition.
async fn end(app: &App, key: &RequestKey, holding: Holding, made: &Result<Answered, Problem>) {
    let ended = match made {
        Ok(answered) => Ended::Answered(answered.clone()),
        Err(problem) if problem.status < 500 => Ended::Refused,
        Err(_) => Ended::Failed,
    };
    if let Err(error) = app.end_request(key, holding, &ended).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the answer to a request with a key is not kept");
    }
}

fn answered((status, body): (StatusCode, impl Serialize)) -> Result<Answered, Problem> {
    let body = serde_json::to_string(&body).map_err(|error| {
        tracing::error!(%error, "an answer that cannot be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "an answer could not be written")
    })?;
    Ok(Answered { status: status.as_u16(), body })
}

fn sent(answered: &Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, answered.body.clone()).into_response()
}

//! The routes of publication sets: read the request, ask the application, write the answer.

use axum::Json;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::entry::By;
use super::input::{IdSegment, id, optional, query};
use super::problem::Problem;

type Answer = Result<Response, Problem>;

fn of(segment: IdSegment) -> Result<Uuid, Problem> {
    id("publication set", segment)
}

pub(super) async fn one(By(api): By, segment: IdSegment) -> Answer {
    Ok(Json(api.app.set(of(segment)?).await?).into_response())
}

pub(super) async fn cancel(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let set = of(segment)?;
    Ok(Json(api.app.cancel_set(set, &query(raw.as_deref())?).await?).into_response())
}

pub(super) async fn retry(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let (set, why) = (of(segment)?, optional(request, api.limits.body).await?);
    Ok((StatusCode::ACCEPTED, Json(api.app.retry_set(set, &why).await?)).into_response())
}

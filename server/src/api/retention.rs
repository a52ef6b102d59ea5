//! The routes of retention: read the request, ask the application, write the answer.

use axum::Json;
use axum::extract::{Path, RawQuery, Request};
use axum::response::{IntoResponse as _, Response};

use super::entry::By;
use super::input::{IdSegment, document, query};
use super::problem::Problem;

type Answer = Result<Response, Problem>;

/// A name that cannot be read is nobody's.
fn scope(segment: IdSegment) -> String {
    segment.map_or_else(|_| String::new(), |Path(name)| name)
}

pub(super) async fn list(By(api): By) -> Answer {
    Ok(Json(api.app.retention().await?).into_response())
}

pub(super) async fn set(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let (scope, set) = (scope(segment), document(request, api.limits.body).await?);
    Ok(Json(api.app.set_retention(&scope, &set).await?).into_response())
}

pub(super) async fn clear(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let why = query(raw.as_deref())?;
    Ok(Json(api.app.clear_retention(&scope(segment), &why).await?).into_response())
}

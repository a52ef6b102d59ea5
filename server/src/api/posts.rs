//! The routes of posts: read the request, ask the application, write the answer.

use axum::Json;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::entry::By;
use super::input::{IdSegment, document, id, query};
use super::once::once;
use super::problem::Problem;
use super::work::Work;

type Answer = Result<Response, Problem>;

pub(super) async fn add(By(api): By, request: Request) -> Answer {
    once(&api, request, api.limits.body, Work::Nothing, |app, post| async move {
        Ok((StatusCode::CREATED, app.add_post(&post).await?))
    })
    .await
}

pub(super) async fn list(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    Ok(Json(api.app.posts(&query(raw.as_deref())?).await?).into_response())
}

pub(super) async fn revise(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let post = id::<Uuid>("post", segment)?;
    let wanted = document(request, api.limits.body).await?;
    Ok(Json(api.app.revise_post(post, &wanted).await?).into_response())
}

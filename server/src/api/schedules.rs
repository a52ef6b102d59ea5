//! The routes of schedules: read the request, ask the application, write the answer.

use axum::Json;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::entry::By;
use super::input::{IdSegment, document, id, optional, query};
use super::problem::Problem;
use super::work::Work;

type Answer = Result<Response, Problem>;

fn of(segment: IdSegment) -> Result<Uuid, Problem> {
    id("schedule", segment)
}

pub(super) async fn list(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    Ok(Json(api.app.schedules(&query(raw.as_deref())?).await?).into_response())
}

pub(super) async fn add(By(api): By, request: Request) -> Answer {
    let schedule = document(request, api.limits.body).await?;
    Ok((StatusCode::CREATED, Json(api.app.add_schedule(schedule).await?)).into_response())
}

pub(super) async fn one(By(api): By, segment: IdSegment) -> Answer {
    Ok(Json(api.app.schedule(of(segment)?).await?).into_response())
}

pub(super) async fn next(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let schedule = of(segment)?;
    Ok(Json(api.app.next_times(schedule, &query(raw.as_deref())?).await?).into_response())
}

pub(super) async fn last(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let schedule = of(segment)?;
    Ok(Json(api.app.last_times(schedule, &query(raw.as_deref())?).await?).into_response())
}

pub(super) async fn pause(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let (schedule, why) = (of(segment)?, optional(request, api.limits.body).await?);
    Ok(Json(api.app.pause_schedule(schedule, &why).await?).into_response())
}

pub(super) async fn resume(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let (schedule, why) = (of(segment)?, optional(request, api.limits.body).await?);
    Ok(Json(api.app.resume_schedule(schedule, &why).await?).into_response())
}

pub(super) async fn run(By(api): By, segment: IdSegment, request: Request) -> Answer {
    Work::Job.must_be_taken(&api.app, b"{}")?;
    let (schedule, why) = (of(segment)?, optional(request, api.limits.body).await?);
    Ok((StatusCode::ACCEPTED, Json(api.app.run_schedule(schedule, &why).await?)).into_response())
}

pub(super) async fn remove(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let schedule = of(segment)?;
    Ok(Json(api.app.remove_schedule(schedule, &query(raw.as_deref())?).await?).into_response())
}

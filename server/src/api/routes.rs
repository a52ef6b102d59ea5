//! One function a route: read the request, ask the application, write the answer.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postworks::job::JobId;
use uuid::Uuid;

use super::entry::By;
use super::input::{IdSegment, document, id, name, optional, query, traceparent};
use super::once::once;
use super::problem::Problem;
use super::work::Work;
use crate::app::types::{EnqueueBulk, EnqueueJob, Publish};

type Answer = Result<Response, Problem>;

fn ok(body: impl serde::Serialize) -> Answer {
    Ok(Json(body).into_response())
}

fn with(status: StatusCode, body: impl serde::Serialize) -> Answer {
    Ok((status, Json(body)).into_response())
}

pub(super) async fn enqueue(By(api): By, request: Request) -> Answer {
    let trace = traceparent(request.headers());
    once(&api, request, api.limits.body, Work::Job, move |app, job: EnqueueJob| async move {
        let enqueued = app.enqueue(EnqueueJob { trace, ..job }).await?;
        Ok((if enqueued.created { StatusCode::ACCEPTED } else { StatusCode::OK }, enqueued))
    })
    .await
}

pub(super) async fn enqueue_bulk(By(api): By, request: Request) -> Answer {
    let trace = traceparent(request.headers());
    once(
        &api,
        request,
        api.limits.bulk_body,
        Work::Jobs,
        move |app, mut bulk: EnqueueBulk| async move {
            bulk.jobs.iter_mut().for_each(|job| job.trace = trace);
            Ok((StatusCode::ACCEPTED, app.enqueue_bulk(bulk).await?))
        },
    )
    .await
}

pub(super) async fn job(By(api): By, segment: IdSegment) -> Answer {
    ok(api.app.job(id::<JobId>("job", segment)?).await?)
}

pub(super) async fn jobs(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.jobs(&query(raw.as_deref())?).await?)
}

pub(super) async fn cancel(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.cancel(id::<JobId>("job", segment)?, &query(raw.as_deref())?).await?)
}

pub(super) async fn add_connector(By(api): By, request: Request) -> Answer {
    let connector = document(request, api.limits.body).await?;
    with(StatusCode::CREATED, api.app.add_connector(connector).await?)
}

pub(super) async fn connectors(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.connectors(&query(raw.as_deref())?).await?)
}

pub(super) async fn disconnect(By(api): By, segment: IdSegment, RawQuery(raw): RawQuery) -> Answer {
    let connector = id::<Uuid>("connector", segment)?;
    ok(api.app.disconnect(connector, &query(raw.as_deref())?).await?)
}

pub(super) async fn events(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.events(&query(raw.as_deref())?).await?)
}

pub(super) async fn sync(By(api): By, headers: HeaderMap, segment: IdSegment) -> Answer {
    Work::Job.must_be_taken(&api.app, b"{}")?;
    let connector = id::<Uuid>("connector", segment)?;
    let enqueued = api.app.sync(connector, traceparent(&headers)).await?;
    with(if enqueued.created { StatusCode::ACCEPTED } else { StatusCode::OK }, enqueued)
}

pub(super) async fn publish(By(api): By, request: Request) -> Answer {
    let trace = traceparent(request.headers());
    once(
        &api,
        request,
        api.limits.body,
        Work::Publications,
        move |app, publish: Publish| async move {
            Ok((StatusCode::ACCEPTED, app.publish(&Publish { trace, ..publish }).await?))
        },
    )
    .await
}

pub(super) async fn publication(By(api): By, segment: IdSegment) -> Answer {
    ok(api.app.publication(id::<Uuid>("publication", segment)?).await?)
}

pub(super) async fn dead_letters(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.dead_letters(&query(raw.as_deref())?).await?)
}

pub(super) async fn dead_letter(By(api): By, segment: IdSegment) -> Answer {
    ok(api.app.dead_letter(id::<JobId>("dead letter", segment)?).await?)
}

pub(super) async fn dlq_retry(By(api): By, request: Request) -> Answer {
    let retry = document(request, api.limits.body).await?;
    with(StatusCode::ACCEPTED, api.app.dlq_retry(&retry).await?)
}

pub(super) async fn dlq_discard(By(api): By, request: Request) -> Answer {
    let discard = document(request, api.limits.body).await?;
    with(StatusCode::ACCEPTED, api.app.dlq_discard(&discard).await?)
}

pub(super) async fn dlq_edit(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let id = id::<JobId>("dead letter", segment)?;
    // Room for the arguments of the largest job and what is around them.
    let edit = document(request, 2 * api.limits.body).await?;
    with(StatusCode::ACCEPTED, api.app.dlq_edit(id, &edit).await?)
}

pub(super) async fn dead_groups(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.dead_groups(&query(raw.as_deref())?).await?)
}

/// JSON lines, read from the ledger as fast as the caller reads them.
pub(super) async fn dlq_export(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    let export = api.app.export(&query(raw.as_deref())?).await?;
    let lines = futures_util::stream::try_unfold(export, |mut export| async move {
        // The status is sent; a connection that breaks off is what tells the caller.
        Ok::<_, crate::app::Error>(export.next().await?.map(|lines| (lines, export)))
    });
    let content_type = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((content_type, Body::from_stream(lines)).into_response())
}

pub(super) async fn redrives(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.redrives(&query(raw.as_deref())?).await?)
}

pub(super) async fn redrive(By(api): By, segment: IdSegment) -> Answer {
    ok(api.app.redrive(id::<Uuid>("redrive", segment)?).await?)
}

pub(super) async fn stop_redrive(
    By(api): By,
    segment: IdSegment,
    RawQuery(raw): RawQuery,
) -> Answer {
    let id = id::<Uuid>("redrive", segment)?;
    ok(api.app.stop_redrive(id, &query(raw.as_deref())?).await?)
}

pub(super) async fn effects(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.effects(&query(raw.as_deref())?).await?)
}

pub(super) async fn resolve_effect(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let id = id::<Uuid>("publication", segment)?;
    let resolve = document(request, api.limits.body).await?;
    ok(api.app.resolve_effect(id, &resolve).await?)
}

pub(super) async fn audits(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.audits(&query(raw.as_deref())?).await?)
}

pub(super) async fn queues(By(api): By) -> Answer {
    ok(api.app.queues().await?)
}

pub(super) async fn why(By(api): By, segment: IdSegment) -> Answer {
    ok(api.app.why(id::<JobId>("job", segment)?).await?)
}

pub(super) async fn pause(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let why = optional(request, api.limits.body).await?;
    ok(api.app.pause(&name(segment), &why).await?)
}

pub(super) async fn resume(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let why = optional(request, api.limits.body).await?;
    ok(api.app.resume(&name(segment), &why).await?)
}

pub(super) async fn autoscale(By(api): By, RawQuery(raw): RawQuery) -> Answer {
    ok(api.app.autoscale(&query(raw.as_deref())?).await?)
}

pub(super) async fn scrape_targets(By(api): By) -> Answer {
    ok(api.app.scrape_targets().await?)
}

pub(super) async fn gates(By(api): By) -> Answer {
    ok(api.app.gates().await?)
}

pub(super) async fn open_breaker(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let why = optional(request, api.limits.body).await?;
    ok(api.app.open_breaker(&name(segment), &why).await?)
}

pub(super) async fn close_breaker(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let why = optional(request, api.limits.body).await?;
    ok(api.app.close_breaker(&name(segment), &why).await?)
}

pub(super) async fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")
}

pub(super) async fn no_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
}

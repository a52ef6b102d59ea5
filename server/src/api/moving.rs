//! The routes that move what is to be published: read the request, ask the application, write the
//! answer.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::entry::By;
use super::input::{IdSegment, document, id};
use super::problem::Problem;

type Answer = Result<Response, Problem>;

pub(super) async fn publication(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let publication = id::<Uuid>("publication", segment)?;
    let wanted = document(request, api.limits.body).await?;
    Ok(Json(api.app.move_publication(publication, &wanted).await?).into_response())
}

pub(super) async fn post(By(api): By, segment: IdSegment, request: Request) -> Answer {
    let post = id::<Uuid>("post", segment)?;
    let wanted = document(request, api.limits.body).await?;
    Ok(Json(api.app.move_post(post, &wanted).await?).into_response())
}

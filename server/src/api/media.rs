//! The routes of images, whose bodies are the images themselves.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, body};
use postworks_workers::platforms::ImageKind;
use uuid::Uuid;

use super::Api;
use super::entry::By;
use super::input::{IdSegment, id, raw};
use super::problem::Problem;

/// Images that are taken in at once, each of them whole in memory.
pub(super) const UPLOADS_MAX: usize = 16;
/// What images may be said to be. What they are, they say themselves.
pub(super) const TYPES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Whatever a browser makes of the bytes, it is a picture.
const NO_SNIFFING: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
const NO_PAGE: (HeaderName, &str) =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
/// What is at the address of an image never changes.
const KEPT: &str = "max-age=31536000, immutable";

type Answer = Result<Response, Problem>;

pub(super) async fn add(State(api): State<Api>, By(acting): By, request: Request) -> Answer {
    let Ok(_place) = api.uploads.try_acquire() else {
        let cause = format!("uploads: {UPLOADS_MAX} images are being taken in, which is the most");
        return Err(Problem::busy(cause));
    };
    let is_image = is_image(request.headers());
    // The rest of a request's time is for keeping it.
    let timeout = acting.limits.request_timeout * 4 / 5;
    let image = raw(request, acting.limits.media, timeout).await?;
    if !is_image {
        let words = format!("send an image, with its content-type: {}", TYPES.join(", "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    Ok((StatusCode::CREATED, Json(acting.app.add_media(&image).await?)).into_response())
}

pub(super) async fn show(By(acting): By, segment: IdSegment) -> Answer {
    let found = acting.app.media(id::<Uuid>("media", segment)?).await?;
    Ok(picture(found, "private"))
}

/// For platforms, which fetch images themselves.
pub(super) async fn show_public(
    State(api): State<Api>,
    segments: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    // An id that is none is signed by nobody either.
    let (id, signature) = segments.map_or_else(|_| Default::default(), |Path(both)| both);
    let id = id.parse().unwrap_or(Uuid::nil());
    Ok(picture(api.app.public_media(id, &signature).await?, "public"))
}

fn is_image(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|said| said.split(';').next()).map(str::trim);
    said.is_some_and(|said| TYPES.iter().any(|of| of.eq_ignore_ascii_case(said)))
}

fn picture((kind, bytes): (ImageKind, body::Bytes), whose: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind.mime().to_owned()),
        (header::CACHE_CONTROL, format!("{whose}, {KEPT}")),
    ];
    (headers, [NO_SNIFFING, NO_PAGE], bytes).into_response()
}

//! A post's images: uploaded before it, and seen by nobody until it is there.

use std::time::Duration;

use http::Method;
use postworks::job::{ErrorClass, JobError};
use secrecy::ExposeSecret as _;
use url::Url;

use super::kept::{Kept, Uploaded};
use super::wire::{ImageState, Initialized, NewImage, Owner};
use super::{API, LinkedInClient, with_segment};
use crate::platforms::call::{Call, Step};
use crate::platforms::http::endpoint;
use crate::platforms::{Account, Bearer, Image, Outgoing, Preparation, Prepared};

/// How long an image that is worked on is left alone.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// One that failed, or is still worked on, is uploaded again after this: it would stay as it is.
const WORKED_ON: Duration = Duration::from_secs(60 * 60);

/// How far LinkedIn is with an image.
enum State {
    Ready,
    Works,
    Failed,
}

impl LinkedInClient {
    /// Takes the next step towards a post's images being ready. One image a run, each kept before the
    /// next: a worker that ends loses one.
    pub(super) async fn upload_next(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        mut kept: Kept,
    ) -> Result<Preparation, JobError> {
        let now = self.http.now();
        if let Some(image) = post.images.get(kept.images.len()) {
            kept.images.push(self.upload(by, &kept.author, image).await?);
            return kept.so_far(now);
        }
        for (at, image) in post.images.iter().enumerate() {
            let Uploaded { urn, made_at } = &kept.images[at];
            let state = self.state(by, urn).await?;
            if matches!(state, State::Ready) {
                continue;
            }
            if now.since(*made_at) > WORKED_ON {
                kept.images[at] = self.upload(by, &kept.author, image).await?;
                return kept.so_far(now);
            }
            if matches!(state, State::Works) {
                return kept.so_far(now.after(ASKED_AGAIN_AFTER));
            }
            let words = format!("LinkedIn could not process image {} of the post", at + 1);
            return Err(by.call(API, Step::Upload).error(ErrorClass::Invalid, &words));
        }
        Ok(Preparation::Ready(Prepared::of(&kept)?))
    }

    /// Uploads an image to where LinkedIn says.
    async fn upload(
        &self,
        by: Bearer<'_>,
        owner: &str,
        image: &Image,
    ) -> Result<Uploaded, JobError> {
        // First: an upload that is begun and gets nothing is left over.
        let bytes = image.bytes.read().await?;
        let made_at = self.http.now();
        let call = by.call(API, Step::Upload);
        let mut url = endpoint(&by.account.base_url, "rest/images");
        url.set_query(Some("action=initializeUpload"));
        let body = NewImage { initialize_upload_request: Owner { owner } };
        let request = self.request(by, Method::POST, url).json(&body);
        let Initialized { value } = self.http.value(call, request).await?;
        let to = address(&value.upload_url, by.account, call)?;
        // Unlike videos, images want the token there, too.
        let request = self
            .http
            .request(Method::PUT, to)
            .bearer_auth(by.access.expose_secret())
            .header(http::header::CONTENT_TYPE, image.kind.mime())
            .body(bytes);
        self.http.done(call, request).await?;
        Ok(Uploaded { urn: value.image, made_at })
    }

    /// How far an image is. A token that may post need not be one that may look: then it is taken as
    /// it is.
    async fn state(&self, by: Bearer<'_>, image: &str) -> Result<State, JobError> {
        let call = by.call(API, Step::Read);
        let url = with_segment(endpoint(&by.account.base_url, "rest/images"), image);
        let answer = self.http.send(call, self.request(by, Method::GET, url)).await?;
        if answer.status == http::StatusCode::FORBIDDEN {
            return Ok(State::Ready);
        }
        let state: ImageState = answer.value(call)?;
        Ok(match state.status.as_deref() {
            Some("PROCESSING" | "WAITING_UPLOAD") => State::Works,
            Some("PROCESSING_FAILED") => State::Failed,
            _ => State::Ready,
        })
    }
}

/// Where an image goes, and the account's token with it: to nobody but LinkedIn.
pub(super) fn address(named: &str, account: &Account, call: Call<'_>) -> Result<Url, JobError> {
    let Ok(to) = named.parse::<Url>() else {
        return Err(call.error(ErrorClass::Invalid, "the address for an image is none"));
    };
    let host = to.host_str().unwrap_or_default();
    let is_theirs = Some(host) == account.base_url.host_str() || host.ends_with(".linkedin.com");
    if to.origin() == account.base_url.origin() || (to.scheme() == "https" && is_theirs) {
        return Ok(to);
    }
    let words = format!(
        "an image was to go to {}://{host}, which is not LinkedIn's; it got neither the image nor \
         the account's token",
        to.scheme()
    );
    Err(call.error(ErrorClass::Invalid, &words))
}

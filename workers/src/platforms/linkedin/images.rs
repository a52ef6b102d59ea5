//! A post's images: uploaded before it, and seen by nobody until it is there.

use std::slice;
use std::time::Duration;

use http::Method;
use postworks::job::{ErrorClass, JobError};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::errors::TABLE;
use super::kept::{Kept, Uploaded};
use super::wire::{ImageState, Initialized, NewImage, Owner};
use super::{LinkedInClient, with_segment};
use crate::platforms::call::{Call, Step};
use crate::platforms::http::endpoint;
use crate::platforms::{Account, Image, Outgoing, Preparation, Prepared};

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
        account: &Account,
        access: &SecretString,
        post: &Outgoing,
        mut kept: Kept,
    ) -> Result<Preparation, JobError> {
        let now = self.clock.now();
        if let Some(image) = post.images.get(kept.images.len()) {
            kept.images.push(self.upload(account, access, &kept.author, image).await?);
            return kept.so_far(now);
        }
        for (at, image) in post.images.iter().enumerate() {
            let Uploaded { urn, made_at } = &kept.images[at];
            let state = self.state(account, access, urn).await?;
            if matches!(state, State::Ready) {
                continue;
            }
            if now.since(*made_at) > WORKED_ON {
                kept.images[at] = self.upload(account, access, &kept.author, image).await?;
                return kept.so_far(now);
            }
            if matches!(state, State::Works) {
                return kept.so_far(now.after(ASKED_AGAIN_AFTER));
            }
            let words = format!("LinkedIn could not process image {} of the post", at + 1);
            let call = Self::call(account, Step::Upload, &[]);
            return Err(call.error(ErrorClass::Invalid, &words));
        }
        Ok(Preparation::Ready(Prepared::of(&kept)?))
    }

    /// Uploads an image to where LinkedIn says.
    async fn upload(
        &self,
        account: &Account,
        access: &SecretString,
        owner: &str,
        image: &Image,
    ) -> Result<Uploaded, JobError> {
        let made_at = self.clock.now();
        let call = Self::call(account, Step::Upload, slice::from_ref(&access));
        let mut url = endpoint(&account.base_url, "rest/images");
        url.set_query(Some("action=initializeUpload"));
        let body = NewImage { initialize_upload_request: Owner { owner } };
        let request = self.request(Method::POST, url, access).json(&body);
        let answer = self.http.send(call, request).await?;
        let Initialized { value } = self.value(call, &answer)?;
        let to = address(&value.upload_url, account, call)?;
        // Unlike videos, images want the token there, too.
        let request = self
            .http
            .request(Method::PUT, to)
            .bearer_auth(access.expose_secret())
            .header(http::header::CONTENT_TYPE, image.kind.mime())
            .body(image.bytes.clone());
        let answer = self.http.send(call, request).await?;
        answer.success(call, &TABLE, self.clock.as_ref())?;
        Ok(Uploaded { urn: value.image, made_at })
    }

    /// How far an image is. A token that may post need not be one that may look: then it is taken as
    /// it is.
    async fn state(
        &self,
        account: &Account,
        access: &SecretString,
        image: &str,
    ) -> Result<State, JobError> {
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let url = with_segment(endpoint(&account.base_url, "rest/images"), image);
        let answer = self.http.send(call, self.request(Method::GET, url, access)).await?;
        if answer.status == http::StatusCode::FORBIDDEN {
            return Ok(State::Ready);
        }
        let state: ImageState = self.value(call, &answer)?;
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

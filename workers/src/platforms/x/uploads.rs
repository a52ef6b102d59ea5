//! Images that X holds ready for a post.
//!
//! An image is uploaded in one request, then described in another. An upload is nobody's to see, and
//! forgotten after a day: it is made again then, as after any doubt.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use postworks::job::{ErrorClass, JobError, Timestamp};
use serde::{Deserialize, Serialize};

use super::wire::{AltText, Described, Envelope, Metadata, NewMedia, Processing, Uploaded};
use super::{API, XClient};
use crate::platforms::call::Step;
use crate::platforms::uploads::Uploads;
use crate::platforms::{Bearer, Image, ImageKind, Outgoing, Preparation, Prepared};

/// An upload that ends sooner is made again: there is an attempt to be made with it.
const MARGIN: Duration = Duration::from_secs(10 * 60);
/// How long an upload is good for if X does not say: the least that its guide shows.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// An upload that failed, or is still worked on, is made again after this: it would stay as it is.
const WORKED_ON: Duration = Duration::from_secs(60 * 60);
/// When to ask again whether an upload is ready, if X does not say.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// An image that X holds ready.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) id: String,
    /// Long ago, if that is not kept.
    #[serde(default)]
    made_at: Timestamp,
    /// X forgets it then.
    ends: Timestamp,
    /// X has finished with it.
    ready: bool,
    /// It has its description, or needs none.
    described: bool,
}

/// How far X is with an upload.
enum Progress {
    Done,
    /// Ask again then.
    Works(Timestamp),
    Failed,
}

fn failed(by: Bearer<'_>, at: usize) -> JobError {
    let words = format!("X could not make anything of image {} of the post", at + 1);
    by.call(API, Step::Upload).error(ErrorClass::Invalid, &words)
}

impl XClient {
    /// Takes the next step towards a post's images being ready.
    pub(super) async fn upload_next(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: &Prepared,
    ) -> Result<Preparation, JobError> {
        let now = self.http.now();
        let mut uploads = Uploads::<Upload>::kept(so_far)?;
        for (at, image) in post.images.iter().enumerate() {
            let kept = uploads.media.get(at).filter(|kept| kept.ends > now.after(MARGIN)).cloned();
            let next = match kept {
                None => self.upload(by, image).await?,
                Some(kept) if !kept.ready => match self.progress(by, &kept).await? {
                    Progress::Done => Upload { ready: true, ..kept },
                    _ if now.since(kept.made_at) > WORKED_ON => self.upload(by, image).await?,
                    Progress::Works(until) => return uploads.so_far(until),
                    Progress::Failed => return Err(failed(by, at)),
                },
                Some(kept) if !kept.described => {
                    self.describe(by, &kept, image).await?;
                    Upload { described: true, ..kept }
                }
                Some(_) => continue,
            };
            uploads.media.truncate(post.images.len());
            uploads.put(at, next);
            return uploads.so_far(now);
        }
        uploads.ready()
    }

    async fn upload(&self, by: Bearer<'_>, image: &Image) -> Result<Upload, JobError> {
        let call = by.call(API, Step::Upload);
        let media_category = if image.kind == ImageKind::Gif { "tweet_gif" } else { "tweet_image" };
        let file = image.bytes.read().await?;
        // Before sending, so that an upload never seems to last longer than it does.
        let asked_at = self.http.now();
        // No copy of it is kept but the request's.
        let request = self
            .http
            .request_by(by, Method::POST, "2/media/upload")
            .json(&NewMedia { media: STANDARD.encode(file), media_category });
        let Envelope { data } = self.http.value::<Envelope<Uploaded>>(call, request).await?;
        let Uploaded { id, expires_after_secs, processing_info } = data;
        let kept = expires_after_secs.filter(|s| *s > 0).map_or(KEPT, Duration::from_secs);
        Ok(Upload {
            id,
            made_at: asked_at,
            ends: asked_at.after(kept.min(KEPT)),
            ready: processing_info.is_none_or(|info| info.state == "succeeded"),
            described: image.alt.trim().is_empty(),
        })
    }

    /// How far an upload is.
    async fn progress(&self, by: Bearer<'_>, kept: &Upload) -> Result<Progress, JobError> {
        let call = by.call(API, Step::Upload);
        let request = self
            .http
            .request_by(by, Method::GET, "2/media/upload")
            .query(&[("command", "STATUS"), ("media_id", &kept.id)]);
        let Envelope { data } = self.http.value::<Envelope<Uploaded>>(call, request).await?;
        match data.processing_info {
            Some(Processing { state, .. }) if state == "failed" => Ok(Progress::Failed),
            Some(Processing { state, check_after_secs }) if state != "succeeded" => {
                let wait = check_after_secs.map_or(ASK_AGAIN, Duration::from_secs);
                Ok(Progress::Works(self.http.now().after(wait.max(ASK_AGAIN))))
            }
            _ => Ok(Progress::Done),
        }
    }

    async fn describe(&self, by: Bearer<'_>, kept: &Upload, image: &Image) -> Result<(), JobError> {
        let call = by.call(API, Step::Upload);
        let metadata = Metadata { alt_text: AltText { text: &image.alt } };
        let body = Described { id: &kept.id, metadata };
        let request = self.http.request_by(by, Method::POST, "2/media/metadata").json(&body);
        self.http.done(call, request).await
    }
}

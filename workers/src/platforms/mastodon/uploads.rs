//! Images that a server holds ready for a status.
//!
//! A server may take its time with one. What no status refers to is forgotten after a day
//! (`app/lib/vacuum/media_attachments_vacuum.rb`): it is uploaded again then, as after any doubt.

use std::time::Duration;

use http::{Method, StatusCode};
use postworks::job::{JobError, Timestamp};
use reqwest::multipart::Form;
use serde::{Deserialize, Serialize};

use super::wire::Attachment;
use super::{API, MastodonClient};
use crate::platforms::call::Step;
use crate::platforms::uploads::Uploads;
use crate::platforms::{Bearer, Image, Outgoing, Preparation, Prepared};

/// An upload is taken for forgotten some hours before it is.
const KEPT: Duration = Duration::from_secs(20 * 60 * 60);
/// When to ask again whether an upload is ready.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// An image that the server holds ready.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) id: String,
    /// The server may forget it then.
    ends: Timestamp,
    /// The server has finished with it.
    ready: bool,
}

impl MastodonClient {
    /// Takes the next step towards a status' images being ready.
    pub(super) async fn upload_next(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: &Prepared,
    ) -> Result<Preparation, JobError> {
        let now = self.http.now();
        let mut uploads = Uploads::<Upload>::kept(so_far)?;
        for (at, image) in post.images.iter().enumerate() {
            let kept = uploads.media.get(at).filter(|kept| kept.ends > now).cloned();
            let next = match kept {
                None => self.upload(by, image).await?,
                Some(kept) if !kept.ready => match self.progress(by, kept).await? {
                    Some(next) => next,
                    None => return uploads.so_far(now.after(ASK_AGAIN)),
                },
                Some(_) => continue,
            };
            uploads.put(at, next);
            return uploads.so_far(now);
        }
        uploads.ready()
    }

    async fn upload(&self, by: Bearer<'_>, image: &Image) -> Result<Upload, JobError> {
        let call = by.call(API, Step::Upload);
        let mut form = Form::new().part("file", image.part(call).await?);
        if !image.alt.is_empty() {
            form = form.text("description", image.alt.clone());
        }
        let ends = self.http.now().after(KEPT);
        let request = self.http.request_by(by, Method::POST, "api/v2/media").multipart(form);
        let answer = self.http.send(call, request).await?;
        let made: Attachment = answer.value(call)?;
        // 202: it goes on working on it.
        Ok(Upload { id: made.id, ends, ready: answer.status == StatusCode::OK })
    }

    /// What has become of an upload: it is ready, or gone; `None` if the server still works on it.
    async fn progress(&self, by: Bearer<'_>, kept: Upload) -> Result<Option<Upload>, JobError> {
        let call = by.call(API, Step::Upload);
        let path = format!("api/v1/media/{}", kept.id);
        let request = self.http.request_by(by, Method::GET, &path);
        let answer = self.http.send(call, request).await?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => Ok(None),
            StatusCode::NOT_FOUND => Ok(Some(Upload { ends: self.http.now(), ..kept })),
            _ => {
                answer.success(call)?;
                Ok(Some(Upload { ready: true, ..kept }))
            }
        }
    }
}

//! A post's images: uploaded before it, and seen by nobody until it is there.

use std::slice;

use http::Method;
use postworks::job::{ErrorClass, JobError};
use secrecy::{ExposeSecret as _, SecretString};

use super::errors::TABLE;
use super::wire::{ImageState, Initialized, NewImage, Owner};
use super::{LinkedInClient, with_segment};
use crate::platforms::call::Step;
use crate::platforms::http::endpoint;
use crate::platforms::{Account, Image};

impl LinkedInClient {
    /// Uploads an image to where LinkedIn says; answers its URN.
    pub(super) async fn upload(
        &self,
        account: &Account,
        access: &SecretString,
        owner: &str,
        image: &Image,
    ) -> Result<String, JobError> {
        let call = Self::call(account, Step::Upload, slice::from_ref(&access));
        let mut url = endpoint(&account.base_url, "rest/images");
        url.set_query(Some("action=initializeUpload"));
        let body = NewImage { initialize_upload_request: Owner { owner } };
        let request = self.request(Method::POST, url, access).json(&body);
        let answer = self.http.send(call, request).await?;
        let Initialized { value } = self.value(call, &answer)?;
        let Ok(to) = value.upload_url.parse() else {
            return Err(call.error(ErrorClass::Invalid, "the address for an image is none"));
        };
        // Another host's; unlike videos, images want the token there, too.
        let request = self
            .http
            .request(Method::PUT, to)
            .bearer_auth(access.expose_secret())
            .header(http::header::CONTENT_TYPE, image.kind.mime())
            .body(image.bytes.clone());
        let answer = self.http.send(call, request).await?;
        answer.success(call, &TABLE, self.clock.as_ref())?;
        Ok(value.image)
    }

    /// Whether an image can be shown. A token that may post need not be one that may look: then it
    /// is taken as it is.
    pub(super) async fn is_processed(
        &self,
        account: &Account,
        access: &SecretString,
        image: &str,
    ) -> Result<bool, JobError> {
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let url = with_segment(endpoint(&account.base_url, "rest/images"), image);
        let answer = self.http.send(call, self.request(Method::GET, url, access)).await?;
        if answer.status == http::StatusCode::FORBIDDEN {
            return Ok(true);
        }
        let state: ImageState = self.value(call, &answer)?;
        match state.status.as_deref() {
            Some("PROCESSING" | "WAITING_UPLOAD") => Ok(false),
            Some("PROCESSING_FAILED") => {
                Err(call.error(ErrorClass::Invalid, "an image could not be processed"))
            }
            _ => Ok(true),
        }
    }
}

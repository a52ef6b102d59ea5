//! The bytes of images, which are read when a platform is to get them: a worker holds many posts at
//! once, and most of what it does with one needs none of them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postworks::job::{ErrorClass, JobError};
use reqwest::multipart::Part;
use uuid::Uuid;

use super::Image;
use super::call::Call;

/// Keeps images.
#[async_trait]
pub trait Originals: Send + Sync + 'static {
    /// The bytes of the image with this id.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be read now.
    async fn original(&self, image: Uuid) -> Result<Bytes, JobError>;
}

/// The bytes of an image, wherever they are.
#[derive(Clone)]
pub enum Original {
    /// Here.
    Here(Bytes),
    /// With whoever keeps them.
    Kept {
        /// The image's id there.
        image: Uuid,
        /// How many there are.
        length: usize,
        /// Who keeps them.
        keeper: Arc<dyn Originals>,
    },
}

impl Original {
    /// How many there are.
    pub fn length(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Kept { length, .. } => *length,
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be read now.
    pub async fn read(&self) -> Result<Bytes, JobError> {
        match self {
            Self::Here(bytes) => Ok(bytes.clone()),
            Self::Kept { image, keeper, .. } => keeper.original(*image).await,
        }
    }
}

impl Image {
    /// It as a part of a form.
    pub(crate) async fn part(&self, call: Call<'_>) -> Result<Part, JobError> {
        let bytes = self.bytes.read().await?;
        let length = bytes.len() as u64;
        let name = format!("image.{}", self.kind.extension());
        let part = Part::stream_with_length(bytes, length).file_name(name);
        part.mime_str(self.kind.mime()).map_err(|error| {
            call.error(ErrorClass::Bug, "a media type of ours is none").because(error)
        })
    }
}

impl<T: Into<Bytes>> From<T> for Original {
    fn from(bytes: T) -> Self {
        Self::Here(bytes.into())
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.length())
    }
}

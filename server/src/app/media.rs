//! Images: looks at what is uploaded, keeps it, and finds it again.

use bytes::Bytes;
use postworks_workers::images::{self, NoImage};
use postworks_workers::platforms::ImageKind;
use postworks_workers::store::Media;
use uuid::Uuid;

use super::types::MediaView;
use super::{App, Error};

impl App {
    /// The longest image that is taken, in bytes.
    pub fn media_bytes_max(&self) -> usize {
        self.node.config.api.media_limit.0
    }

    /// Keeps an image. What it is, its bytes say; the same bytes are kept once.
    ///
    /// # Errors
    /// It is none, is broken, or is longer than [`media_bytes_max`](Self::media_bytes_max).
    pub async fn add_media(&self, bytes: &[u8]) -> Result<MediaView, Error> {
        let most = self.media_bytes_max();
        if bytes.len() > most {
            return Err(Error::field("", format!("the image is longer than {most} bytes")));
        }
        let measured = images::measure(bytes);
        let measured = measured.map_err(|error: NoImage| Error::field("", error.to_string()))?;
        Ok(view(self.store.add_media(measured, bytes).await?))
    }

    /// An image: what it is, and its bytes.
    pub async fn media(&self, id: Uuid) -> Result<(ImageKind, Bytes), Error> {
        let found = self.store.media(id).await?;
        let found = found.ok_or_else(|| Error::NotFound(format!("there is no media {id}")))?;
        Ok((found.0.kind, found.1))
    }

    /// The same for anybody who has an address that this instance signed, whosever it is. Without,
    /// nobody is told whether there is such an image.
    pub async fn public_media(
        &self,
        id: Uuid,
        signature: &str,
    ) -> Result<(ImageKind, Bytes), Error> {
        let nothing = || Error::NotFound("there is nothing at this address".to_owned());
        if !self.store.keys().signs_media(id, signature) {
            return Err(nothing());
        }
        let (media, bytes) = self.node.store.media(id).await?.ok_or_else(nothing)?;
        Ok((media.kind, bytes))
    }
}

fn view(media: Media) -> MediaView {
    let Media { id, kind, bytes, width, height } = media;
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    MediaView { id, kind: kind.as_str().to_owned(), bytes, width, height }
}

//! What bytes are an image of: told by the bytes, whatever somebody says they are.
//!
//! Nothing is decoded. The first bytes say what it is and how large; the structure says whether the end
//! is there, since half an image would be refused by the platform, or worse, shown.

mod whole;

use crate::platforms::ImageKind;

/// Most pixels of a side.
pub const SIDE_MAX: usize = 65_535;

/// An image that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// What it is.
    pub kind: ImageKind,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Bytes that are no image we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    /// There are none.
    #[error("there are no bytes: send an image")]
    Empty,
    /// They are something else.
    #[error("these bytes are no JPEG, PNG, GIF or WebP image")]
    Unknown,
    /// They begin as one.
    #[error("the image is broken or cut off; it begins as {}", .0.mime())]
    Broken(ImageKind),
    /// It has no pixels, or too many.
    #[error("the image is {width} x {height} pixels; a side must have 1 to {SIDE_MAX}")]
    Side {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
}

/// What the bytes are an image of.
///
/// # Errors
/// They are none, or not a whole one.
pub fn measure(bytes: &[u8]) -> Result<Measured, NoImage> {
    if bytes.is_empty() {
        return Err(NoImage::Empty);
    }
    let kind = match imagesize::image_type(bytes) {
        Ok(imagesize::ImageType::Jpeg) => ImageKind::Jpeg,
        Ok(imagesize::ImageType::Png) => ImageKind::Png,
        Ok(imagesize::ImageType::Gif) => ImageKind::Gif,
        Ok(imagesize::ImageType::Webp) => ImageKind::Webp,
        _ => return Err(NoImage::Unknown),
    };
    let size = imagesize::blob_size(bytes).map_err(|_| NoImage::Broken(kind))?;
    if !whole::is_whole(kind, bytes) {
        return Err(NoImage::Broken(kind));
    }
    let side = |pixels: usize| {
        u32::try_from(pixels)
            .ok()
            .filter(|_| (1..=SIDE_MAX).contains(&pixels))
            .ok_or(NoImage::Side { width: size.width, height: size.height })
    };
    Ok(Measured { kind, width: side(size.width)?, height: side(size.height)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pictures;

    fn images() -> [(ImageKind, Vec<u8>); 4] {
        [
            (ImageKind::Png, pictures::png(3, 2)),
            (ImageKind::Jpeg, pictures::jpeg(40, 17)),
            (ImageKind::Gif, pictures::gif()),
            (ImageKind::Webp, pictures::webp()),
        ]
    }

    #[test]
    fn an_image_is_known_by_its_bytes() {
        let sizes = [(3, 2), (40, 17), (1, 1), (1, 1)];
        for ((kind, bytes), (width, height)) in images().into_iter().zip(sizes) {
            assert_eq!(measure(&bytes), Ok(Measured { kind, width, height }), "{kind}");
        }
    }

    #[test]
    fn what_is_no_image_is_not_taken_for_one() {
        assert_eq!(measure(b""), Err(NoImage::Empty));
        for bytes in [&b"hello"[..], b"\x89PNG", b"GIF8", b"RIFF\0\0\0\0WEBX", b"<svg/>", b"BM1234"]
        {
            assert!(measure(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn no_beginning_of_an_image_is_an_image() {
        for (kind, bytes) in images() {
            for at in 0..bytes.len() {
                assert!(measure(&bytes[..at]).is_err(), "{kind} of {at} bytes");
            }
        }
    }

    #[test]
    fn what_cameras_write_after_the_end_is_let_be() {
        for (kind, mut bytes) in images() {
            bytes.extend(b"trailer");
            assert!(measure(&bytes).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_side_has_its_limit() {
        let (_, mut png) = images()[0].clone();
        png[16..20].copy_from_slice(&70_000u32.to_be_bytes());
        assert_eq!(measure(&png), Err(NoImage::Side { width: 70_000, height: 2 }));
        png[16..20].copy_from_slice(&0u32.to_be_bytes());
        assert_eq!(measure(&png), Err(NoImage::Side { width: 0, height: 2 }));
    }

    proptest! {
        /// Whoever uploads them may send anything: it is looked at without a panic.
        #[test]
        fn any_bytes_are_looked_at(
            of in 0usize..4,
            at in 0usize..200,
            with in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (_, mut bytes) = images()[of].clone();
            let at = at.min(bytes.len());
            let end = (at + with.len() / 2).min(bytes.len());
            bytes.splice(at..end, with);
            let _ = measure(&bytes);
        }
    }
}

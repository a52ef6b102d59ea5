//! Whether an image's end is there: each form says where it is.

use crate::platforms::ImageKind;

/// Whether the end is there, of bytes that begin as such an image. What comes after it does not matter.
pub(super) fn is_whole(kind: ImageKind, bytes: &[u8]) -> bool {
    let mut walk = Walk { bytes, at: 0 };
    let whole = match kind {
        ImageKind::Jpeg => walk.jpeg(),
        ImageKind::Png => walk.png(),
        ImageKind::Gif => walk.gif(),
        ImageKind::Webp => walk.webp(),
    };
    whole.is_some()
}

/// A walk over bytes; `None` is that they end too early, or make no sense.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Skips so many bytes, which must be there.
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// Chunks, each of a length, a type and a checksum, up to `IEND`.
    fn png(&mut self) -> Option<()> {
        self.skip(8)?;
        loop {
            let length = u32::from_be_bytes(self.take()?);
            let kind: [u8; 4] = self.take()?;
            self.skip(usize::try_from(length).ok()?)?;
            self.skip(4)?;
            if &kind == b"IEND" {
                return Some(());
            }
        }
    }

    /// Segments, each of a marker and mostly a length, up to the end's; the image itself is between
    /// them, and in it no marker stands but those of restarts.
    fn jpeg(&mut self) -> Option<()> {
        const SCAN: u8 = 0xda;
        self.skip(2)?;
        loop {
            match self.marker()? {
                0xd9 => return Some(()),
                0x01 | 0xd0..=0xd7 => {}
                marker => {
                    let length = u16::from_be_bytes(self.take()?);
                    self.skip(usize::from(length).checked_sub(2)?)?;
                    if marker == SCAN {
                        self.scan()?;
                    }
                }
            }
        }
    }

    /// The next marker: any number of 0xff, and what comes after them.
    fn marker(&mut self) -> Option<u8> {
        if self.byte()? != 0xff {
            return None;
        }
        loop {
            match self.byte()? {
                0xff => {}
                marker => return Some(marker),
            }
        }
    }

    /// To the first 0xff that begins a marker.
    fn scan(&mut self) -> Option<()> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            let at = self.at + rest.iter().position(|byte| *byte == 0xff)?;
            match self.bytes.get(at + 1)? {
                0x00 | 0xd0..=0xd7 => self.at = at + 2,
                0xff => self.at = at + 1,
                _ => {
                    self.at = at;
                    return Some(());
                }
            }
        }
    }

    /// Blocks up to the trailer; each holds smaller ones, up to one without length.
    fn gif(&mut self) -> Option<()> {
        self.skip(6 + 4)?;
        let [flags, ..]: [u8; 3] = self.take()?;
        self.colours(flags)?;
        loop {
            match self.byte()? {
                b';' => return Some(()),
                b'!' => self.skip(1)?,
                b',' => {
                    self.skip(8)?;
                    let flags = self.byte()?;
                    self.colours(flags)?;
                    self.skip(1)?;
                }
                _ => return None,
            }
            loop {
                match self.byte()? {
                    0 => break,
                    length => self.skip(usize::from(length))?,
                }
            }
        }
    }

    /// A table of colours, if the flags say that there is one.
    fn colours(&mut self, flags: u8) -> Option<()> {
        if flags & 0x80 == 0 {
            return Some(());
        }
        self.skip(3 << ((flags & 0x07) + 1))
    }

    /// One chunk that says how long it is.
    fn webp(&mut self) -> Option<()> {
        self.skip(4)?;
        let length = u32::from_le_bytes(self.take()?);
        self.skip(usize::try_from(length).ok()?)
    }
}

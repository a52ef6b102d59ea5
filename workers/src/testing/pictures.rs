//! Small images that any decoder shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A black PNG of this size, not compressed: about as many bytes as it has pixels.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits of grey.
    header.extend([8, 0, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    // Each row begins with its filter: none.
    let rows = vec![0; (width as usize + 1) * height as usize];
    chunk(&mut png, b"IDAT", &stored(&rows));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// A grey JPEG of this size.
pub fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8];
    segment(&mut jpeg, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    segment(&mut jpeg, 0xdb, &[&[0][..], &[1; 64]].concat());
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    segment(&mut jpeg, 0xc0, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
    // Two tables of one code each, a bit: "no difference", and "no more".
    for table in [0x00, 0x10] {
        segment(&mut jpeg, 0xc4, &[&[table, 1][..], &[0; 15], &[0]].concat());
    }
    segment(&mut jpeg, 0xda, &[1, 1, 0x00, 0, 63, 0]);
    // Two bits a block of 8 x 8, and ones to the end of the byte.
    let bits = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8) * 2;
    jpeg.resize(jpeg.len() + bits / 8, 0);
    if !bits.is_multiple_of(8) {
        jpeg.push(0xff >> (bits % 8));
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

/// A GIF of one pixel.
pub fn gif() -> Vec<u8> {
    of("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
}

/// A WebP of one pixel.
pub fn webp() -> Vec<u8> {
    of("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
}

fn of(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn segment(jpeg: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let length = u16::try_from(content.len() + 2).unwrap_or(u16::MAX);
    jpeg.extend([0xff, marker]);
    jpeg.extend(length.to_be_bytes());
    jpeg.extend(content);
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    png.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend(content);
    let sum = crc(&png[start..]);
    png.extend(sum.to_be_bytes());
}

/// As zlib wraps what it does not compress.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let blocks = bytes.chunks(0xffff);
    let last = blocks.len().saturating_sub(1);
    for (at, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        zlib.push(u8::from(at == last));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    zlib.extend((b << 16 | a).to_be_bytes());
    zlib
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    };
    !bytes.iter().fold(!0, step)
}

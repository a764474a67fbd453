//! Small pictures of pictures.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

/// Longest side of a picture that is looked at, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Memory that a picture may take when it is unpacked: 64 million bytes are 21 megapixels.
const MAX_UNPACKED: u64 = 64 << 20;
const QUALITY: u8 = 75;
/// Largest picture that one is made of, in bytes.
pub(super) const MAX_PICTURE: u64 = 32 << 20;
/// What they are.
pub(super) const TYPE: &str = "image/jpeg";

/// The types that pictures are made of.
pub(super) fn is_picture(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["image/jpeg", "image/png", "image/gif", "image/webp"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// A JPEG of at most `side` pixels in each direction and `max` bytes. `None` where `bytes` are no picture, whatever they are
/// called, or one that takes too much to be unpacked: an image bomb. What it is tells the content, not a name.
pub(super) fn thumbnail(bytes: &[u8], side: u32, max: u64) -> Option<Vec<u8>> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_UNPACKED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    if decoder.total_bytes() > MAX_UNPACKED {
        return None;
    }
    let orientation = decoder.orientation().ok()?;
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    if picture.width() > side || picture.height() > side {
        picture = picture.thumbnail(side, side);
    }
    picture.apply_orientation(orientation);
    // What cannot be seen through in a JPEG.
    let picture = picture.to_rgb8();
    [QUALITY, QUALITY / 2, QUALITY / 4].into_iter().find_map(|quality| {
        let mut out = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, quality).encode_image(&picture).ok()?;
        (out.len() as u64 <= max).then_some(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let pixels = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
        let mut out = Cursor::new(Vec::new());
        pixels.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    fn size(bytes: &[u8]) -> (u32, u32) {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap();
        assert_eq!(reader.format(), Some(ImageFormat::Jpeg));
        reader.into_dimensions().unwrap()
    }

    #[test]
    fn pictures_of_every_type() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let small = thumbnail(&picture(100, 50, format), 32, 100_000).unwrap();
            assert_eq!(size(&small), (32, 16), "{format:?}");
        }
        assert_eq!(size(&thumbnail(&picture(10, 20, ImageFormat::Png), 320, 100_000).unwrap()), (10, 20));
        assert!(is_picture("Image/JPEG; x=y") && !is_picture("image/svg+xml") && !is_picture("video/mp4"));
    }

    #[test]
    fn what_is_no_picture_has_none() {
        let whole = picture(90, 90, ImageFormat::Png);
        for (name, bytes) in [
            ("nothing", &b""[..]),
            ("text", b"GIF89a, more or less"),
            ("XML", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
            ("cut", &whole[..whole.len() / 2]),
        ] {
            assert_eq!(thumbnail(bytes, 320, 100_000), None, "{name}");
        }
        assert_eq!(thumbnail(&whole, 320, 10), None, "no thumbnail is that small");
    }

    /// 16,000 by 16,000 pixels in a few bytes each.
    #[test]
    fn bombs_are_not_unpacked() {
        let mut png = picture(4, 4, ImageFormat::Png);
        // Width and height in IHDR, and its checksum.
        for (at, side) in [(16, 16_000u32), (20, 16_000)] {
            png[at..at + 4].copy_from_slice(&side.to_be_bytes());
        }
        let sum = crc(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        let reader = ImageReader::new(Cursor::new(&png)).with_guessed_format().unwrap();
        assert_eq!(reader.into_dimensions().ok(), Some((16_000, 16_000)), "a PNG that says so");
        assert_eq!(thumbnail(&png, 320, 100_000), None);
        let mut gif = picture(4, 4, ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0xff; 4]);
        assert_eq!(thumbnail(&gif, 320, 100_000), None);
    }

    /// CRC-32 as PNG has it.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
        })
    }
}

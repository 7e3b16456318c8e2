//! What the model sees on an image: its type and, of a PNG, its size.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Enough of a data URL for a PNG's first chunk, in characters of base64.
const HEAD: usize = 64;

/// An image of a request, in words.
pub(crate) fn describe(url: &str) -> String {
    let Some((media_type, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) else {
        return "an image elsewhere".to_owned();
    };
    let head = data.get(..HEAD.min(data.len() / 4 * 4)).unwrap_or_default();
    let head = STANDARD.decode(head).unwrap_or_default();
    match png_size(&head) {
        Some((width, height)) => format!("{media_type}, {width} × {height}"),
        None => media_type.to_owned(),
    }
}

fn png_size(head: &[u8]) -> Option<(u32, u32)> {
    let header = head.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(8..16)?;
    let (width, height) = header.split_at(4);
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    Some((number(width)?, number(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_by_type_and_size() {
        let png = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02".as_slice(),
            &[0; 60],
        ]
        .concat();
        let url = |media_type: &str, bytes: &[u8]| format!("data:{media_type};base64,{}", STANDARD.encode(bytes));
        assert_eq!(describe(&url("image/png", &png)), "image/png, 3 × 2");
        assert_eq!(describe(&url("image/jpeg", b"\xff\xd8\xff")), "image/jpeg");
        assert_eq!(describe("https://example.org/a.png"), "an image elsewhere");
    }
}

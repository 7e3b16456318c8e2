//! What a file is, from its first bytes. Its name and what a client says of it count for nothing.

/// How much of a file is looked at, in bytes.
pub(super) const LOOKED_AT: usize = 8 * 1024;
/// What nothing is known of.
const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// The media type of a file that begins with these bytes.
pub(super) fn media_type(head: &[u8]) -> &'static str {
    match infer::get(head) {
        Some(kind) => kind.mime_type(),
        None if is_text(head) => TEXT,
        None => UNKNOWN,
    }
}

/// The images that browsers draw and that can't act.
pub(crate) fn is_plain_image(media_type: &str) -> bool {
    matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp")
}

fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !whole.is_empty()
        && !whole.contains(|character: char| {
            character.is_control() && !character.is_ascii_whitespace() && character != '\u{1b}'
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_says_what_a_file_is() {
        for (head, expected) in [
            (b"\x89PNG\r\n\x1a\n".as_slice(), "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"%PDF-1.7", "application/pdf"),
            (b"<!DOCTYPE html><script>", "text/html"),
            (b"PK\x03\x04", "application/zip"),
            ("Grüße\n".as_bytes(), "text/plain"),
            (&"ä".as_bytes()[..1], UNKNOWN),
            (b"\0\x01\x02", UNKNOWN),
            (b"", UNKNOWN),
        ] {
            assert_eq!(media_type(head), expected, "{head:?}");
        }
        assert!(!is_plain_image("image/svg+xml") && !is_plain_image("text/html"));
    }
}

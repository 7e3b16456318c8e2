//! What Codex is given of a message: its text, where its files are, and its images.

use std::fmt::Write as _;

use mistle_protocol::control::{Deliver, PlacedAttachment};
use serde_json::{Value, json};

/// The largest image that is shown to a model, in bytes: what providers take. A larger one is a file
/// like any other.
const MAX_IMAGE: u64 = 20 * 1024 * 1024;

/// A text alone.
pub(super) fn text(text: &str) -> Value {
    json!([{ "type": "text", "text": text, "text_elements": [] }])
}

/// A message. Codex names an image's path to the model by itself; other files are named in the text.
pub(super) fn message(message: &Deliver) -> Value {
    let (images, files): (Vec<_>, Vec<_>) = message.attachments.iter().partition(|file| is_shown(file));
    let said = told(&message.text, &files);
    let said = (!said.is_empty()).then(|| json!({ "type": "text", "text": said, "text_elements": [] }));
    let shown = images
        .iter()
        .map(|image| json!({ "type": "localImage", "path": image.path }));
    said.into_iter().chain(shown).collect()
}

fn is_shown(file: &PlacedAttachment) -> bool {
    let media_type = file.attachment.media_type.as_str();
    file.attachment.size <= MAX_IMAGE && matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp")
}

fn told(text: &str, files: &[&PlacedAttachment]) -> String {
    let mut told = text.to_owned();
    if files.is_empty() {
        return told;
    }
    if !told.trim().is_empty() {
        told.push_str("\n\n");
    }
    told.push_str("Attached files:");
    for PlacedAttachment { attachment, path } in files {
        // Writing to a string does not fail.
        let _ = write!(
            told,
            "\n- {path} ({}, {})",
            attachment.media_type,
            size(attachment.size)
        );
    }
    told
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KB", "MB", "GB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::{AttachmentId, MessageId};
    use mistle_protocol::session::Attachment;

    use super::*;

    fn file(name: &str, media_type: &str, size: u64) -> PlacedAttachment {
        PlacedAttachment {
            attachment: Attachment {
                id: AttachmentId::new(),
                name: name.to_owned(),
                media_type: media_type.to_owned(),
                size,
            },
            path: format!("/root/attachments/0123456789ab/{name}"),
        }
    }

    fn with(text: &str, attachments: Vec<PlacedAttachment>) -> Value {
        message(&Deliver {
            message_id: MessageId::new(),
            conversation_id: None,
            text: text.to_owned(),
            attachments,
            cwd: None,
            steer: true,
            model: None,
            effort: None,
        })
    }

    #[test]
    fn images_are_shown_and_other_files_are_named() {
        let input = with(
            "Look at these.",
            vec![
                file("a.png", "image/png", 68),
                file("b.pdf", "application/pdf", 1_234_567),
                file("huge.png", "image/png", MAX_IMAGE + 1),
                file("c.svg", "image/svg+xml", 1000),
            ],
        );
        let text = "Look at these.\n\nAttached files:\n\
            - /root/attachments/0123456789ab/b.pdf (application/pdf, 1.2 MB)\n\
            - /root/attachments/0123456789ab/huge.png (image/png, 21.0 MB)\n\
            - /root/attachments/0123456789ab/c.svg (image/svg+xml, 1.0 KB)";
        let expected = json!([
            { "type": "text", "text": text, "text_elements": [] },
            { "type": "localImage", "path": "/root/attachments/0123456789ab/a.png" },
        ]);
        assert_eq!(input, expected);
    }

    #[test]
    fn a_message_may_be_its_files_alone() {
        let input = with("", vec![file("a.txt", "text/plain", 1)]);
        let text = "Attached files:\n- /root/attachments/0123456789ab/a.txt (text/plain, 1 bytes)";
        assert_eq!(input, json!([{ "type": "text", "text": text, "text_elements": [] }]));
        let input = with(" ", vec![file("a.png", "image/png", 1)]);
        assert_eq!(
            input[1],
            json!({ "type": "localImage", "path": "/root/attachments/0123456789ab/a.png" })
        );
        assert_eq!(
            with("", vec![file("a.png", "image/png", 1)]).as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(with("hello", Vec::new()), super::text("hello"));
    }
}

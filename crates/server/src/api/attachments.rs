//! Files that go with messages. They are uploaded first, and a message names them.

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mistle_protocol::id::AttachmentId;
use mistle_protocol::session::Attachment;
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::attachments::{AttachmentError, is_plain_image};
use crate::auth::caller::Caller;

/// How long a browser may show an image again without asking, in seconds. Its content never
/// changes; whether one may see it does.
const FRESH: &str = "private, max-age=600";

/// What a file is called.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NameQuery {
    /// Its name; folders and control characters are left out.
    name: String,
}

/// Uploads a file; the body is its bytes as they are. It is on the disk when this answers, belongs
/// to the caller alone, and is deleted after a day unless a message takes it.
#[utoipa::path(post, operation_id = "attachments_create", path = "/attachments", tag = "attachments", params(NameQuery), request_body(content_type = "application/octet-stream", description = "The file"), responses((status = 201, body = Attachment)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<NameQuery>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<Attachment>)> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = body.into_data_stream();
    let uploaded = app
        .attachments
        .upload(&caller.ctx, &query.name, length, &mut body)
        .await;
    match uploaded {
        Ok(attachment) => Ok((StatusCode::CREATED, Json(attachment))),
        Err(error) => {
            drain(body, app.config.limits.attachment_bytes).await;
            Err(error.into())
        }
    }
}

/// Reads what a client still writes, within limits: one that is cut off in its writing sees a broken
/// connection and not the answer.
async fn drain(mut body: BodyDataStream, limit: u64) {
    const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);
    let mut read = 0;
    let reading = async {
        while let Some(Ok(bytes)) = body.next().await {
            read += bytes.len() as u64;
            if read > limit {
                break;
            }
        }
    };
    // Slower clients see the broken connection.
    let _ = tokio::time::timeout(WITHIN, reading).await;
}

/// What is known of a file.
#[utoipa::path(get, operation_id = "attachments_show", path = "/attachments/{attachment_id}", tag = "attachments", params(("attachment_id" = AttachmentId, Path)), responses((status = 200, body = Attachment)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
) -> ApiResult<Json<Attachment>> {
    Ok(Json(app.sessions.attachment(&caller.ctx, id).await?.attachment))
}

/// A file's bytes. PNG, JPEG, GIF and WebP images have their type; everything else is bytes to
/// download, whatever it is.
#[utoipa::path(get, operation_id = "attachments_content", path = "/attachments/{attachment_id}/content", tag = "attachments", params(("attachment_id" = AttachmentId, Path)), responses((status = 200, content_type = "application/octet-stream")))]
pub(crate) async fn content(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
) -> ApiResult<Response> {
    let attachment = app.sessions.attachment(&caller.ctx, id).await?.attachment;
    let (media_type, disposition) = if is_plain_image(&attachment.media_type) {
        (attachment.media_type.as_str(), "inline")
    } else {
        ("application/octet-stream", "attachment")
    };
    let disposition = format!("{disposition}; filename*=UTF-8''{}", escaped(&attachment.name));
    let text = |text: &str| HeaderValue::try_from(text).map_err(|error| ApiError::internal(&error));
    let headers = [
        (header::CONTENT_TYPE, text(media_type)?),
        (header::CONTENT_DISPOSITION, text(&disposition)?),
        (header::CONTENT_LENGTH, HeaderValue::from(attachment.size)),
        (header::CONTENT_ENCODING, HeaderValue::from_static("identity")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static(FRESH)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        ),
    ];
    Ok((headers, Body::from_stream(app.attachments.read(&attachment))).into_response())
}

/// Deletes a file that no message carries.
#[utoipa::path(delete, operation_id = "attachments_delete", path = "/attachments/{attachment_id}", tag = "attachments", params(("attachment_id" = AttachmentId, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
) -> ApiResult<StatusCode> {
    app.sessions.attachment(&caller.ctx, id).await?;
    app.attachments.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A name as RFC 8187 has it: everything but unreserved characters is escaped.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

impl From<AttachmentError> for ApiError {
    fn from(error: AttachmentError) -> Self {
        let mebibytes = |bytes: u64| bytes / 1024 / 1024;
        match error {
            AttachmentError::TooLarge { limit } => Self::payload_too_large(
                "attachment-too-large",
                format!("A file may have at most {} MiB ({limit} bytes).", mebibytes(limit)),
            ),
            AttachmentError::TooMuchUnsent { limit } => Self::conflict(
                "too-much-unsent",
                format!(
                    "Your uploads that were not sent would take more than {} MiB. Send or remove some; what is not sent is deleted after a day.",
                    mebibytes(limit)
                ),
            ),
            AttachmentError::TooManyUploads => Self::rate_limited(5),
            AttachmentError::DiskFull => Self::disk_full(
                "The server's data disk is full, so the file was not kept. Free space on it, then upload the file again.",
            ),
            AttachmentError::Cut => Self::bad_request("The upload ended early. Upload the file again."),
            AttachmentError::Stalled => {
                Self::bad_request("The upload paused for more than a minute. Upload the file again.")
            }
            AttachmentError::Sent => Self::conflict(
                "attachment-sent",
                "The file goes with a message and is deleted with its session.",
            ),
            AttachmentError::Internal(source) => Self::internal(source.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_name_stays_within_its_header() {
        assert_eq!(escaped("a b\"\r\n;ä.png"), "a%20b%22%0D%0A%3B%C3%A4.png");
    }
}

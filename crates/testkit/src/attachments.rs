//! Files that go with messages, as a test uploads and reads them.

use anyhow::{Context as _, Result};
use mistle_protocol::id::AttachmentId;
use mistle_protocol::session::Attachment;
use reqwest::Response;

use crate::api::{Api, Refused};

impl Api {
    /// Uploads a file; a problem becomes [`Refused`].
    pub async fn upload(&self, name: &str, content: impl Into<reqwest::Body>) -> Result<Attachment> {
        let response = self
            .http
            .post(reqwest::Url::parse_with_params(
                &format!("{}/api/v1/attachments", self.url()),
                [("name", name)],
            )?)
            .bearer_auth(&self.token)
            .body(content)
            .send()
            .await?;
        let failed = !response.status().is_success();
        let text = response.text().await?;
        if failed {
            let problem = serde_json::from_str(&text).with_context(|| format!("answered {text}"))?;
            return Err(Refused(problem).into());
        }
        serde_json::from_str(&text).with_context(|| format!("answered {text}"))
    }

    /// A file's content, as it is answered.
    pub async fn content(&self, id: AttachmentId) -> Result<Response> {
        let url = format!("{}/api/v1/attachments/{id}/content", self.url());
        Ok(self.http.get(url).bearer_auth(&self.token).send().await?)
    }
}

//! Waiting.

use std::time::Duration;

use anyhow::{Context, Result};

/// How long a test waits for something that has to come. Only a hang ends here.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);

/// Asks until the answer fits. Only for what tells nobody.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let search = async {
        while !holds().await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, search)
        .await
        .with_context(|| what.to_owned())?
}

//! Small files that are whole or as they were.

use std::io;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;

/// Replaces a file's content; a crash leaves the old or the new one.
pub(crate) async fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = tokio::fs::File::create(&fresh).await?;
    file.write_all(content).await?;
    // Only flushing says what became of the last write.
    file.flush().await?;
    file.sync_all().await?;
    tokio::fs::rename(&fresh, path).await
}

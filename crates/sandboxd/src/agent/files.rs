//! Small files that are whole or as they were.

use std::io;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;

/// Replaces a file's content; a crash leaves the old or the new one.
pub(crate) async fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, true).await
}

/// The same for the death of any process, but not of the machine: it does not wait for the disk.
pub(crate) async fn replace_soon(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, false).await
}

async fn write(path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = tokio::fs::File::create(&fresh).await?;
    file.write_all(content).await?;
    // Only flushing says what became of the last write.
    file.flush().await?;
    if sync {
        file.sync_all().await?;
    }
    tokio::fs::rename(&fresh, path).await
}

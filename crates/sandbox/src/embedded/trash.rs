//! Deletes what was given up, in the background: a big tree takes minutes on some disks.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Wakes the thread that empties the trash.
#[derive(Debug)]
pub(super) struct Trash {
    wake: Sender<()>,
}

impl Trash {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let (wake, woken) = channel();
        std::thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || work(&folder, &woken))?;
        let trash = Self { wake };
        trash.empty();
        Ok(trash)
    }

    /// Asks for the trash to be emptied.
    pub(super) fn empty(&self) {
        let _ = self.wake.send(());
    }
}

fn work(folder: &Path, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = empty(folder) {
            tracing::warn!(folder = %folder.display(), %error, "could not empty the trash");
        }
    }
}

/// Deletes everything in `folder`. A sandbox may have nested folders deeper than a path or a
/// stack can be, so each folder is moved up here before its content is looked at: paths stay
/// short and there is no recursion. Links are never followed.
fn empty(folder: &Path) -> io::Result<()> {
    let mut queue = VecDeque::new();
    let mut moved = 0_u64;
    for entry in fs::read_dir(folder)? {
        remove_or_queue(&entry?, None, &mut queue)?;
    }
    while let Some(next) = queue.pop_front() {
        for entry in fs::read_dir(&next)? {
            moved += 1;
            let to = folder.join(format!("{}-{moved}", std::process::id()));
            remove_or_queue(&entry?, Some(to), &mut queue)?;
        }
        fs::remove_dir(&next)?;
    }
    Ok(())
}

fn remove_or_queue(entry: &fs::DirEntry, to: Option<PathBuf>, queue: &mut VecDeque<PathBuf>) -> io::Result<()> {
    if !entry.file_type()?.is_dir() {
        return fs::remove_file(entry.path());
    }
    let at = match to {
        Some(to) => {
            fs::rename(entry.path(), &to)?;
            to
        }
        None => entry.path(),
    };
    queue.push_back(at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_trees_and_links_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        // Deeper than a path of 4,096 bytes: made by moving the deep end into a new top each time.
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink(outside.path(), top.join("link")).unwrap();
        for _ in 0..3000 {
            let new = folder.path().join("new");
            fs::create_dir(&new).unwrap();
            fs::rename(&top, new.join("nested")).unwrap();
            fs::rename(&new, &top).unwrap();
        }
        empty(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }
}

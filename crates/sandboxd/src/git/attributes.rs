//! Whether a program wrote a file, as the repository and the file itself say.
//!
//! Attributes (`linguist-generated`, `linguist-vendored`) have the last word, then the first lines
//! of the file. Both cost a look for each file, so the list takes it for large changes alone.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use mistle_protocol::changes::{ChangedFile, FileStatus};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::classify::is_marked_generated;
use super::file::{Current, open_current};
use super::process::{GIT_LIMIT, GitError, spawn};
use super::repository::Repository;

/// A change of so many lines is looked at in the list.
const LARGE: u64 = 400;
/// Bytes of a file in which a mark is looked for.
const BEGIN: u64 = 4 * 1024;
/// What git is asked for.
const NAMES: [&str; 2] = ["linguist-generated", "linguist-vendored"];

/// A git that answers for one path after another.
#[derive(Debug)]
pub(crate) struct Attributes {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Attributes {
    fn start(repository: &Repository, index: &Path) -> Result<Self, GitError> {
        let mut command = repository.on_contents(index);
        command.args(["check-attr", "-z", "--stdin"]).args(NAMES);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn(command)?;
        let closed = || GitError::Io(std::io::ErrorKind::BrokenPipe.into());
        Ok(Self {
            input: child.stdin.take().ok_or_else(closed)?,
            output: BufReader::new(child.stdout.take().ok_or_else(closed)?),
            _child: child,
        })
    }

    /// What the attributes say, if they say anything.
    async fn say(&mut self, path: &[u8]) -> Result<Option<bool>, GitError> {
        let asking = async {
            self.input.write_all(&[path, b"\0"].concat()).await?;
            self.input.flush().await?;
            let mut said = [None; NAMES.len()];
            for answer in &mut said {
                // The path, the name of the attribute, its value.
                let mut field = Vec::new();
                for _ in 0..3 {
                    field.clear();
                    self.output.read_until(0, &mut field).await?;
                }
                *answer = match field.as_slice() {
                    b"set\0" | b"true\0" => Some(true),
                    b"unset\0" | b"false\0" => Some(false),
                    _ => None,
                };
            }
            Ok(said.into_iter().flatten().reduce(|one, other| one || other))
        };
        tokio::time::timeout(GIT_LIMIT, asking)
            .await
            .map_err(|_| GitError::TimedOut)?
    }
}

/// Looks into files whether a program wrote them.
#[derive(Debug, Default)]
pub(crate) struct Judge(Option<Attributes>);

impl Judge {
    /// Corrects what the names of large files say.
    pub(crate) async fn large(&mut self, repository: &Repository, index: &Path, files: &mut [ChangedFile]) {
        let lines = |file: &ChangedFile| file.added.unwrap_or_default() + file.removed.unwrap_or_default();
        for file in files.iter_mut().filter(|file| lines(file) >= LARGE) {
            self.one(repository, index, file).await;
        }
    }

    /// Corrects what a file's name says.
    pub(crate) async fn one(&mut self, repository: &Repository, index: &Path, file: &mut ChangedFile) {
        let Some(path) = file.path.to_bytes().filter(|_| file.status != FileStatus::Submodule) else {
            return;
        };
        match self.ask(repository, index, &path).await {
            Ok(Some(said)) => file.generated = said,
            Ok(None) => file.generated |= is_marked(repository, &path),
            Err(error) => tracing::debug!(%error, "git does not tell the attributes of a file"),
        }
    }

    async fn ask(&mut self, repository: &Repository, index: &Path, path: &[u8]) -> Result<Option<bool>, GitError> {
        let attributes = match &mut self.0 {
            Some(attributes) => attributes,
            none => none.insert(Attributes::start(repository, index)?),
        };
        attributes.say(path).await
    }
}

fn is_marked(repository: &Repository, path: &[u8]) -> bool {
    let Ok(Current::File(file)) = open_current(repository, path) else {
        return false;
    };
    let mut begin = Vec::new();
    file.take(BEGIN).read_to_end(&mut begin).is_ok() && is_marked_generated(&begin)
}

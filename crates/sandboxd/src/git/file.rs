//! The diff of one file, and the contents of its sides.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use mistle_protocol::changes::{
    ChangedFile, DiffLine, FOLDED_BYTES, FOLDED_LINES, FileDiff, FoldedDiff, Hunk, ImageSides, LineKind,
    MAX_DIFF_BYTES, MAX_DIFF_LINES, SubmoduleChange,
};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::attributes::Judge;
use super::base::Compared;
use super::changes::{Asked, Draft, Known, Pairing, big_file, diff, unreadable};
use super::classify::is_image;
use super::patch::{Event, Reader};
use super::process::{GitError, Running};
use super::repository::{Repository, SmallView, os};

/// A diff beyond this many bytes is not even counted to its end.
const MAX_COUNTED: u64 = 256 * 1024 * 1024;

/// What is asked about one file.
#[derive(Clone, Debug)]
pub(crate) struct AskedFile {
    pub(crate) path: Vec<u8>,
    /// The path that it had, when it was renamed or copied.
    pub(crate) old_path: Option<Vec<u8>>,
    pub(crate) ignore_whitespace: bool,
    pub(crate) context: u32,
    /// Whether a large diff is sent.
    pub(crate) full: bool,
}

/// The diff of one file.
pub(crate) async fn file_diff(
    repository: &Repository,
    compared: &Compared,
    asked: &AskedFile,
) -> Result<FileDiff, GitError> {
    if asked.path == super::programs::PATH {
        let programs = super::programs::named(repository).await?;
        return Ok(super::programs::diff(compared, &programs).unwrap_or_else(unchanged));
    }
    repository.reconfigure_unless_busy().await?;
    if let Some(diff) = super::hooks::diff(repository, compared, &asked.path).await? {
        return Ok(diff);
    }
    let old = asked.old_path.as_deref().filter(|old| *old != asked.path);
    let paths: Vec<&[u8]> = [asked.path.as_slice()].into_iter().chain(old).collect();
    let view = repository.view_of(&paths).await?;
    let mut diff = read(repository, &view, compared, asked).await?;
    if let Some(file) = &mut diff.file {
        Judge::default().one(repository, &view.index, file).await;
    }
    Ok(diff)
}

/// The diff of a file that is as it was.
fn unchanged() -> FileDiff {
    FileDiff {
        file: None,
        hunks: Vec::new(),
        image: None,
        submodule: None,
        folded: None,
        truncated: false,
    }
}

/// What is known of a file while its diff is read.
#[derive(Debug, Default)]
struct Content {
    hunks: Vec<Hunk>,
    /// Numbers of the next lines.
    next: (u64, u64),
    lines: u64,
    bytes: u64,
    kept_lines: usize,
    kept_bytes: usize,
    truncated: bool,
}

impl Content {
    fn hear(&mut self, event: Event, full: bool) {
        match event {
            Event::Hunk(range, section) => {
                // A side without lines is told by the line before it.
                let first = |start: u64, lines: u64| start + u64::from(lines == 0);
                self.next = (
                    first(range.old_start, range.old_lines),
                    first(range.new_start, range.new_lines),
                );
                if !self.truncated {
                    self.hunks.push(Hunk {
                        range,
                        section: String::from_utf8_lossy(&section).into_owned(),
                        lines: Vec::new(),
                    });
                }
            }
            Event::Line { kind, text, cut } => self.line(kind, &text, cut, full),
            Event::NoNewline => {
                if let Some(line) = self.hunks.last_mut().and_then(|hunk| hunk.lines.last_mut()) {
                    line.no_newline = true;
                }
            }
            _ => {}
        }
    }

    fn line(&mut self, kind: LineKind, text: &[u8], cut: bool, full: bool) {
        let (old_no, new_no) = match kind {
            LineKind::Context => (Some(self.next.0), Some(self.next.1)),
            LineKind::Added => (None, Some(self.next.1)),
            LineKind::Removed => (Some(self.next.0), None),
        };
        self.next.0 += u64::from(old_no.is_some());
        self.next.1 += u64::from(new_no.is_some());
        self.lines += 1;
        self.bytes += text.len() as u64 + 1;
        let limits = if full {
            (MAX_DIFF_LINES, MAX_DIFF_BYTES)
        } else {
            (FOLDED_LINES, FOLDED_BYTES)
        };
        self.truncated |= self.kept_lines >= limits.0 || self.kept_bytes + text.len() > limits.1;
        if self.truncated {
            return;
        }
        self.kept_lines += 1;
        self.kept_bytes += text.len() + 1;
        if let Some(hunk) = self.hunks.last_mut() {
            hunk.lines.push(DiffLine {
                kind,
                old_no,
                new_no,
                text: String::from_utf8_lossy(text).into_owned(),
                no_newline: false,
                cut,
            });
        }
    }
}

async fn read(
    repository: &Repository,
    view: &SmallView,
    compared: &Compared,
    asked: &AskedFile,
) -> Result<FileDiff, GitError> {
    if view.big {
        return Ok(FileDiff {
            file: Some(big_file(repository, &asked.path)),
            ..unchanged()
        });
    }
    let mut content = Content::default();
    let mut found: Option<Draft> = None;
    if let Some(base) = compared.treeish(repository) {
        let wanted = Asked {
            ignore_whitespace: asked.ignore_whitespace,
            context: asked.context,
        };
        let mut command = diff(repository, &view.index, &base, wanted);
        command.arg(os(&asked.path));
        command.args(asked.old_path.as_deref().map(os));
        let mut running = Running::start(command, None)?;
        let mut reader = Reader::default();
        let mut pairing = Pairing::default();
        let mut counted = 0;
        loop {
            match running.next().await? {
                Some(bytes) if counted < MAX_COUNTED => {
                    counted += bytes.len() as u64;
                    reader.push(&bytes);
                }
                Some(_) => {
                    content.truncated = true;
                    break;
                }
                None => {
                    reader.end();
                    break;
                }
            }
            drain(&mut reader, &mut pairing, asked, &mut content, &mut found)?;
        }
        drain(&mut reader, &mut pairing, asked, &mut content, &mut found)?;
        for draft in pairing.end() {
            if draft.raw.new == asked.path {
                found = Some(draft);
            }
        }
    }
    Ok(answer(repository, view, found, content, asked))
}

fn drain(
    reader: &mut Reader,
    pairing: &mut Pairing,
    asked: &AskedFile,
    content: &mut Content,
    found: &mut Option<Draft>,
) -> Result<(), GitError> {
    while let Some(event) = reader.next().map_err(unreadable)? {
        for draft in pairing.hear(&event) {
            if draft.raw.new == asked.path {
                *found = Some(draft);
            }
        }
        if pairing.current().is_some_and(|current| current.raw.new == asked.path) {
            content.hear(event, asked.full);
        }
    }
    Ok(())
}

fn answer(
    repository: &Repository,
    view: &SmallView,
    found: Option<Draft>,
    content: Content,
    asked: &AskedFile,
) -> FileDiff {
    let mut submodule = None;
    let file: Option<ChangedFile> = found.and_then(|draft| {
        let oid = |mode: u32, oid: &str| (mode != 0).then(|| oid.to_owned());
        let sides = SubmoduleChange {
            old: oid(draft.raw.old_mode, &draft.raw.old_oid),
            new: oid(draft.raw.new_mode, &draft.raw.new_oid),
        };
        let file = draft.finish(repository, &Known::of_one(view), asked.ignore_whitespace)?;
        if file.status == mistle_protocol::changes::FileStatus::Submodule {
            submodule = Some(sides);
        }
        Some(file)
    });
    let image = file.as_ref().filter(|_| is_image(&asked.path)).map(|file| ImageSides {
        old: file.old_mode != 0,
        new: file.new_mode != 0,
    });
    let folded = (content.truncated && !asked.full).then_some(FoldedDiff {
        lines: content.lines,
        bytes: content.bytes,
    });
    FileDiff {
        hunks: if folded.is_some() { Vec::new() } else { content.hunks },
        truncated: content.truncated && asked.full,
        file,
        image,
        submodule,
        folded,
    }
}

/// Opens the folder that a file of the tree is in, without following any link on the way: a tree
/// can hold links that lead out of it.
pub(crate) fn open_parent(repository: &Repository, path: &[u8]) -> io::Result<(OwnedFd, Vec<u8>)> {
    let top = rustix::fs::open(
        &repository.location.top,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
    )?;
    let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    let folder = rustix::fs::openat2(
        &top,
        Path::new(std::ffi::OsStr::from_bytes(folder)),
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )?;
    Ok((folder, name.to_vec()))
}

/// The content of a file of the tree.
#[derive(Debug)]
pub(crate) enum Current {
    File(File),
    /// A link; its target.
    Link(Vec<u8>),
    Absent,
}

/// Opens a file of the tree.
pub(crate) fn open_current(repository: &Repository, path: &[u8]) -> io::Result<Current> {
    let absent = |error: io::Error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Ok(Current::Absent),
        _ => Err(error),
    };
    let (folder, name) = match open_parent(repository, path) {
        Ok(opened) => opened,
        Err(error) => return absent(error),
    };
    if let Ok(target) = rustix::fs::readlinkat(&folder, &name[..], Vec::new()) {
        return Ok(Current::Link(target.into_bytes()));
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
    match rustix::fs::openat(&folder, &name[..], flags, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            Ok(if file.metadata()?.is_file() {
                Current::File(file)
            } else {
                Current::Absent
            })
        }
        Err(error) => absent(error.into()),
    }
}

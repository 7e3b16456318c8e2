//! Reads what `git diff --raw -p -z` says, as it comes.
//!
//! A pure reader: bytes in, events out, whatever the cut. First the raw entries, then the patch of
//! each in the same order; entries without a patch are left out there. Lines of a patch belong to
//! hunks by count, so no content can be taken for a header. A long line is cut and never kept whole.

use mistle_protocol::changes::{HunkRange, LineKind, MAX_DIFF_LINE};

/// The longest header line: two quoted paths.
const MAX_HEADER: usize = 64 * 1024;

/// What comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An entry of the list.
    Raw(Raw),
    /// The list is over.
    Listed,
    /// The patch of a file begins, with this line.
    File(Vec<u8>),
    /// The objects of both sides.
    Index { old: String, new: String },
    /// It is binary.
    Binary,
    /// A hunk begins.
    Hunk(HunkRange, Vec<u8>),
    /// A line of a hunk.
    Line { kind: LineKind, text: Vec<u8>, cut: bool },
    /// The line before has no end of line.
    NoNewline,
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) old_mode: u32,
    pub(crate) new_mode: u32,
    pub(crate) old_oid: String,
    pub(crate) new_oid: String,
    pub(crate) status: u8,
    /// The path that it had.
    pub(crate) old: Vec<u8>,
    /// The path that it has; the same unless renamed or copied.
    pub(crate) new: Vec<u8>,
}

impl Raw {
    /// The line that its patch begins with.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut line = b"diff --git ".to_vec();
        line.extend(quoted(b"a/", &self.old));
        line.push(b' ');
        line.extend(quoted(b"b/", &self.new));
        line
    }
}

/// A path as git writes it into a patch: quoted like a C string when it has to be.
pub(crate) fn quoted(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
    if !path.iter().any(special) {
        return [prefix, path].concat();
    }
    let mut text = b"\"".to_vec();
    text.extend_from_slice(prefix);
    for byte in path {
        match byte {
            0x07 => text.extend_from_slice(b"\\a"),
            0x08 => text.extend_from_slice(b"\\b"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            0x0b => text.extend_from_slice(b"\\v"),
            0x0c => text.extend_from_slice(b"\\f"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            _ if byte.is_ascii_control() => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
    text
}

/// What git says is not a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git's answer can't be read")]
pub(crate) struct Unreadable;

/// The reader.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer was used.
    used: usize,
    /// How much of the rest is known to hold no end.
    searched: usize,
    in_patch: bool,
    ended: bool,
    /// Lines that the hunk still has, before and after.
    left: (u64, u64),
    /// Whether the rest of a long line is thrown away.
    skipping: bool,
}

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing follows.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The next event; none when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Unreadable> {
        loop {
            if !self.in_patch {
                return self.raw();
            }
            if self.skipping {
                let Some(end) = self.find(b'\n') else {
                    self.used = self.buffer.len();
                    self.searched = 0;
                    return Ok(None);
                };
                self.used += end + 1;
                self.skipping = false;
                continue;
            }
            let in_hunk = self.left != (0, 0);
            let limit = if in_hunk { MAX_DIFF_LINE + 1 } else { MAX_HEADER };
            let (line, whole) = match self.find(b'\n') {
                Some(end) if end <= limit => (end, true),
                None if self.rest().len() <= limit && !self.ended => return Ok(None),
                None if self.rest().is_empty() => return Ok(None),
                None if self.rest().len() <= limit => (self.rest().len(), true),
                _ if in_hunk => (limit, false),
                _ => return Err(Unreadable),
            };
            let text = self.rest()[..line].to_vec();
            self.used = (self.used + line + usize::from(whole)).min(self.buffer.len());
            self.searched = 0;
            self.skipping = !whole;
            let event = if in_hunk {
                self.line(text, !whole)?
            } else {
                self.header(text)?
            };
            if let Some(event) = event {
                return Ok(Some(event));
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    fn find(&mut self, end: u8) -> Option<usize> {
        let rest = &self.buffer[self.used..];
        let searched = self.searched.min(rest.len());
        let found = rest[searched..].iter().position(|byte| *byte == end);
        self.searched = found.map_or(rest.len(), |_| 0);
        found.map(|at| at + searched)
    }

    /// `:100644 100644 <old> <new> M\0path\0`, with a second path for renames and copies.
    fn raw(&mut self) -> Result<Option<Event>, Unreadable> {
        let rest = self.rest();
        match rest.first() {
            None if self.ended => {
                self.in_patch = true;
                return Ok(Some(Event::Listed));
            }
            None => return Ok(None),
            Some(0) => {
                self.used += 1;
                self.in_patch = true;
                return Ok(Some(Event::Listed));
            }
            Some(b':') => {}
            // Files without a list.
            Some(_) => return Err(Unreadable),
        }
        let mut parts = rest.split(|byte| *byte == 0);
        let (Some(head), Some(first)) = (parts.next(), parts.next()) else {
            return if rest.len() > MAX_HEADER {
                Err(Unreadable)
            } else {
                Ok(None)
            };
        };
        let head_text = std::str::from_utf8(&head[1..]).map_err(|_| Unreadable)?;
        let words: Vec<&str> = head_text.split(' ').collect();
        let [old_mode, new_mode, old_oid, new_oid, status] = words[..] else {
            return Err(Unreadable);
        };
        let status = *status.as_bytes().first().ok_or(Unreadable)?;
        let two = matches!(status, b'R' | b'C');
        let second = if two { parts.next() } else { Some(first) };
        // The part behind the last NUL is not whole.
        let (Some(second), Some(_)) = (second, parts.next()) else {
            return Ok(None);
        };
        let mode = |text: &str| u32::from_str_radix(text, 8).map_err(|_| Unreadable);
        let length = head.len() + 1 + first.len() + 1 + if two { second.len() + 1 } else { 0 };
        let raw = Raw {
            old_mode: mode(old_mode)?,
            new_mode: mode(new_mode)?,
            old_oid: old_oid.to_owned(),
            new_oid: new_oid.to_owned(),
            status,
            old: first.to_vec(),
            new: second.to_vec(),
        };
        self.used += length;
        self.searched = 0;
        Ok(Some(Event::Raw(raw)))
    }

    fn header(&mut self, line: Vec<u8>) -> Result<Option<Event>, Unreadable> {
        if line.starts_with(b"diff --git ") {
            return Ok(Some(Event::File(line)));
        }
        if line.starts_with(b"@@ ") {
            let (range, section) = hunk(&line).ok_or(Unreadable)?;
            self.left = (range.old_lines, range.new_lines);
            return Ok(Some(Event::Hunk(range, section)));
        }
        if line.starts_with(b"\\ ") {
            return Ok(Some(Event::NoNewline));
        }
        if line.starts_with(b"Binary files ") || line == b"GIT binary patch" {
            return Ok(Some(Event::Binary));
        }
        if let Some(ids) = line.strip_prefix(b"index ") {
            let text = String::from_utf8_lossy(ids);
            let ids = text.split(' ').next().and_then(|ids| ids.split_once(".."));
            return Ok(ids.map(|(old, new)| Event::Index {
                old: old.to_owned(),
                new: new.to_owned(),
            }));
        }
        Ok(None)
    }

    fn line(&mut self, mut text: Vec<u8>, cut: bool) -> Result<Option<Event>, Unreadable> {
        let (old, new) = &mut self.left;
        let kind = match text.first() {
            Some(b'\\') => return Ok(Some(Event::NoNewline)),
            Some(b'+') => LineKind::Added,
            Some(b'-') => LineKind::Removed,
            Some(b' ') | None => LineKind::Context,
            Some(_) => return Err(Unreadable),
        };
        if kind != LineKind::Added {
            *old = old.checked_sub(1).ok_or(Unreadable)?;
        }
        if kind != LineKind::Removed {
            *new = new.checked_sub(1).ok_or(Unreadable)?;
        }
        if !text.is_empty() {
            text.remove(0);
        }
        Ok(Some(Event::Line { kind, text, cut }))
    }
}

/// `@@ -1,2 +3,4 @@ section`; a count of 1 may be left out.
fn hunk(line: &[u8]) -> Option<(HunkRange, Vec<u8>)> {
    const MAX_SECTION: usize = 256;
    let rest = line.strip_prefix(b"@@ -")?;
    let end = rest.windows(3).position(|window| window == b" @@")?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    let (old, new) = text.split_once(" +")?;
    let side = |text: &str| {
        let (start, lines) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse::<u64>().ok()?, lines.parse::<u64>().ok()?))
    };
    let ((old_start, old_lines), (new_start, new_lines)) = (side(old)?, side(new)?);
    let section = rest[end + 3..].strip_prefix(b" ").unwrap_or_default();
    let range = HunkRange {
        old_start,
        old_lines,
        new_start,
        new_lines,
    };
    Some((range, section[..section.len().min(MAX_SECTION)].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &[u8] = b":100644 100644 aa bb M\0a b\0:100644 000000 cc 00 D\0x\0:100644 100644 dd ee R090\0old\0new\n\0\0diff --git a/a b b/a b\nindex aa..bb 100644\n--- a/a b\n+++ b/a b\n@@ -1,2 +1,2 @@ fn x()\n-diff --git a/fake b/fake\n+@@ -1 +1 @@\n same\n\\ No newline at end of file\ndiff --git \"a/old\" \"b/new\\n\"\nBinary files a/old and b/new differ\n";

    fn events(parts: &[&[u8]]) -> Vec<Event> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for part in parts {
            reader.push(part);
            while let Some(event) = reader.next().unwrap() {
                events.push(event);
            }
        }
        reader.end();
        while let Some(event) = reader.next().unwrap() {
            events.push(event);
        }
        events
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let whole = events(&[DIFF]);
        assert_eq!(whole.len(), 13, "{whole:#?}");
        for cut in 0..DIFF.len() {
            assert_eq!(events(&[&DIFF[..cut], &DIFF[cut..]]), whole, "{cut}");
        }
    }

    #[test]
    fn a_header_is_told_by_its_paths() {
        let raw = Raw {
            old_mode: 0,
            new_mode: 0,
            old_oid: String::new(),
            new_oid: String::new(),
            status: b'R',
            old: b"old".to_vec(),
            new: b"new\n\"\x01".to_vec(),
        };
        assert_eq!(raw.header(), b"diff --git a/old \"b/new\\n\\\"\\001\"");
    }

    #[test]
    fn a_long_line_is_cut() {
        let mut diff = b"\0diff --git a/x b/x\n@@ -0,0 +1,2 @@\n+".to_vec();
        diff.extend(vec![b'x'; 3 * MAX_DIFF_LINE]);
        diff.extend_from_slice(b"\n+y\n");
        for step in [1000, 70_000] {
            let parts: Vec<&[u8]> = diff.chunks(step).collect();
            let lines: Vec<_> = events(&parts)
                .into_iter()
                .filter_map(|event| match event {
                    Event::Line { text, cut, .. } => Some((text.len(), cut)),
                    _ => None,
                })
                .collect();
            assert_eq!(lines, [(MAX_DIFF_LINE, true), (1, false)], "{step}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [
            &b"hello"[..],
            b":1 2\0x\0y\0",
            b"\0diff --git a/x b/x\n@@ -1 +1 @@\n?x\n",
            b"\0@@ x\n",
        ] {
            let mut reader = Reader::default();
            reader.push(nonsense);
            let outcome = std::iter::from_fn(|| reader.next().transpose()).find(Result::is_err);
            assert_eq!(outcome, Some(Err(Unreadable)), "{nonsense:?}");
        }
    }
}

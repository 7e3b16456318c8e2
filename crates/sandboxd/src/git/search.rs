//! Finds files by some letters of their path.
//!
//! Every word of the search must be in the path, its letters in their order. Letters that begin a
//! part of a name, that follow each other, or that are in the file's own name count more; among
//! equals the shorter path wins.

use std::cmp::Reverse;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use mistle_protocol::changes::{FoundFile, FoundFiles, RepoPath};

/// The most files that are searched.
pub(crate) const MAX_SEARCHED: usize = 500_000;
/// The most words of a search.
const MAX_WORDS: usize = 8;
/// What a letter is worth …
const LETTER: i32 = 16;
/// … more when it begins a part of a name …
const BEGINS: i32 = 12;
/// … more when it follows the last one …
const FOLLOWS: i32 = 10;
/// … more when the whole word is in the file's own name …
const IN_NAME: i32 = 40;
/// … and more when it is that name's beginning.
const NAME_BEGINS: i32 = 30;
/// What letters between two of a word cost at most.
const MAX_GAP: usize = 12;

/// The paths of a tree, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    pub(crate) truncated: bool,
}

impl Paths {
    /// Sorted paths; the same one twice counts once.
    pub(crate) fn collect<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for path in paths {
            let Ok(end) = u32::try_from(all.bytes.len() + path.len()) else {
                all.truncated = true;
                break;
            };
            if all.ends.len() >= MAX_SEARCHED {
                all.truncated = true;
                break;
            }
            if all.ends.len().checked_sub(1).and_then(|last| all.get(last)) == Some(path) {
                continue;
            }
            all.bytes.extend_from_slice(path);
            all.ends.push(end);
        }
        all.bytes.shrink_to_fit();
        all
    }

    fn get(&self, at: usize) -> Option<&[u8]> {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        self.bytes.get(begin..*self.ends.get(at)? as usize)
    }

    /// The best matches that still exist.
    pub(crate) fn search(&self, search: &str, limit: usize, exists: impl Fn(&[u8]) -> bool) -> FoundFiles {
        let words: Vec<Vec<u8>> = search
            .split_whitespace()
            .take(MAX_WORDS)
            .map(|word| word.to_ascii_lowercase().into_bytes())
            .collect();
        let mut found: Vec<(Reverse<i32>, usize, usize)> = Vec::new();
        for at in 0..self.ends.len() {
            let Some(path) = self.get(at) else { continue };
            if let Some(score) = score(path, &words) {
                found.push((Reverse(score), path.len(), at));
            }
        }
        let total = found.len() as u64;
        // Some may be gone, so a few more than asked are put in order.
        let wanted = limit.saturating_mul(2).saturating_add(16);
        if found.len() > wanted {
            found.select_nth_unstable(wanted);
            found.truncate(wanted);
        }
        found.sort_unstable();
        let files = found
            .into_iter()
            .filter_map(|(_, _, at)| self.get(at))
            .filter(|path| exists(path))
            .take(limit)
            .map(|path| {
                let path = RepoPath::from_bytes(path);
                let matches = letters(&path.text, &words);
                FoundFile { path, matches }
            })
            .collect();
        FoundFiles {
            files,
            total,
            truncated: self.truncated,
        }
    }
}

/// The files below a folder that is in no repository.
pub(crate) fn walk(root: &Path) -> Paths {
    let mut folders = vec![Vec::new()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    while let Some(folder) = folders.pop() {
        // One that is gone or can't be read has nothing to find.
        let Ok(entries) = fs::read_dir(root.join(super::repository::os(&folder))) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = if folder.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [&folder, &b"/"[..], name.as_bytes()].concat()
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != ".git" => folders.push(path),
                Ok(kind) if !kind.is_dir() => files.push(path),
                _ => {}
            }
        }
        if files.len() > MAX_SEARCHED || folders.len() > MAX_SEARCHED {
            break;
        }
    }
    files.sort_unstable();
    Paths::collect(files.iter().map(Vec::as_slice))
}

fn score(path: &[u8], words: &[Vec<u8>]) -> Option<i32> {
    words
        .iter()
        .try_fold(0, |sum, word| Some(sum + place(path, word, |_| ())?))
}

/// Which characters of a path's text match.
fn letters(text: &str, words: &[Vec<u8>]) -> Vec<u32> {
    let mut bytes = Vec::new();
    for word in words {
        place(text.as_bytes(), word, |at| bytes.push(at));
    }
    bytes.sort_unstable();
    bytes.dedup();
    let mut places = bytes.into_iter().peekable();
    let mut matches = Vec::new();
    for (number, (at, letter)) in text.char_indices().enumerate() {
        let mut hit = false;
        while places.next_if(|place| *place < at + letter.len_utf8()).is_some() {
            hit = true;
        }
        if hit {
            matches.push(u32::try_from(number).unwrap_or(u32::MAX));
        }
    }
    matches
}

/// Where a word's letters are and what that is worth; none when they are not all there.
fn place(path: &[u8], word: &[u8], mut hit: impl FnMut(usize)) -> Option<i32> {
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (from, end, in_name) = match last_letter(path, word, name) {
        Some(end) => (name, end, true),
        None => (0, last_letter(path, word, 0)?, false),
    };
    // From the end backwards the letters lie closest together.
    let mut places = [0_usize; 256];
    let places = places.get_mut(..word.len())?;
    let mut at = end;
    for (slot, letter) in places.iter_mut().zip(word).rev() {
        while path[at].to_ascii_lowercase() != *letter {
            at = at.checked_sub(1).filter(|at| *at >= from)?;
        }
        *slot = at;
        at = at.saturating_sub(1);
    }
    let mut sum = if in_name { IN_NAME } else { 0 };
    if in_name && places.first() == Some(&name) {
        sum += NAME_BEGINS;
    }
    let mut last: Option<usize> = None;
    for at in places.iter().copied() {
        hit(at);
        sum += LETTER;
        if begins_part(path, at) {
            sum += BEGINS;
        }
        match last {
            Some(last) if last + 1 == at => sum += FOLLOWS,
            Some(last) => sum -= i32::try_from((at - last).min(MAX_GAP)).unwrap_or_default(),
            None => {}
        }
        last = Some(at);
    }
    Some(sum)
}

/// Where the last letter of a word is, when all its letters follow each other somehow.
fn last_letter(path: &[u8], word: &[u8], from: usize) -> Option<usize> {
    let mut wanted = word.iter();
    let mut letter = wanted.next()?;
    for (at, byte) in path.iter().enumerate().skip(from) {
        if byte.to_ascii_lowercase() == *letter {
            match wanted.next() {
                Some(next) => letter = next,
                None => return Some(at),
            }
        }
    }
    None
}

fn begins_part(path: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| path[before]) else {
        return true;
    };
    !before.is_ascii_alphanumeric() && before.is_ascii()
        || (before.is_ascii_lowercase() && path[at].is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str], search: &str) -> Vec<String> {
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        let all = Paths::collect(paths.iter().map(|path| path.as_bytes()));
        let found = all.search(search, 10, |_| true);
        found.files.into_iter().map(|file| file.path.text).collect()
    }

    #[test]
    fn the_own_name_and_the_beginning_win() {
        let paths = [
            "src/main.rs",
            "src/domain/name.rs",
            "maintenance/readme.md",
            "web/MainView.tsx",
            "x/y/z.rs",
        ];
        assert_eq!(found(&paths, "main")[0], "src/main.rs");
        assert_eq!(found(&paths, "mv"), ["web/MainView.tsx"]);
        assert_eq!(found(&paths, "readme maint"), ["maintenance/readme.md"]);
        assert_eq!(found(&paths, "zzz"), Vec::<String>::new());
        assert_eq!(found(&paths, "").len(), 5);
    }

    #[test]
    fn matches_count_characters() {
        let all = Paths::collect(["ä/ß b.rs".as_bytes()].into_iter());
        let found = all.search("brs ß", 1, |_| true);
        assert_eq!(found.files[0].matches, [2, 4, 6, 7]);
    }

    #[test]
    fn any_search_and_any_path_are_fine() {
        let paths = [&b"\xff\xfe/\xc3"[..], b"a", b"//", b""];
        let all = Paths::collect(paths.into_iter());
        let long = "a".repeat(600);
        for search in ["\u{fffd}", "a a a a a a a a a a", "/", &long] {
            all.search(search, 10, |_| true);
        }
    }
}

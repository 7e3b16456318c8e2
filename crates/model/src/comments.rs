//! Comments on lines of a diff: where their lines went, and how they are told to a runtime.

use std::fmt::Write as _;

use mistle_protocol::changes::{
    Comment, CommentAnchor, MAX_ANCHOR_CONTEXT, MAX_ANCHOR_LINE, MAX_COMMENT, MAX_DIFF_LINE, MAX_QUOTE, Placement,
    RepoPath, Scope, Side,
};

/// The most lines of a file that are looked through.
pub const MAX_LINES: usize = 200_000;
/// The most lines that a comment is about.
const MAX_QUOTED_LINES: usize = 2_000;

/// Why a comment can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing is in it.
    #[error("the comment is empty")]
    Empty,
    /// It is too long.
    #[error("the comment is longer than {} KiB", MAX_COMMENT / 1024)]
    TooLong,
    /// Its place can't be one.
    #[error(
        "the comment's place is not valid: lines count from 1, and the quoted lines are those between the first and the last"
    )]
    Place,
    /// It is about too much.
    #[error("a comment is about at most {MAX_QUOTED_LINES} lines and {} KiB", MAX_QUOTE / 1024)]
    QuoteTooLong,
}

/// Whether a text can be a comment's.
pub fn check_text(text: &str) -> Result<(), Denied> {
    if text.trim().is_empty() {
        return Err(Denied::Empty);
    }
    if text.len() > MAX_COMMENT {
        Err(Denied::TooLong)
    } else {
        Ok(())
    }
}

/// Whether an anchor can be a comment's.
pub fn check_anchor(anchor: &CommentAnchor) -> Result<(), Denied> {
    let length = anchor
        .end_line
        .checked_sub(anchor.start_line)
        .and_then(|length| length.checked_add(1));
    let lines = anchor.quote.len();
    if anchor
        .workspace
        .as_ref()
        .is_some_and(|folder| folder.len() > mistle_protocol::changes::MAX_PATH)
    {
        return Err(Denied::Place);
    }
    let is_path = |path: &RepoPath| path.to_bytes().is_some();
    if !is_path(&anchor.path) || !anchor.old_path.as_ref().is_none_or(is_path) {
        return Err(Denied::Place);
    }
    if anchor.start_line == 0 || length != Some(lines as u64) {
        return Err(Denied::Place);
    }
    let bytes: usize = anchor.quote.iter().map(|line| line.len() + 1).sum();
    if lines > MAX_QUOTED_LINES || bytes > MAX_QUOTE {
        return Err(Denied::QuoteTooLong);
    }
    let short =
        |lines: &[String]| lines.len() <= MAX_ANCHOR_CONTEXT && lines.iter().all(|line| line.len() <= MAX_ANCHOR_LINE);
    if short(&anchor.before) && short(&anchor.after) {
        Ok(())
    } else {
        Err(Denied::Place)
    }
}

/// Where a comment's lines are in a file as it is.
///
/// The quoted lines must be there, as they were or with other space around them. Of several such
/// places the one wins whose neighbours are most like those of the comment, then the nearest one.
/// Lines that say little (blank ones, a bracket) are only found elsewhere together with a neighbour.
pub fn relocate(anchor: &CommentAnchor, lines: &[&str]) -> Placement {
    let lines = &lines[..lines.len().min(MAX_LINES)];
    find(anchor, lines, same)
        .or_else(|| find(anchor, lines, same_trimmed))
        .unwrap_or(Placement::Outdated)
}

fn find(anchor: &CommentAnchor, lines: &[&str], same: fn(&str, &str) -> bool) -> Option<Placement> {
    let quote: Vec<&str> = anchor.quote.iter().map(String::as_str).collect();
    let last = lines.len().checked_sub(quote.len())?;
    let home = usize::try_from(anchor.start_line).ok()?.checked_sub(1)?;
    let telling = quote
        .iter()
        .any(|line| line.chars().filter(|c| c.is_alphanumeric()).count() >= 3);
    let first = *quote.first()?;
    let candidates = (0..=last).filter(|at| {
        same(first, lines[*at]) && quote.iter().zip(&lines[*at..]).all(|(quoted, line)| same(quoted, line))
    });
    let best = candidates
        .map(|at| (neighbours(anchor, lines, at, quote.len(), same), at))
        .filter(|(alike, at)| telling || *at == home || *alike > 0)
        .max_by_key(|(alike, at)| (*alike, std::cmp::Reverse(at.abs_diff(home))));
    best.map(|(_, at)| Placement::Located {
        start_line: at as u64 + 1,
        end_line: (at + quote.len()) as u64,
        path: None,
    })
}

/// How many neighbours are as they were, without a gap.
fn neighbours(anchor: &CommentAnchor, lines: &[&str], at: usize, length: usize, same: fn(&str, &str) -> bool) -> usize {
    let before = anchor.before.iter().rev().zip(lines[..at].iter().rev());
    let after = anchor.after.iter().zip(&lines[at + length..]);
    before.take_while(|(known, line)| same(known, line)).count()
        + after.take_while(|(known, line)| same(known, line)).count()
}

/// A line of a diff may have lost its end for its length.
fn same(quoted: &str, line: &str) -> bool {
    quoted == line || (quoted.len() + 4 >= MAX_DIFF_LINE && line.starts_with(quoted.trim_end_matches('\u{fffd}')))
}

fn same_trimmed(quoted: &str, line: &str) -> bool {
    quoted.trim() == line.trim()
}

/// What comes before the comments in a message. The page knows it too.
const HEADING: &str = "Comments on the changes:\n";

/// A message with comments whose text is another one. The comments stay as they were told.
pub fn retell(told: &str, text: &str) -> String {
    let (_, comments) = apart(told);
    let (own, _) = apart(text);
    match own.trim_end() {
        "" => comments.to_owned(),
        own => format!("{own}\n\n{comments}"),
    }
}

/// What the person wrote of a message, and what was told of its comments.
fn apart(told: &str) -> (&str, &str) {
    if told.starts_with(HEADING) {
        return ("", told);
    }
    let at = told.find(&format!("\n\n{HEADING}"));
    let (own, comments) = told.split_at(at.unwrap_or(told.len()));
    (own, comments.trim_start())
}

/// A message with comments, as a runtime reads it.
pub fn tell(text: &str, comments: &[Comment]) -> String {
    let mut told = text.trim_end().to_owned();
    if comments.is_empty() {
        return told;
    }
    if !told.is_empty() {
        told.push_str("\n\n");
    }
    told.push_str(HEADING);
    for comment in comments {
        let anchor = &comment.anchor;
        let (start, end, path, since) = match &comment.placement {
            Some(
                Placement::Located {
                    start_line,
                    end_line,
                    path,
                }
                | Placement::OtherScope {
                    start_line,
                    end_line,
                    path,
                    ..
                },
            ) => (*start_line, *end_line, path.as_ref(), ""),
            Some(Placement::Outdated) => (anchor.start_line, anchor.end_line, None, "; these lines are gone since"),
            None => (anchor.start_line, anchor.end_line, None, ""),
        };
        // In a session of several repositories a path alone says too little.
        let folder = anchor.workspace.as_deref();
        let path: String = folder
            .into_iter()
            .flat_map(|folder| [folder, "/"])
            .chain([path.unwrap_or(&anchor.path).text.as_str()])
            .flat_map(str::chars)
            .map(|c| if c.is_control() || c == '`' { '\u{fffd}' } else { c })
            .collect();
        let lines = if start == end {
            format!("line {start}")
        } else {
            format!("lines {start}–{end}")
        };
        let side = match (anchor.side, anchor.scope) {
            (Side::Old, Scope::Branch) => "before the change",
            (Side::Old, Scope::Uncommitted) => "in the last commit",
            (Side::Old, Scope::LastTurn) => "before the last turn",
            (Side::New, _) => "after the change",
        };
        let fence = fence(&anchor.quote);
        let quote = anchor.quote.join("\n");
        // A string takes whatever is written.
        let _ = write!(
            told,
            "\n`{path}`, {lines} ({side}{since}):\n{fence}\n{quote}\n{fence}\n{}\n",
            comment.text.trim()
        );
    }
    told
}

/// A fence that the quoted code does not close.
fn fence(quote: &[String]) -> String {
    let longest = quote
        .iter()
        .flat_map(|line| line.split(|c| c != '`'))
        .map(str::len)
        .max()
        .unwrap_or_default();
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use mistle_protocol::changes::{CommentState, RepoPath, Scope};
    use mistle_protocol::id::{CommentId, SessionId, UserId};
    use proptest::prelude::*;

    use super::*;

    fn anchor(lines: &[&str], start: usize, end: usize) -> CommentAnchor {
        let own = |range: &[&str]| range.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        CommentAnchor {
            workspace: None,
            path: RepoPath::from_bytes(b"a.rs"),
            old_path: None,
            side: Side::New,
            scope: Scope::Branch,
            start_line: start as u64,
            end_line: end as u64,
            quote: own(&lines[start - 1..end]),
            before: own(&lines[(start - 1).saturating_sub(3)..start - 1]),
            after: own(&lines[end..(end + 3).min(lines.len())]),
        }
    }

    fn at(start_line: u64, end_line: u64) -> Placement {
        Placement::Located {
            start_line,
            end_line,
            path: None,
        }
    }

    #[test]
    fn a_comment_moves_with_its_lines() {
        let file = ["fn a() {", "    one();", "}", "", "fn b() {", "    two();", "}"];
        let comment = anchor(&file, 6, 6);
        assert_eq!(relocate(&comment, &file), at(6, 6));
        let longer: Vec<&str> = ["// new", "// lines"].into_iter().chain(file).collect();
        assert_eq!(relocate(&comment, &longer), at(8, 8));
        let indented: Vec<String> = file.iter().map(|line| format!("  {line}")).collect();
        let indented: Vec<&str> = indented.iter().map(String::as_str).collect();
        assert_eq!(relocate(&comment, &indented), at(6, 6));
        assert_eq!(relocate(&comment, &file[..5]), Placement::Outdated);
        assert_eq!(relocate(&comment, &[]), Placement::Outdated);
    }

    #[test]
    fn of_two_alike_the_neighbours_decide() {
        let file = ["a", "return value;", "b", "c", "return value;", "d"];
        let comment = anchor(&file, 5, 5);
        let swapped = ["c", "return value;", "d", "a", "return value;", "b"];
        assert_eq!(relocate(&comment, &swapped), at(2, 2));
        // A bracket alone is everywhere.
        let bracket = anchor(&["fn a() {", "}"], 2, 2);
        assert_eq!(relocate(&bracket, &["x", "y", "}", "z"]), Placement::Outdated);
        assert_eq!(relocate(&bracket, &["x", "fn a() {", "}"]), at(3, 3));
    }

    #[test]
    fn another_text_keeps_the_comments() {
        let comments = "Comments on the changes:\n\n`a.rs`, line 1 (after the change):\n```\nx\n```\nWhy?\n";
        let told = format!("Look.\n\n{comments}");
        let again = format!("Look again.\n\n{comments}");
        assert_eq!(retell(&told, "Look again.\n"), again);
        assert_eq!(retell(comments, "Look again."), again);
        assert_eq!(retell(&told, ""), comments);
        // Whoever read the whole message and sends it back does not say the comments twice.
        assert_eq!(retell(&told, &again), again);
    }

    #[test]
    fn what_a_runtime_reads() {
        let anchor = CommentAnchor {
            quote: vec!["```rust".into(), "x".into()],
            ..anchor(&["a", "b"], 1, 2)
        };
        let comment = Comment {
            id: CommentId::new(),
            session_id: SessionId::new(),
            created_by: UserId::new(),
            anchor,
            text: "Why twice?\n".into(),
            state: CommentState::Draft,
            message_id: None,
            placement: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let placed = |placement| Comment {
            placement: Some(placement),
            ..comment.clone()
        };
        for (placement, lines) in [
            (at(4, 5), "lines 4–5 (after the change):"),
            (
                Placement::Outdated,
                "lines 1–2 (after the change; these lines are gone since):",
            ),
        ] {
            assert!(tell("", &[placed(placement)]).contains(lines));
        }
        let moved = Placement::Located {
            start_line: 4,
            end_line: 5,
            path: Some(RepoPath::from_bytes(b"b.rs")),
        };
        assert!(tell("", &[placed(moved)]).contains("`b.rs`, lines 4–5 (after the change):"));
        for (scope, words) in [
            (Scope::Branch, "before the change"),
            (Scope::Uncommitted, "in the last commit"),
            (Scope::LastTurn, "before the last turn"),
        ] {
            let mut old = comment.clone();
            (old.anchor.side, old.anchor.scope) = (Side::Old, scope);
            assert!(tell("", &[old]).contains(&format!("lines 1–2 ({words}):")));
        }
        assert_eq!(
            tell("Look.\n", &[comment]),
            "Look.\n\nComments on the changes:\n\n`a.rs`, lines 1–2 (after the change):\n````\n```rust\nx\n````\nWhy twice?\n"
        );
        assert_eq!(tell("Look.", &[]), "Look.");
    }

    #[test]
    fn a_place_that_is_none_is_denied() {
        let good = anchor(&["a", "b"], 1, 2);
        assert_eq!(check_anchor(&good), Ok(()));
        for wrong in [
            CommentAnchor {
                start_line: 0,
                ..good.clone()
            },
            CommentAnchor {
                end_line: u64::MAX,
                ..good.clone()
            },
            CommentAnchor {
                end_line: 1,
                ..good.clone()
            },
            CommentAnchor {
                quote: vec![],
                ..good.clone()
            },
            CommentAnchor {
                path: RepoPath::from_bytes(b"../x"),
                ..good.clone()
            },
            CommentAnchor {
                old_path: Some(RepoPath::from_bytes(b"/etc/passwd")),
                ..good.clone()
            },
            CommentAnchor {
                before: vec![String::new(); MAX_ANCHOR_CONTEXT + 1],
                ..good.clone()
            },
        ] {
            assert_eq!(check_anchor(&wrong), Err(Denied::Place));
        }
    }

    proptest! {
        /// Lines that are alike nowhere else are found wherever others are put around them, and not
        /// when one of them is gone.
        #[test]
        fn unique_lines_are_always_found(
            total in 1_usize..40,
            start in 0_usize..40,
            length in 1_usize..5,
            above in 0_usize..20,
            below in 0_usize..20,
        ) {
            let own: Vec<String> = (0..total).map(|n| format!("line {n} of the file")).collect();
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let start = start % total;
            let end = (start + length).min(total);
            let comment = anchor(&own, start + 1, end);
            let mut file = vec!["other"; above];
            file.extend(&own);
            file.extend(vec!["another"; below]);
            prop_assert_eq!(relocate(&comment, &file), at((above + start + 1) as u64, (above + end) as u64));
            file.remove(above + start);
            prop_assert_eq!(relocate(&comment, &file), Placement::Outdated);
        }

        /// Whatever the file, a located comment is on lines that say what was quoted.
        #[test]
        fn a_located_comment_is_on_its_lines(
            before in prop::collection::vec("[ab}]{0,2}", 1..12),
            after in prop::collection::vec("[ab}]{0,2}", 0..12),
            start in 0_usize..12,
            length in 1_usize..4,
        ) {
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            let start = start % before.len();
            let end = (start + length).min(before.len());
            let comment = anchor(&before, start + 1, end);
            prop_assert_eq!(relocate(&comment, &before), at(start as u64 + 1, end as u64));
            if let Placement::Located { start_line, end_line, .. } = relocate(&comment, &after) {
                let found = &after[start_line as usize - 1..end_line as usize];
                prop_assert!(found.iter().map(|line| line.trim()).eq(comment.quote.iter().map(|line| line.trim())));
            }
        }
    }
}

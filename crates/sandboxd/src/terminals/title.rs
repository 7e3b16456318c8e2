//! Reads a terminal's title out of its output: `ESC ] 0 ; title BEL` and its kin.
//!
//! The text comes from whatever runs in the sandbox and ends up on a page, so it is cut, and freed
//! of everything that is not plain text.

/// The longest title, in characters.
const MAX_TITLE: usize = 120;
/// The longest sequence that is looked at, in bytes.
const MAX_SEQUENCE: usize = 1024;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Watches output that comes in any pieces.
#[derive(Debug, Default)]
pub(crate) struct TitleScanner {
    state: State,
    /// What followed `ESC ]` so far.
    sequence: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Sequence,
    /// `ESC` within a sequence: its end, when a backslash follows.
    SequenceEscape,
}

impl TitleScanner {
    /// The last title that was set in `output`, if one was.
    pub(crate) fn scan(&mut self, mut output: &[u8]) -> Option<String> {
        let mut title = None;
        while let Some((&byte, rest)) = output.split_first() {
            output = rest;
            match self.state {
                State::Ground => {
                    if byte == ESCAPE {
                        self.state = State::Escape;
                    } else {
                        let escape = rest.iter().position(|byte| *byte == ESCAPE).unwrap_or(rest.len());
                        output = &rest[escape..];
                    }
                }
                State::Escape => {
                    self.state = match byte {
                        b']' => State::Sequence,
                        ESCAPE => State::Escape,
                        _ => State::Ground,
                    };
                }
                State::Sequence => match byte {
                    BELL => title = self.end().or(title),
                    ESCAPE => self.state = State::SequenceEscape,
                    // Cancelled, or not a title in earnest.
                    0x18 | 0x1a => self.abandon(),
                    _ if self.sequence.len() >= MAX_SEQUENCE => self.abandon(),
                    _ => self.sequence.push(byte),
                },
                State::SequenceEscape => {
                    if byte == b'\\' {
                        title = self.end().or(title);
                    } else {
                        self.abandon();
                        self.state = if byte == b']' { State::Sequence } else { State::Ground };
                    }
                }
            }
        }
        title
    }

    fn end(&mut self) -> Option<String> {
        self.state = State::Ground;
        let sequence = std::mem::take(&mut self.sequence);
        let text = sequence.strip_prefix(b"0;").or_else(|| sequence.strip_prefix(b"2;"))?;
        Some(sanitize(&String::from_utf8_lossy(text)))
    }

    fn abandon(&mut self) {
        self.state = State::Ground;
        self.sequence = Vec::new();
    }
}

/// Plain text of bounded length: no control characters and none that reorder or hide text.
pub(crate) fn sanitize(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|character| !character.is_control() && !is_format(*character))
        .take(MAX_TITLE)
        .collect();
    plain.trim().to_owned()
}

fn is_format(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(output: &str) -> Option<String> {
        TitleScanner::default().scan(output.as_bytes())
    }

    #[test]
    fn titles_are_found_between_output() {
        assert_eq!(scan("x\x1b]0;one\x07y"), Some("one".into()));
        assert_eq!(scan("\x1b[31mred\x1b]2;two\x1b\\"), Some("two".into()));
        assert_eq!(scan("\x1b]0;one\x07\x1b]2;two\x07"), Some("two".into()));
        assert_eq!(scan("\x1b]0;one\x07\x1b]8;;http://x\x07link"), Some("one".into()));
        assert_eq!(scan("\x1b]0;a\x1b]2;b\x07"), Some("b".into()));
    }

    #[test]
    fn other_sequences_are_none() {
        for other in [
            "plain",
            "\x1b]1;icon\x07",
            "\x1b]52;c;AAAA\x07",
            "\x1b]0;cancelled\x18\x07",
            "\x1b]0;unfinished",
        ] {
            assert_eq!(scan(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_title_survives_any_cut() {
        let output = "before\x1b]0;vim: naïve.rs\x1b\\after".as_bytes();
        for cut in 0..=output.len() {
            let mut scanner = TitleScanner::default();
            let first = scanner.scan(&output[..cut]);
            assert_eq!(
                scanner.scan(&output[cut..]).or(first).as_deref(),
                Some("vim: naïve.rs"),
                "{cut}"
            );
        }
    }

    #[test]
    fn titles_are_plain_and_short() {
        assert_eq!(scan("\x1b]0; a\u{202e}b\tc\u{200b}\u{9b} \x07"), Some("abc".into()));
        assert_eq!(
            scan(&format!("\x1b]0;{}\x07", "é".repeat(400))).map(|title| title.chars().count()),
            Some(MAX_TITLE)
        );
        assert_eq!(scan(&format!("\x1b]0;{}\x07", "x".repeat(2000))), None);
        assert_eq!(
            TitleScanner::default().scan(b"\x1b]0;\xff\xfe\x07"),
            Some("\u{fffd}\u{fffd}".into())
        );
    }
}

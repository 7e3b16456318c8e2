//! What a person or a program reads.
//!
//! What comes from a sandbox is untrusted: before it reaches a terminal, everything that a terminal
//! would obey is taken out.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// Standard output and error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Whether a program reads.
    pub(super) json: bool,
    /// Whether a terminal does.
    styled: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let styled = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, styled }
    }

    /// What a file gets, wherever the tests run.
    #[cfg(test)]
    pub(super) fn unstyled() -> Self {
        Self {
            json: false,
            styled: false,
        }
    }

    /// What went wrong, with its causes.
    pub(super) fn error(self, error: &anyhow::Error) {
        if let Some(super::client::Refused(problem)) = error.downcast_ref()
            && self.json
        {
            let _ = serde_json::to_string(problem).map(note);
            return;
        }
        let mut causes = error.chain().map(ToString::to_string).collect::<Vec<_>>();
        causes.dedup();
        note(format!("mistle: {}", plain(&causes.join(": "))));
    }

    fn style(self, text: &str, code: &str) -> String {
        if self.styled {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Bold, on a terminal.
    pub(super) fn strong(self, text: &str) -> String {
        self.style(text, "1")
    }

    /// Faint, on a terminal.
    pub(super) fn faint(self, text: &str) -> String {
        self.style(text, "2")
    }

    /// Columns, aligned.
    pub(super) fn table(self, head: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .chain([head[column].len()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let aligned = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        line(self.faint(&aligned(&head)))?;
        rows.iter().try_for_each(|row| line(aligned(row)))
    }
}

/// Nobody reads standard output any more, as after `| head`. No failure that one has to read about.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads any more")]
pub(super) struct NobodyReads;

/// What became of writing to standard output.
pub(super) fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        result => Ok(result?),
    }
}

/// One JSON value on a line.
pub(super) fn value<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    written(io::stdout().lock().write_all(&text))
}

/// A line of text.
pub(super) fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    written(writeln!(io::stdout().lock(), "{}", text.as_ref()))
}

/// Text without a line's end.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// A line beside the answer itself.
pub(super) fn note(text: impl AsRef<str>) {
    // Nobody reading is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Text without anything that a terminal obeys, line ends and tabs apart.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        // Marks that turn the direction of text around hide what is really said.
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect()
}

/// Plain text on one line, at most `most` characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let line: String = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_taken_out() {
        assert_eq!(
            plain("a\u{1b}]52;c;aGk=\u{7}b\u{9b}2Jc\r\n\td\u{202e}e"),
            "a]52;c;aGk=b2Jc\n\tde"
        );
        assert_eq!(short("one\n two   three", 9), "one two …");
    }
}

//! A command as a person would type it.
//!
//! Codex runs a script through a shell and shows the whole line: `/bin/bash -lc 'cargo test'`.

/// What a person would have typed for the line that Codex shows.
pub(super) fn typed(line: &str) -> String {
    unwrapped(line).unwrap_or_else(|| line.to_owned())
}

fn unwrapped(line: &str) -> Option<String> {
    let (shell, rest) = line.split_once(' ')?;
    let shell = shell.rsplit('/').next()?;
    let (flag, script) = rest.split_once(' ')?;
    if !matches!(shell, "bash" | "sh" | "zsh" | "dash") || !matches!(flag, "-lc" | "-c") {
        return None;
    }
    one_word(script)
}

/// The value of a text that is one word of POSIX shell, without expansions.
fn one_word(text: &str) -> Option<String> {
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => match chars.next()? {
                        c @ ('"' | '\\' | '$' | '`') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            '\\' => word.push(chars.next()?),
            c if c.is_whitespace() => return None,
            c => word.push(c),
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_around_a_script_goes() {
        for (line, expected) in [
            ("/bin/bash -lc 'echo hi; ls'", "echo hi; ls"),
            ("/bin/bash -lc ls", "ls"),
            (r#"bash -c "echo \"a\" 'b'""#, r#"echo "a" 'b'"#),
            (r"/usr/bin/zsh -lc 'it'\''s'", "it's"),
            ("/bin/bash -lc 'a' 'b'", "/bin/bash -lc 'a' 'b'"),
            ("/bin/bash -lc 'open", "/bin/bash -lc 'open"),
            ("python3 -c 'print()'", "python3 -c 'print()'"),
            ("ls", "ls"),
            ("", ""),
        ] {
            assert_eq!(typed(line), expected, "{line}");
        }
    }
}

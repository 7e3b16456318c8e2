//! The `*** Begin Patch` format, and the same edits in the words of agents that do not know it.

/// One file of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilePatch {
    /// A file to create, with its content.
    Add { path: String, content: String },
    /// A file to delete.
    Delete { path: String },
    /// A file to change.
    Update { path: String, hunks: Vec<Hunk> },
}

/// Lines to replace, each with its sign: a space, `-` or `+`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hunk {
    pub(crate) lines: Vec<String>,
}

impl Hunk {
    /// The lines as they are, or as they become.
    fn side(&self, other: char) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| !line.starts_with(other))
            .map(|line| line.get(1..).unwrap_or_default())
            .collect()
    }

    /// The text that is replaced.
    pub(crate) fn before(&self) -> String {
        self.side('+').join("\n")
    }

    /// The text that replaces it.
    pub(crate) fn after(&self) -> String {
        self.side('-').join("\n")
    }
}

/// The files of a patch; lines that belong to nothing are left out.
pub(crate) fn parse(patch: &str) -> Vec<FilePatch> {
    let mut files = Vec::new();
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("*** Add File: ") {
            files.push(FilePatch::Add {
                path: path.trim().to_owned(),
                content: String::new(),
            });
        } else if let Some(path) = line.strip_prefix("*** Delete File: ") {
            files.push(FilePatch::Delete {
                path: path.trim().to_owned(),
            });
        } else if let Some(path) = line.strip_prefix("*** Update File: ") {
            files.push(FilePatch::Update {
                path: path.trim().to_owned(),
                hunks: Vec::new(),
            });
        } else if let Some(file) = files.last_mut().filter(|_| !line.starts_with("***")) {
            add_line(file, line);
        }
    }
    files
}

fn add_line(file: &mut FilePatch, line: &str) {
    match file {
        FilePatch::Add { content, .. } => {
            content.push_str(line.strip_prefix('+').unwrap_or(line));
            content.push('\n');
        }
        FilePatch::Update { hunks, .. } if line.starts_with("@@") => hunks.push(Hunk::default()),
        FilePatch::Update { hunks, .. } => {
            if hunks.is_empty() {
                hunks.push(Hunk::default());
            }
            if let Some(hunk) = hunks.last_mut() {
                hunk.lines.push(if line.is_empty() {
                    " ".to_owned()
                } else {
                    line.to_owned()
                });
            }
        }
        FilePatch::Delete { .. } => {}
    }
}

/// One shell command that makes the same edits, for agents that offer nothing but a shell.
pub(crate) fn as_command(patch: &str) -> String {
    let commands: Vec<String> = parse(patch).iter().flat_map(file_commands).collect();
    commands.join("\n")
}

fn file_commands(file: &FilePatch) -> Vec<String> {
    match file {
        FilePatch::Add { path, content } => {
            let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
            vec![
                format!("mkdir -p {} &&", quoted(folder)),
                heredoc(&format!("cat > {}", quoted(path)), content),
            ]
        }
        FilePatch::Delete { path } => vec![format!("rm -- {}", quoted(path))],
        FilePatch::Update { path, hunks } => hunks.iter().map(|hunk| hunk_command(path, hunk)).collect(),
    }
}

fn hunk_command(path: &str, hunk: &Hunk) -> String {
    let (old, new) = (hunk.side('+').len(), hunk.side('-').len());
    if old == 0 {
        return heredoc(&format!("cat >> {}", quoted(path)), &format!("{}\n", hunk.after()));
    }
    // git looks for the lines from any number but 1, which would pin them to the file's beginning.
    let body = hunk.lines.join("\n");
    heredoc(
        "git apply --unidiff-zero -",
        &format!("--- a/{path}\n+++ b/{path}\n@@ -2,{old} +2,{new} @@\n{body}\n"),
    )
}

fn heredoc(command: &str, text: &str) -> String {
    let mut end = "END".to_owned();
    while text.contains(&end) {
        end.push('_');
    }
    format!("{command} <<'{end}'\n{text}{end}")
}

/// A word that the shell leaves alone.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "*** Begin Patch\n*** Add File: docs/it's new.md\n+# New\n+\n+END\n*** Update File: a.txt\n@@ two\n two\n-three\n+drei\n four\n@@\n-seven\n+sieben\n*** Update File: b.txt\n@@\n+last\n*** Delete File: c.txt\n*** End Patch\n";

    #[test]
    fn every_kind_of_file_is_read() {
        let hunk = |lines: &[&str]| Hunk {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(
            parse(PATCH),
            [
                FilePatch::Add {
                    path: "docs/it's new.md".into(),
                    content: "# New\n\nEND\n".into()
                },
                FilePatch::Update {
                    path: "a.txt".into(),
                    hunks: vec![
                        hunk(&[" two", "-three", "+drei", " four"]),
                        hunk(&["-seven", "+sieben"])
                    ]
                },
                FilePatch::Update {
                    path: "b.txt".into(),
                    hunks: vec![hunk(&["+last"])]
                },
                FilePatch::Delete { path: "c.txt".into() },
            ]
        );
    }

    #[test]
    fn the_command_makes_the_same_edits() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("a.txt"), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n").unwrap();
        std::fs::write(file("b.txt"), "first\n").unwrap();
        std::fs::write(file("c.txt"), "gone\n").unwrap();
        let status = std::process::Command::new("sh")
            .args(["-ec", &as_command(PATCH)])
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        assert_eq!(read("a.txt"), "one\ntwo\ndrei\nfour\nfive\nsix\nsieben\n");
        assert_eq!(read("b.txt"), "first\nlast\n");
        assert_eq!(read("docs/it's new.md"), "# New\n\nEND\n");
        assert!(!file("c.txt").exists());
    }
}

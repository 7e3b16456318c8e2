//! Names of files as people's machines give them, made safe for ours.

use mistle_protocol::api::MAX_ATTACHMENT_NAME;

/// What a file without a usable name is called.
const NAMELESS: &str = "file";
/// The longest ending that is kept when a name is cut, in bytes.
const MAX_ENDING: usize = 20;

/// A name without folders, control characters or characters that turn the text around them, short
/// enough for any file system, and never one that means a folder.
pub(super) fn clean(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|character| !misleads(*character)).collect();
    let name = cut(kept.trim());
    if matches!(name.as_str(), "" | "." | "..") {
        NAMELESS.to_owned()
    } else {
        name
    }
}

fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A long name loses its middle and keeps its ending.
fn cut(name: &str) -> String {
    if name.len() <= MAX_ATTACHMENT_NAME {
        return name.to_owned();
    }
    let ending = name
        .rfind('.')
        .map(|dot| &name[dot..])
        .filter(|ending| ending.len() <= MAX_ENDING)
        .unwrap_or_default();
    let stem = name.floor_char_boundary(MAX_ATTACHMENT_NAME - ending.len());
    format!("{}{ending}", name[..stem].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless() {
        for (given, expected) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            (r"C:\Users\me\photo 1.png", "photo 1.png"),
            ("/", "file"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            (" \n\t", "file"),
            ("a/..", "file"),
            (".env", ".env"),
            ("-rf", "-rf"),
            ("a\nb\0c.txt", "abc.txt"),
            ("exe.\u{202e}gnp.sh", "exe.gnp.sh"),
            ("日本語.md", "日本語.md"),
            ("$(touch x); `y`.txt", "$(touch x); `y`.txt"),
        ] {
            assert_eq!(clean(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = clean(&format!("{}.tar", "ä".repeat(300)));
        assert!(name.len() <= MAX_ATTACHMENT_NAME && name.ends_with("ä.tar"), "{name}");
        assert_eq!(clean(&"x".repeat(999)).len(), MAX_ATTACHMENT_NAME);
        assert_eq!(clean(&format!(".{}", "x".repeat(999))).len(), MAX_ATTACHMENT_NAME);
    }
}

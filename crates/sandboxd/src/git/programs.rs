//! Programs that a repository's configuration names, and that git runs by itself.
//!
//! No diff shows them, because the configuration is no file of the tree. They are listed as
//! `.git/config`, whose lines are the settings that name programs, and nothing else of it. A fresh
//! clone names none; those that were named when a turn began are kept with its snapshot.

use mistle_protocol::changes::{
    ChangedFile, DiffLine, FileDiff, FileStatus, Hunk, HunkRange, LineKind, RepoPath, SelfRunning,
};
use sha2::{Digest as _, Sha256};

use super::base::Compared;
use super::process::{GitError, collect, fields};
use super::repository::Repository;

/// How the configuration is named, whichever files it is in.
pub(crate) const PATH: &[u8] = b".git/config";
/// The most settings that are told, so that a turn's snapshot stays small; more are counted.
const MAX_SETTINGS: usize = 64;
/// The longest of them, in bytes; what is longer ends with the digest of all of it.
const MAX_SETTING: usize = 240;

/// The settings of the repository that name programs, in the order of the configuration.
pub(crate) async fn named(repository: &Repository) -> Result<Vec<String>, GitError> {
    let mut list = repository.on_refs();
    list.args(["config", "--list", "--show-scope", "-z"]);
    let output = collect(list, None).await?;
    // A scope, then a key and its value in lines; a key without a value is one line.
    let mut words = fields(&output);
    let mut settings = Vec::new();
    while let (Some(scope), Some(setting)) = (words.next(), words.next()) {
        let setting = String::from_utf8_lossy(setting);
        let (key, value) = setting.split_once('\n').unwrap_or((&setting, "true"));
        if matches!(scope, b"local" | b"worktree") && names_program(key, value) {
            settings.push(told(key, value));
        }
    }
    let more = settings.len().saturating_sub(MAX_SETTINGS);
    if more > 0 {
        let rest = Sha256::digest(settings.split_off(MAX_SETTINGS).join("\n"));
        settings.push(format!("… and {more} more ({rest:x})"));
    }
    Ok(settings)
}

fn told(key: &str, value: &str) -> String {
    let text = format!("{key} = {value}");
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_SETTING {
        line.truncate(line.floor_char_boundary(MAX_SETTING));
        line = format!("{line} … ({:x})", Sha256::digest(&text));
    }
    line
}

/// Whether git runs what a setting says. The section and the last part of a key are in small
/// letters, as git lists them.
fn names_program(key: &str, value: &str) -> bool {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let name = rest.rsplit('.').next().unwrap_or_default();
    let is_switch = matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1"
    );
    match (section, name) {
        // Switches where the value is no program.
        ("core", "fsmonitor") | ("pager", _) => !is_switch,
        ("alias", _) => value.trim_start().starts_with('!'),
        ("submodule", "update") => value.starts_with('!'),
        // A transport that runs its address.
        ("remote", "url" | "pushurl") => value.starts_with("ext::"),
        ("url", "insteadof" | "pushinsteadof") => rest.starts_with("ext::"),
        ("core", "hookspath" | "sshcommand" | "editor" | "pager" | "gitproxy" | "askpass" | "alternaterefscommand")
        | ("sequence", "editor")
        | ("credential", "helper")
        | ("diff", "external" | "command" | "textconv")
        | ("filter", "clean" | "smudge" | "process")
        | ("merge", "driver")
        | ("difftool" | "mergetool" | "guitool" | "man" | "browser", "cmd" | "path")
        | ("gpg", "program" | "defaultkeycommand")
        | ("hook" | "tar" | "trailer", "command" | "cmd")
        | ("imap", "tunnel")
        | ("init", "templatedir")
        | ("instaweb", "httpd")
        | ("interactive", "difffilter")
        | ("remote", "uploadpack" | "receivepack" | "vcs")
        | ("sendemail", "smtpserver" | "tocmd" | "cccmd" | "headercmd" | "sendmailcmd")
        | ("uploadpack", "packobjectshook") => true,
        _ => false,
    }
}

/// What changed of them since the base was made, as a file that changed; none when nothing did.
pub(crate) fn diff(compared: &Compared, now: &[String]) -> Option<FileDiff> {
    let then = compared.turn.as_ref().and_then(|turn| turn.programs.as_deref());
    let then = then.unwrap_or_default();
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (removed, added) = (only(then, now), only(now, then));
    if removed.is_empty() && added.is_empty() {
        return None;
    }
    let range = HunkRange {
        old_start: u64::from(!removed.is_empty()),
        old_lines: removed.len() as u64,
        new_start: u64::from(!added.is_empty()),
        new_lines: added.len() as u64,
    };
    let fingerprint = format!(
        "{:x}",
        Sha256::digest([removed.join("\n"), added.join("\n")].join("\0"))
    );
    let line = |kind: LineKind| {
        move |(text, number): (String, u64)| DiffLine {
            kind,
            old_no: (kind == LineKind::Removed).then_some(number),
            new_no: (kind == LineKind::Added).then_some(number),
            text,
            no_newline: false,
            cut: false,
        }
    };
    let file = ChangedFile {
        path: RepoPath::from_bytes(PATH),
        old_path: None,
        status: FileStatus::Modified,
        untracked: true,
        old_mode: 0o100_644,
        new_mode: 0o100_644,
        added: Some(added.len() as u64),
        removed: Some(removed.len() as u64),
        binary: false,
        size: None,
        generated: false,
        self_running: Some(SelfRunning::GitConfig),
        fingerprint,
    };
    let lines = removed.into_iter().zip(1..).map(line(LineKind::Removed));
    let lines = lines.chain(added.into_iter().zip(1..).map(line(LineKind::Added)));
    let hunk = Hunk {
        range,
        section: String::new(),
        lines: lines.collect(),
    };
    Some(FileDiff {
        file: Some(file),
        hunks: vec![hunk],
        image: None,
        submodule: None,
        folded: None,
        truncated: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_runs_is_told_from_what_it_reads() {
        for (key, value, runs) in [
            ("core.fsmonitor", "/x/evil", true),
            ("core.fsmonitor", "true", false),
            ("core.hookspath", ".husky/_", true),
            ("core.sshcommand", "ssh -o ProxyCommand=evil", true),
            ("core.autocrlf", "input", false),
            ("core.excludesfile", "~/ignore", false),
            ("alias.co", "checkout", false),
            ("alias.co", "!sh -c evil", true),
            ("filter.lfs.clean", "git-lfs clean -- %f", true),
            ("filter.lfs.required", "true", false),
            ("diff.external", "evil", true),
            ("diff.a.b.textconv", "evil", true),
            ("diff.algorithm", "histogram", false),
            ("credential.helper", "store", true),
            ("credential.https://example.org.helper", "!evil", true),
            ("pager.diff", "evil", true),
            ("pager.diff", "false", false),
            ("remote.origin.url", "https://example.org/x", false),
            ("remote.origin.url", "ext::sh -c evil", true),
            ("remote.origin.uploadpack", "evil", true),
            ("url.ext::sh -c evil.insteadof", "https://", true),
            ("submodule.lib.update", "!evil", true),
            ("submodule.lib.update", "rebase", false),
            ("user.name", "A", false),
            ("branch.main.merge", "refs/heads/main", false),
        ] {
            assert_eq!(names_program(key, value), runs, "{key} = {value}");
        }
    }

    #[test]
    fn a_long_setting_changes_with_its_end() {
        let [one, two] = ["1", "2"].map(|end| told("core.editor", &format!("{}{end}", "é".repeat(4_000))));
        assert!(one != two && one.len() < 400, "{one}");
        assert_eq!(told("a.b", "x\ny"), "a.b = x y");
    }
}

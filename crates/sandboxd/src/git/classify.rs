//! What a path says about its file: whether a program wrote it, and what runs it by itself.

use mistle_protocol::changes::SelfRunning;

/// Whether a program wrote the file, by its name and folder.
pub(crate) fn is_generated(path: &[u8]) -> bool {
    const NAMES: [&str; 17] = [
        "cargo.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "bun.lockb",
        "deno.lock",
        "poetry.lock",
        "uv.lock",
        "pipfile.lock",
        "pdm.lock",
        "composer.lock",
        "gemfile.lock",
        "go.sum",
        "flake.lock",
        "mix.lock",
    ];
    const ENDS: [&str; 16] = [
        ".min.js",
        ".min.mjs",
        ".min.css",
        ".js.map",
        ".mjs.map",
        ".cjs.map",
        ".css.map",
        ".pb.go",
        ".pb.rs",
        ".pb.cc",
        ".pb.h",
        "_pb2.py",
        ".g.dart",
        ".designer.cs",
        ".snap",
        ".tsbuildinfo",
    ];
    /// Of others' code, which nobody here writes.
    const FOLDERS: [&str; 5] = [
        "vendor",
        "third_party",
        "third-party",
        "node_modules",
        "bower_components",
    ];
    /// What bundlers write into `dist`.
    const BUNDLED: [&str; 4] = [".js", ".mjs", ".cjs", ".css"];
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let mut folders = folder.split('/');
    NAMES.contains(&name)
        || ENDS.iter().any(|end| name.ends_with(end))
        || name.contains(".generated.")
        || folders.clone().any(|part| FOLDERS.contains(&part))
        || (folders.any(|part| part == "dist") && BUNDLED.iter().any(|end| name.ends_with(end)))
}

/// Whether a program says in the first lines of a file that it wrote it.
pub(crate) fn is_marked_generated(begin: &[u8]) -> bool {
    const LINES: usize = 10;
    let has = |line: &[u8], mark: &[u8]| line.windows(mark.len()).any(|part| part == mark);
    let mut lines = begin.split(|byte| *byte == b'\n').take(LINES);
    lines.any(|line| has(line, b"@generated") || has(line, b"DO NOT EDIT"))
}

/// What runs by itself: below folders, and by names, all in small letters.
const SELF_RUNNING: [(SelfRunning, &[&str], &[&str]); 6] = [
    (
        SelfRunning::GitHook,
        &[".git/hooks", ".githooks", ".husky"],
        &[
            ".pre-commit-config.yaml",
            "lefthook.yml",
            ".lefthook.yml",
            ".gitattributes",
            ".gitmodules",
        ],
    ),
    (
        SelfRunning::Ci,
        &[
            ".github/workflows",
            ".github/actions",
            ".circleci",
            ".buildkite",
            ".gitea/workflows",
            ".forgejo/workflows",
            ".woodpecker",
        ],
        &[
            ".gitlab-ci.yml",
            ".travis.yml",
            "jenkinsfile",
            "azure-pipelines.yml",
            "bitbucket-pipelines.yml",
            ".drone.yml",
            ".woodpecker.yml",
            "action.yml",
            "appveyor.yml",
        ],
    ),
    (
        SelfRunning::EditorTask,
        &[".vscode", ".idea", ".zed", ".fleet", ".devcontainer", ".nvim"],
        &[
            ".exrc",
            ".nvim.lua",
            ".nvimrc",
            ".dir-locals.el",
            ".devcontainer.json",
            ".editorconfig.lua",
        ],
    ),
    (
        SelfRunning::AgentConfig,
        &[
            ".codex",
            ".claude",
            ".cursor",
            ".opencode",
            ".agents",
            ".gemini",
            ".windsurf",
        ],
        &[
            "agents.md",
            "agents.override.md",
            "claude.md",
            "gemini.md",
            ".cursorrules",
            ".mcp.json",
            "opencode.json",
            ".windsurfrules",
        ],
    ),
    (
        SelfRunning::PackageScript,
        &[".cargo"],
        &[
            "build.rs",
            "setup.py",
            "conftest.py",
            "sitecustomize.py",
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".pnpmfile.cjs",
            "package.json",
            "extconf.rb",
            "rust-toolchain.toml",
            ".bazelrc",
        ],
    ),
    (
        SelfRunning::ShellHook,
        &[],
        &[
            ".envrc",
            ".mise.toml",
            "mise.toml",
            ".bashrc",
            ".zshrc",
            ".profile",
            ".bash_profile",
        ],
    ),
];

/// What runs the file by itself, if anything does. `stands_for_folder` says of a link or a repository
/// that it may have anything below it.
pub(crate) fn self_running(path: &[u8], stands_for_folder: bool) -> Option<SelfRunning> {
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let within = if stands_for_folder { &path } else { folder };
    let within = format!("/{within}/");
    let has = |wanted: &str| {
        let mut found = within.match_indices(wanted).map(|(at, _)| (at, at + wanted.len()));
        found.any(|(at, end)| within[..at].ends_with('/') && within[end..].starts_with('/'))
    };
    let below = |wanted: &str| {
        // `.github` stands for `.github/workflows`, wherever it is.
        let above = || {
            wanted
                .match_indices('/')
                .any(|(at, _)| within.ends_with(&format!("/{}/", &wanted[..at])))
        };
        has(wanted) || (stands_for_folder && above())
    };
    if path.ends_with(".github/copilot-instructions.md") {
        return Some(SelfRunning::AgentConfig);
    }
    let runs = |(_, folders, names): &&(SelfRunning, &[&str], &[&str])| {
        folders.iter().any(|wanted| below(wanted)) || names.contains(&name)
    };
    let ends = || name.ends_with(".code-workspace").then_some(SelfRunning::EditorTask);
    SELF_RUNNING.iter().find(runs).map(|(what, ..)| *what).or_else(ends)
}

/// Whether a page can show it, by its name.
pub(crate) fn is_image(path: &[u8]) -> bool {
    const ENDS: [&str; 9] = [
        ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp", ".ico", ".svg",
    ];
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    ENDS.iter().any(|end| path.ends_with(end))
}

/// The media type of a content that a page can show as an image; by the content alone, except that
/// an SVG has no mark of its own.
pub(crate) fn image_type(path: &[u8], begin: &[u8]) -> Option<&'static str> {
    let brand = begin.get(4..12);
    if begin.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if begin.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if begin.starts_with(b"GIF87a") || begin.starts_with(b"GIF89a") {
        Some("image/gif")
    } else if begin.starts_with(b"RIFF") && begin.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else if matches!(brand, Some(b"ftypavif" | b"ftypavis")) {
        Some("image/avif")
    } else if begin.starts_with(b"BM") && path.to_ascii_lowercase().ends_with(b".bmp") {
        Some("image/bmp")
    } else if begin.starts_with(b"\0\0\x01\0") && path.to_ascii_lowercase().ends_with(b".ico") {
        Some("image/x-icon")
    } else if path.to_ascii_lowercase().ends_with(b".svg") && !begin.contains(&0) {
        Some("image/svg+xml")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_by_itself_is_told() {
        for (path, what) in [
            (".git/hooks/post-checkout", Some(SelfRunning::GitHook)),
            ("a/.husky/pre-commit", Some(SelfRunning::GitHook)),
            (".github/workflows/ci.yml", Some(SelfRunning::Ci)),
            (".GitHub/Workflows/ci.yml", Some(SelfRunning::Ci)),
            ("sub/.vscode/tasks.json", Some(SelfRunning::EditorTask)),
            ("AGENTS.md", Some(SelfRunning::AgentConfig)),
            (".codex/config.toml", Some(SelfRunning::AgentConfig)),
            ("crates/x/build.rs", Some(SelfRunning::PackageScript)),
            (".envrc", Some(SelfRunning::ShellHook)),
            ("app.code-workspace", Some(SelfRunning::EditorTask)),
            (".github/copilot-instructions.md", Some(SelfRunning::AgentConfig)),
            ("src/main.rs", None),
            ("docs/workflows/ci.yml", None),
            ("x.github/workflows/ci.yml", None),
            (".github", None),
            (".vscode", None),
        ] {
            assert_eq!(self_running(path.as_bytes(), false), what, "{path}");
        }
    }

    #[test]
    fn what_stands_for_a_folder_may_have_anything_in_it() {
        for (path, what) in [
            (".vscode", Some(SelfRunning::EditorTask)),
            ("sub/.husky", Some(SelfRunning::GitHook)),
            (".github", Some(SelfRunning::Ci)),
            ("sub/.GitHub", Some(SelfRunning::Ci)),
            (".github/workflows", Some(SelfRunning::Ci)),
            (".github/workflows/ci.yml", Some(SelfRunning::Ci)),
            ("AGENTS.md", Some(SelfRunning::AgentConfig)),
            ("github", None),
            ("x.github", None),
            ("docs", None),
        ] {
            assert_eq!(self_running(path.as_bytes(), true), what, "{path}");
        }
    }

    #[test]
    fn what_a_program_wrote_is_told_by_its_name() {
        for path in [
            "Cargo.lock",
            "a/vendor/x/y.go",
            "third_party/z.c",
            "packages/a/dist/index.js",
            "dist/app.css",
            "x.min.js",
            "lib/x.mjs.map",
        ] {
            assert!(is_generated(path.as_bytes()), "{path}");
        }
        for path in [
            "vendor",
            "src/vendor.rs",
            "dist/README.md",
            "distance/x.js",
            "src/map.js",
        ] {
            assert!(!is_generated(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn what_a_program_wrote_is_told_by_its_first_lines() {
        assert!(is_marked_generated(
            b"// Code generated by protoc. DO NOT EDIT.\npackage x\n"
        ));
        assert!(is_marked_generated(b"#!/bin/sh\n#\n# @generated\n"));
        assert!(!is_marked_generated(b"fn main() {}\n"));
        let late = [&b"\n".repeat(20)[..], b"@generated"].concat();
        assert!(!is_marked_generated(&late));
    }

    #[test]
    fn an_image_is_told_by_its_content() {
        assert_eq!(image_type(b"x.txt", b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(image_type(b"x.png", b"<script>"), None);
        assert_eq!(image_type(b"x.svg", b"<svg/>"), Some("image/svg+xml"));
    }
}

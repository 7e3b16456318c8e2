//! What a path says about its file: whether a program wrote it, and what runs it by itself.

use mistle_protocol::changes::SelfRunning;

/// Whether a program wrote the file, by its name.
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
    const ENDS: [&str; 12] = [
        ".min.js",
        ".min.css",
        ".js.map",
        ".css.map",
        ".pb.go",
        ".pb.rs",
        ".pb.cc",
        ".pb.h",
        "_pb2.py",
        ".g.dart",
        ".designer.cs",
        ".snap",
    ];
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    NAMES.contains(&name) || ENDS.iter().any(|end| name.ends_with(end)) || name.contains(".generated.")
}

/// What runs the file by itself, if anything does.
pub(crate) fn self_running(path: &[u8]) -> Option<SelfRunning> {
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let below = |folders: &[&str]| {
        let whole = format!("/{folder}/");
        folders.iter().any(|wanted| whole.contains(&format!("/{wanted}/")))
    };
    if below(&[".git/hooks", ".githooks", ".husky"])
        || matches!(
            name,
            ".pre-commit-config.yaml" | "lefthook.yml" | ".lefthook.yml" | ".gitattributes" | ".gitmodules"
        )
    {
        return Some(SelfRunning::GitHook);
    }
    if below(&[
        ".github/workflows",
        ".github/actions",
        ".circleci",
        ".buildkite",
        ".gitea/workflows",
        ".forgejo/workflows",
        ".woodpecker",
    ]) || matches!(
        name,
        ".gitlab-ci.yml"
            | ".travis.yml"
            | "jenkinsfile"
            | "azure-pipelines.yml"
            | "bitbucket-pipelines.yml"
            | ".drone.yml"
            | ".woodpecker.yml"
            | "action.yml"
            | "appveyor.yml"
    ) {
        return Some(SelfRunning::Ci);
    }
    if below(&[".vscode", ".idea", ".zed", ".fleet", ".devcontainer", ".nvim"])
        || name.ends_with(".code-workspace")
        || matches!(
            name,
            ".exrc" | ".nvim.lua" | ".nvimrc" | ".dir-locals.el" | ".devcontainer.json" | ".editorconfig.lua"
        )
    {
        return Some(SelfRunning::EditorTask);
    }
    if below(&[
        ".codex",
        ".claude",
        ".cursor",
        ".opencode",
        ".agents",
        ".gemini",
        ".windsurf",
    ]) || matches!(
        name,
        "agents.md"
            | "agents.override.md"
            | "claude.md"
            | "gemini.md"
            | ".cursorrules"
            | ".mcp.json"
            | "opencode.json"
            | ".windsurfrules"
    ) || path.ends_with(".github/copilot-instructions.md")
    {
        return Some(SelfRunning::AgentConfig);
    }
    if below(&[".cargo"])
        || matches!(
            name,
            "build.rs"
                | "setup.py"
                | "conftest.py"
                | "sitecustomize.py"
                | ".npmrc"
                | ".yarnrc"
                | ".yarnrc.yml"
                | ".pnpmfile.cjs"
                | "package.json"
                | "extconf.rb"
                | "rust-toolchain.toml"
                | ".bazelrc"
        )
    {
        return Some(SelfRunning::PackageScript);
    }
    matches!(
        name,
        ".envrc" | ".mise.toml" | "mise.toml" | ".bashrc" | ".zshrc" | ".profile" | ".bash_profile"
    )
    .then_some(SelfRunning::ShellHook)
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
            ("src/main.rs", None),
            ("docs/workflows/ci.yml", None),
            ("x.github/workflows/ci.yml", None),
        ] {
            assert_eq!(self_running(path.as_bytes()), what, "{path}");
        }
    }

    #[test]
    fn an_image_is_told_by_its_content() {
        assert_eq!(image_type(b"x.txt", b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(image_type(b"x.png", b"<script>"), None);
        assert_eq!(image_type(b"x.svg", b"<svg/>"), Some("image/svg+xml"));
    }
}

//! Codex' files: its configuration, its rules, and the repository's instructions.
//!
//! # What the approval policies truly do
//! Codex' own sandbox is off (`danger-full-access`): ours is around it. Found by trial with
//! 0.169.0:
//!
//! | policy | Codex | asks |
//! |---|---|---|
//! | ask every time | `untrusted` | before **every** command, `ls` included, and every patch |
//! | ask when risky | `on-request` and [`RISKY`] | before `rm -f` and its like (Codex' own check), and before commands that begin with a listed prefix; patches and all else run |
//! | autonomous | `never` and [`UNASKED`] | never. Without the rules Codex would refuse `rm -f` |
//!
//! Codex takes a plain script apart (`a && b | c; d`, also in `bash -c`) and looks at every
//! command, by its name or path. It does not look into loops, substitutions, redirections and
//! here-documents, nor behind options (`git -C x push`) or wrappers (`env`, `xargs`): *ask when
//! risky* is a courtesy. The walls are the sandbox and the egress list.
//!
//! # The repository is not trusted
//! In a trusted project Codex obeys the repository's `.codex`: it starts the programs named there
//! and takes over the rules there, without asking: a repository could switch off *ask every time*.
//! With full access, Codex even trusts a project of which nothing is said. So every folder of the
//! plan is marked untrusted. Untrusted projects lose their `AGENTS.md` too, which is only text;
//! it is linked into Codex' home, whose instructions are always read.

use std::io;
use std::path::{Path, PathBuf};

use mistle_protocol::plan::{ApprovalPolicy, Plan};

/// The variable that holds the model's key. Codex sends its value; the gateway replaces it.
pub(super) const KEY_VARIABLE: &str = "MISTLE_MODEL_KEY";
/// What is in it.
pub(super) const KEY_PLACEHOLDER: &str = "mistle-placeholder";
/// The provider's name in the configuration; never one of Codex' own.
const PROVIDER: &str = "mistle";

/// Commands that leave the sandbox, destroy work or change the machine, by their first words.
const RISKY: [&[&str]; 36] = [
    &["git", "push"],
    &["git", "reset", "--hard"],
    &["git", "clean"],
    &["git", "checkout", "--"],
    &["git", "restore"],
    &["git", "rebase"],
    &["git", "filter-branch"],
    &["git", "branch", "-D"],
    &["git", "stash", "drop"],
    &["git", "stash", "clear"],
    &["gh"],
    &["glab"],
    &["curl"],
    &["wget"],
    &["ssh"],
    &["scp"],
    &["sftp"],
    &["rsync"],
    &["nc"],
    &["npm", "publish"],
    &["pnpm", "publish"],
    &["yarn", "publish"],
    &["cargo", "publish"],
    &["twine"],
    &["gem", "push"],
    &["docker"],
    &["podman"],
    &["kubectl"],
    &["terraform"],
    &["aws"],
    &["gcloud"],
    &["az"],
    &["sudo"],
    &["dd"],
    &["shred"],
    &["mkfs"],
];

/// What lets `never` run everything: Codex looks at a script as a whole when it can't take it
/// apart.
const UNASKED: [&[&str]; 8] = [
    &["rm"],
    &["bash"],
    &["sh"],
    &["zsh"],
    &["/bin/bash"],
    &["/bin/sh"],
    &["/usr/bin/bash"],
    &["/bin/zsh"],
];

/// Codex' name of an approval policy.
pub(super) fn approval_policy(policy: ApprovalPolicy) -> &'static str {
    match policy {
        ApprovalPolicy::AskEveryTime => "untrusted",
        ApprovalPolicy::AskWhenRisky => "on-request",
        ApprovalPolicy::Autonomous => "never",
    }
}

/// Codex' name of "no sandbox of its own".
pub(super) const SANDBOX_MODE: &str = "danger-full-access";

/// Writes the files. Answers a mark that changes when any of them does.
pub(super) async fn write(home: &Path, plan: &Plan, workspaces: &Path) -> io::Result<String> {
    let config = config(plan, workspaces);
    let rules = rules(plan.runtime.approval_policy);
    tokio::fs::create_dir_all(home.join("rules")).await?;
    write_changed(&home.join("config.toml"), &config).await?;
    write_changed(&home.join("rules").join("mistle.rules"), &rules).await?;
    link_instructions(home, &plan.cwd).await?;
    Ok(format!("{config}\n{rules}"))
}

/// Leaves a file alone that is as it should be: then it needs no space.
async fn write_changed(path: &Path, text: &str) -> io::Result<()> {
    match tokio::fs::read(path).await {
        Ok(there) if there == text.as_bytes() => Ok(()),
        _ => tokio::fs::write(path, text).await,
    }
}

/// Makes a folder's `AGENTS.md` the agent's. Codex looks at it before each turn and tells the model
/// what changed, in the middle of a conversation too.
pub(super) async fn link_instructions(home: &Path, cwd: &str) -> io::Result<()> {
    let source = PathBuf::from(cwd).join("AGENTS.md");
    let link = home.join("AGENTS.md");
    if tokio::fs::read_link(&link).await.is_ok_and(|target| target == source) {
        return Ok(());
    }
    match tokio::fs::remove_file(&link).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => tokio::fs::symlink(source, link).await,
    }
}

fn config(plan: &Plan, workspaces: &Path) -> String {
    let runtime = &plan.runtime;
    let mut lines = vec![format!("model_provider = {}", quote(PROVIDER))];
    lines.extend(runtime.model.as_ref().map(|model| format!("model = {}", quote(model))));
    lines.extend(
        runtime
            .effort
            .as_ref()
            .map(|effort| format!("model_reasoning_effort = {}", quote(effort))),
    );
    lines.push(format!("sandbox_mode = {}", quote(SANDBOX_MODE)));
    // For what a person begins in the TUI: in an untrusted folder Codex asks there every time unless this
    // says otherwise. That it asks every time it takes from no file.
    if runtime.approval_policy != ApprovalPolicy::AskEveryTime {
        let approval = approval_policy(runtime.approval_policy);
        lines.push(format!("approval_policy = {}", quote(approval)));
    }
    // Whatever would look for the outside world or open a question in the TUI is off. So are
    // endless retries: a model that can't be reached is a failed turn, which says so.
    lines.push(
        "\
check_for_update_on_startup = false
cli_auth_credentials_store = \"file\"
web_search = \"disabled\"

[analytics]
enabled = false

[feedback]
enabled = false

[otel]
exporter = \"none\"
metrics_exporter = \"none\"
trace_exporter = \"none\"

[history]
persistence = \"none\"

[notice]
hide_full_access_warning = true
hide_rate_limit_model_nudge = true

[features]
apps = false
plugins = false
plugin_sharing = false
remote_plugin = false
skill_search = false
tool_suggest = false
unbounded_connection_retries = false

[shell_environment_policy]
inherit = \"all\"
ignore_default_excludes = true
"
        .to_owned(),
    );
    lines.push(format!("[model_providers.{PROVIDER}]"));
    lines.push(format!("name = {}", quote(&runtime.provider.label)));
    lines.push(format!("base_url = {}", quote(&runtime.provider.base_url)));
    lines.push("wire_api = \"responses\"".to_owned());
    lines.push(format!("env_key = {}", quote(KEY_VARIABLE)));
    lines.push("supports_websockets = false".to_owned());
    // Each of Codex' five attempts at an answer makes so many more at the request; its default of
    // four lets a person wait half a minute to read that the address is wrong.
    lines.push("request_max_retries = 2".to_owned());
    for folder in untrusted(plan, workspaces) {
        lines.push(format!("\n[projects.{}]\ntrust_level = \"untrusted\"", quote(&folder)));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn untrusted(plan: &Plan, workspaces: &Path) -> Vec<String> {
    let repositories = plan
        .repositories
        .iter()
        .map(|repository| &repository.name)
        .chain(&plan.workspaces)
        .map(|name| workspaces.join(name));
    let mut folders: Vec<String> = PathBuf::from(&plan.cwd)
        .ancestors()
        .map(Path::to_path_buf)
        .chain(repositories)
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

fn rules(policy: ApprovalPolicy) -> String {
    let (prefixes, decision): (&[&[&str]], _) = match policy {
        ApprovalPolicy::AskEveryTime => (&[], ""),
        ApprovalPolicy::AskWhenRisky => (&RISKY, "prompt"),
        ApprovalPolicy::Autonomous => (&UNASKED, "allow"),
    };
    let rule = |prefix: &&[&str]| {
        let words: Vec<String> = prefix.iter().map(|word| quote(word)).collect();
        format!(
            "prefix_rule(pattern = [{}], decision = {})\n",
            words.join(", "),
            quote(decision)
        )
    };
    prefixes.iter().map(rule).collect()
}

/// A string of TOML, and of the rules' language: JSON's escapes are among theirs.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plan_says_stays_inside_its_quotes() {
        assert_eq!(quote("a\"\n[features]\\"), r#""a\"\n[features]\\""#);
    }

    #[test]
    fn every_folder_from_the_root_to_the_repositories_is_untrusted() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "session_id": mistle_protocol::id::SessionId::new(),
            "repositories": [{ "name": "b", "source": "/b", "origin": null, "branch": null }],
            "workspaces": ["notes"],
            "cwd": "/workspace/a/src",
            "environment": {},
            "runtime": {
                "name": "codex", "program": "/opt/codex", "approval_policy": "ask_every_time",
                "provider": { "name": "demo", "label": "Demo", "base_url": "http://demo/v1" }, "model": null, "effort": null,
            },
            "conversation_id": null,
        }))
        .unwrap();
        assert_eq!(
            untrusted(&plan, Path::new("/workspace")),
            [
                "/",
                "/workspace",
                "/workspace/a",
                "/workspace/a/src",
                "/workspace/b",
                "/workspace/notes"
            ]
        );
    }
}

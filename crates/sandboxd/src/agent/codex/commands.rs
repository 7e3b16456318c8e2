//! Codex' own commands.
//!
//! Found by trial with 0.169.0: skills are read from `.agents/skills` and `.codex/skills` of the
//! folder and of the repository around it, in untrusted projects too, because they are only text.
//! A message that says `$name` makes Codex read the skill. `review/start` works in the thread's
//! folder, so that is set first; `thread/compact/start` is a turn of its own. Neither begins while
//! a turn runs.

use mistle_protocol::agent::{ConversationId, TurnId};
use mistle_protocol::commands::{MAX_COMMANDS, RunAgentCommand, RuntimeCommand, RuntimeCommandKind, SkillOrigin};
use serde_json::{Value, json};

use super::connection::Connection;
use super::wire;
use crate::agent::runtime::CallError;

/// What the app-server does when it is asked, as `/name`.
fn actions() -> [RuntimeCommand; 2] {
    let action = |name: &str, description: &str, arguments: Option<&str>| RuntimeCommand {
        name: name.to_owned(),
        description: description.to_owned(),
        arguments: arguments.map(str::to_owned),
        kind: RuntimeCommandKind::Action,
    };
    [
        action("compact", "Summarize the conversation to free its context", None),
        action(
            "review",
            "Review the uncommitted changes, or what you name",
            Some("branch NAME, commit HASH or instructions"),
        ),
    ]
}

/// What can be told to Codex in a folder.
pub(super) async fn list(connection: &mut Connection, cwd: &str) -> Result<Vec<RuntimeCommand>, CallError> {
    // Skills come and go with the files of the working tree.
    let params = json!({ "cwds": [cwd], "forceReload": true });
    let answer: wire::SkillsAnswer = connection.call("skills/list", params).await?;
    Ok(actions().into_iter().chain(skills(answer)).take(MAX_COMMANDS).collect())
}

/// The repository's skills come first; of several with one name, the first counts, as it does for
/// Codex.
fn skills(answer: wire::SkillsAnswer) -> Vec<RuntimeCommand> {
    let mut found: Vec<RuntimeCommand> = Vec::new();
    let all = answer.data.into_iter().flat_map(|entry| entry.skills);
    for skill in all.filter(|skill| skill.enabled) {
        if found.iter().any(|other| other.name == skill.name) {
            continue;
        }
        let short = skill.interface.and_then(|interface| interface.short_description);
        found.push(RuntimeCommand {
            description: short.or(skill.short_description).unwrap_or(skill.description),
            arguments: None,
            kind: RuntimeCommandKind::Skill {
                mention: format!("${}", skill.name),
                origin: match skill.scope.as_str() {
                    "repo" => SkillOrigin::Repository,
                    "user" | "admin" => SkillOrigin::User,
                    _ => SkillOrigin::Runtime,
                },
            },
            name: skill.name,
        });
    }
    found.sort_by_key(|command| match command.kind {
        RuntimeCommandKind::Skill {
            origin: SkillOrigin::Repository,
            ..
        } => 0,
        RuntimeCommandKind::Skill {
            origin: SkillOrigin::User,
            ..
        } => 1,
        _ => 2,
    });
    found
}

/// Runs a command.
pub(super) async fn run(
    connection: &mut Connection,
    conversation: &ConversationId,
    running: Option<&TurnId>,
    command: &RunAgentCommand,
) -> Result<Option<TurnId>, CallError> {
    let name = command.name.as_str();
    if !actions().iter().any(|action| action.name == name) {
        return Err(CallError::Refused(format!("Codex has no command /{name}.")));
    }
    if running.is_some() {
        let why = format!("/{name} needs a turn of its own. Wait for the end of this one, or interrupt it.");
        return Err(CallError::Refused(why));
    }
    if name == "compact" {
        let _: Value = connection
            .call("thread/compact/start", json!({ "threadId": conversation }))
            .await?;
        return Ok(None);
    }
    let params = json!({ "threadId": conversation, "target": review_target(&command.arguments) });
    let answer: wire::TurnAnswer = connection.call("review/start", params).await?;
    Ok(Some(answer.turn.id))
}

fn review_target(arguments: &str) -> Value {
    let arguments = arguments.trim();
    let words: Vec<&str> = arguments.split_whitespace().collect();
    match words[..] {
        [] => json!({ "type": "uncommittedChanges" }),
        ["branch", branch] => json!({ "type": "baseBranch", "branch": branch }),
        ["commit", sha] => json!({ "type": "commit", "sha": sha, "title": null }),
        _ => json!({ "type": "custom", "instructions": arguments }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_review_looks_at() {
        let kind = |arguments: &str| review_target(arguments)["type"].as_str().unwrap().to_owned();
        assert_eq!(kind("  "), "uncommittedChanges");
        assert_eq!(kind("branch main"), "baseBranch");
        assert_eq!(kind("commit 1a2b3c"), "commit");
        assert_eq!(kind("branch and bound is slow"), "custom");
        assert_eq!(review_target("look at the tests ")["instructions"], "look at the tests");
    }

    #[test]
    fn the_repositorys_skills_come_first_and_none_twice() {
        let skill = |name: &str, scope: &str, enabled: bool| {
            json!({ "name": name, "description": "d", "scope": scope, "enabled": enabled,
                "interface": { "shortDescription": scope } })
        };
        let answer = json!({ "data": [{ "skills": [
            skill("creator", "system", true), skill("notes", "repo", true), skill("notes", "user", true),
            skill("off", "repo", false),
        ] }] });
        let found = skills(serde_json::from_value(answer).unwrap());
        let names: Vec<_> = found
            .iter()
            .map(|skill| (skill.name.as_str(), skill.description.as_str()))
            .collect();
        assert_eq!(names, [("notes", "repo"), ("creator", "system")]);
    }
}

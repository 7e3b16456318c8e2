//! The runtime's own commands, which the daemon lists and runs.

use std::time::Duration;

use http::Method;
use mistle_model::OpContext;
use mistle_protocol::commands::{
    CommandTaken, MAX_COMMAND_ARGUMENTS, MAX_COMMAND_DESCRIPTION, MAX_COMMAND_NAME, MAX_COMMANDS, RunAgentCommand,
    RunCommand, RuntimeCommand, RuntimeCommandKind,
};
use mistle_protocol::id::SessionId;

use super::changes::at;
use super::control::ANSWER_WITHIN;
use super::{Result, SessionError, Sessions};

/// How long the runtime may take to begin: it may start a conversation first.
const TAKE_WITHIN: Duration = Duration::from_secs(90);

impl Sessions {
    /// What the runtime can be told in the primary workspace.
    pub async fn commands(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<RuntimeCommand>> {
        let (row, control) = self.control(ctx, id).await?;
        let path = at("/agent/commands", Some(&row.session.cwd)).finish();
        let listed: Vec<RuntimeCommand> = control.ask(Method::GET, &path, None::<&()>, ANSWER_WITHIN).await?;
        Ok(listed.into_iter().take(MAX_COMMANDS).filter_map(shown).collect())
    }

    /// Runs one of them. What it does is in the record. The same key again runs nothing again, as
    /// long as the daemon lives: so a client that heard no answer may ask once more.
    pub async fn run_command(
        &self,
        ctx: &OpContext,
        id: SessionId,
        run: RunCommand,
        idempotency_key: Option<&str>,
    ) -> Result<CommandTaken> {
        check(&run)?;
        let (row, control) = self.control(ctx, id).await?;
        let conversation_id = match run.conversation_id {
            Some(wanted) => Some(self.known_conversation(id, wanted).await?),
            None if run.new_conversation => None,
            None => row.session.conversation_id,
        };
        let run = RunAgentCommand {
            id: idempotency_key.map(|key| format!("{} {key}", ctx.user_id)),
            name: run.name,
            arguments: run.arguments,
            conversation_id,
            cwd: row.session.cwd,
        };
        Ok(control
            .ask(Method::POST, "/agent/commands", Some(&run), TAKE_WITHIN)
            .await?)
    }
}

fn check(run: &RunCommand) -> Result<()> {
    let (pointer, message) = if run.new_conversation && run.conversation_id.is_some() {
        let message = "A command runs in a conversation or begins one, not both.".to_owned();
        ("/new_conversation", message)
    } else if !is_name(&run.name) {
        ("/name", "This can't be the name of a command.".to_owned())
    } else if run.arguments.len() > MAX_COMMAND_ARGUMENTS {
        let limit = MAX_COMMAND_ARGUMENTS / 1024;
        let message = format!("A command takes at most {limit} KiB. Send a message instead.");
        ("/arguments", message)
    } else {
        return Ok(());
    };
    Err(SessionError::Invalid {
        kind: "command-invalid",
        pointer,
        message,
    })
}

fn is_name(name: &str) -> bool {
    (1..=MAX_COMMAND_NAME).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// A command as a page may show it: its texts come from the sandbox.
fn shown(command: RuntimeCommand) -> Option<RuntimeCommand> {
    let plain = |text: &str| -> String {
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        printable.take(MAX_COMMAND_DESCRIPTION).collect()
    };
    let mentioned = match &command.kind {
        RuntimeCommandKind::Action => true,
        RuntimeCommandKind::Skill { mention, .. } => is_name(mention),
    };
    (is_name(&command.name) && mentioned).then(|| RuntimeCommand {
        description: plain(&command.description),
        arguments: command.arguments.as_deref().map(plain),
        ..command
    })
}

#[cfg(test)]
mod tests {
    use mistle_protocol::commands::SkillOrigin;

    use super::*;

    #[test]
    fn what_a_sandbox_calls_a_command_is_cut_to_size() {
        let skill = |name: &str, mention: &str| RuntimeCommand {
            name: name.to_owned(),
            description: format!("One\u{1b}[31m\ntwo {}", "x".repeat(2 * MAX_COMMAND_DESCRIPTION)),
            arguments: None,
            kind: RuntimeCommandKind::Skill {
                mention: mention.to_owned(),
                origin: SkillOrigin::Repository,
            },
        };
        let good = shown(skill("notes", "$notes")).unwrap();
        assert!(good.description.starts_with("One [31m two xxx"));
        assert_eq!(good.description.chars().count(), MAX_COMMAND_DESCRIPTION);
        for (name, mention) in [("", "$x"), ("a b", "$x"), ("x", "$a\nb"), (&*"x".repeat(200), "$x")] {
            assert_eq!(shown(skill(name, mention)), None, "{name:?} {mention:?}");
        }
    }

    #[test]
    fn what_can_be_no_command_is_refused() {
        let run = |name: &str, arguments: String| RunCommand {
            name: name.to_owned(),
            arguments,
            ..RunCommand::default()
        };
        assert!(check(&run("review", String::new())).is_ok());
        let either = RunCommand {
            conversation_id: Some("c".to_owned()),
            new_conversation: true,
            ..run("review", String::new())
        };
        let pointer = |run: &RunCommand| match check(run) {
            Err(SessionError::Invalid { pointer, .. }) => pointer,
            _ => "",
        };
        assert_eq!(pointer(&run("re view", String::new())), "/name");
        assert_eq!(pointer(&either), "/new_conversation");
        let long = "x".repeat(MAX_COMMAND_ARGUMENTS + 1);
        assert_eq!(pointer(&run("review", long)), "/arguments");
    }
}

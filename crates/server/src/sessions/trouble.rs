//! What is wrong with a session, in words that say what to do.

use std::io::ErrorKind;

use jiff::Timestamp;
use mistle_protocol::agent::SetupStep;
use mistle_protocol::session::Trouble;
use mistle_sandbox::{Exit, SandboxError};

/// The longest text of a sandbox that a person is shown, in characters.
const MAX_TEXT: usize = 2000;

/// What is wrong, and what can be done.
pub(super) fn trouble(now: Timestamp, code: &str, message: impl Into<String>, hint: impl Into<String>) -> Trouble {
    Trouble {
        code: code.to_owned(),
        message: message.into(),
        hint: Some(hint.into()),
        since: now,
    }
}

/// A sandbox that could not be started, stopped or deleted.
pub(super) fn of_sandbox(now: Timestamp, error: &SandboxError) -> Trouble {
    tracing::warn!(error = %chain(error), "sandbox operation failed");
    match error {
        SandboxError::Unsupported { what, advice } => trouble(
            now,
            "isolation_unavailable",
            format!("This machine can't isolate the sandbox: {what}."),
            format!("{advice} `mistle doctor` shows what is in force."),
        ),
        SandboxError::NotFound(_) => trouble(
            now,
            "disk_missing",
            "The sandbox's disk is gone.",
            "The conversation is kept here. Start a new session to go on; if the disk was moved, put it back and start this one.",
        ),
        SandboxError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => trouble(
            now,
            "disk_full",
            "The server's data disk is full.",
            "Free space on it, then start the session again.",
        ),
        SandboxError::Invalid { message } => trouble(
            now,
            "sandbox_invalid",
            message.clone(),
            "Correct the profile in the server's configuration, then start a new session: this one keeps what it began with.",
        ),
        SandboxError::Start { .. }
        | SandboxError::Running(_)
        | SandboxError::LayerNotFound(_)
        | SandboxError::Io { .. } => trouble(
            now,
            "sandbox_failed",
            chain(error),
            "Start the session again. The server's log and `mistle doctor` say more.",
        ),
    }
}

/// A sandbox whose processes ended by themselves.
pub(super) fn exited(now: Timestamp, exit: &Exit) -> Trouble {
    if exit.out_of_memory {
        let hint = "Its disk is kept: start the session again. If it happens again, give the profile more memory and start a new session.";
        return trouble(now, "out_of_memory", "The sandbox ran out of memory and ended.", hint);
    }
    let how = match exit.code {
        Some(code) => format!("The sandbox ended by itself (exit code {code})."),
        None => "The sandbox ended with the machine or was killed from outside.".to_owned(),
    };
    trouble(now, "sandbox_exited", how, "Its disk is kept: start the session again.")
}

/// A sandbox that could not get ready. The message is the daemon's.
pub(super) fn setup_failed(now: Timestamp, step: SetupStep, message: &str) -> Trouble {
    let (code, hint) = match step {
        SetupStep::Repository => (
            "repository_unreachable",
            "Check the repository, then start the session again. A change of the profile needs a new session: this one keeps what it began with.",
        ),
        SetupStep::Runtime => ("runtime_failed", "Start the session again. The server's log says more."),
        SetupStep::Conversation => (
            "conversation_failed",
            "Start the session again, or go on in a new one: this record is kept.",
        ),
    };
    trouble(now, code, short(message), hint)
}

/// A local repository that is not there any more.
pub(super) fn repository_gone(now: Timestamp, why: &str) -> Trouble {
    trouble(
        now,
        "repository_unreachable",
        why,
        "Put the repository back, then start the session again.",
    )
}

/// A runtime that is not installed.
pub(super) fn runtime_missing(now: Timestamp, runtime: &str) -> Trouble {
    let message = format!("The runtime {runtime} is not installed on the server.");
    trouble(
        now,
        "runtime_missing",
        message,
        "Run `mistle runtime install` on the server, then start the session again.",
    )
}

/// A provider that the configuration does not have any more.
pub(super) fn provider_missing(now: Timestamp, provider: &str) -> Trouble {
    let message = format!("The server's configuration has no provider {provider} any more.");
    trouble(
        now,
        "provider_missing",
        message,
        "Add the provider to the configuration, then start the session again.",
    )
}

/// A daemon that breaks the protocol.
pub(super) fn broken(now: Timestamp, what: impl Into<String>) -> Trouble {
    trouble(
        now,
        "sandbox_broken",
        what,
        "Its disk is kept. Start the session again, or go on in a new one.",
    )
}

/// An error with its causes, joined by colons.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Text of a sandbox, bounded.
pub(super) fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

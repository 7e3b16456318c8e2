//! Why a sandbox could not be had.

use std::io;
use std::path::{Path, PathBuf};

use mistle_protocol::id::{LayerId, SessionId};

/// Why an operation on a sandbox was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host cannot give what isolation needs.
    #[error("this machine cannot isolate sandboxes: {what}. {advice}")]
    Unsupported {
        /// What is missing.
        what: String,
        /// What to do, a sentence.
        advice: String,
    },
    /// There is no such sandbox.
    #[error("sandbox {0} does not exist")]
    NotFound(SessionId),
    /// The operation needs it stopped.
    #[error("sandbox {0} is running; stop it first")]
    Running(SessionId),
    /// There is no such layer.
    #[error("layer {0} does not exist")]
    LayerNotFound(LayerId),
    /// The specification can't be carried out.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what to do.
        message: String,
    },
    /// The container could not be started.
    #[error("the sandbox could not be started: {message}")]
    Start {
        /// What failed, for a person; the causes joined by colons.
        message: String,
    },
    /// A file operation failed.
    #[error("could not {action} {path}")]
    Io {
        /// A verb, such as "write".
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SandboxError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
        }
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }
}

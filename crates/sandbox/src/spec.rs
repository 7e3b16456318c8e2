//! What a sandbox is asked to be.

use std::path::PathBuf;
use std::str::FromStr;

use mistle_protocol::id::{LayerId, SessionId};
use mistle_protocol::profile::Resources;
use serde::{Deserialize, Serialize};

/// Where the daemon is found in every sandbox.
pub const DAEMON_PATH: &str = "/opt/mistle/bin/mistle-sandboxd";
/// Folder in the sandbox below which runtimes are mounted, one folder each.
pub const RUNTIMES_DIR: &str = "/opt/mistle/runtimes";

/// One sandbox. `image` and `layers` count when its disk is created and are recorded with it;
/// everything else counts at each start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The session that it belongs to; also its own name.
    pub id: SessionId,
    /// The root filesystem.
    pub image: Image,
    /// Frozen layers on top of the image, lowest first.
    pub layers: Vec<LayerId>,
    /// What of the host is readable in it, besides the image.
    pub mounts: Vec<ReadOnlyMount>,
    /// Limits.
    pub resources: Resources,
    /// Its host name, at most 64 bytes.
    pub hostname: String,
    /// `mistle-sandboxd` on the host, a static program. Mounted read-only at [`DAEMON_PATH`].
    pub daemon: PathBuf,
    /// Program and arguments of PID 1; the daemon with `init` otherwise. For tests and for
    /// measuring.
    pub argv: Option<Vec<String>>,
}

/// A root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Image {
    /// The server's own system folders, read-only below the sandbox's disk.
    Host {
        /// Absolute paths outside `/usr` that are readable as well, at the same place.
        include: Vec<PathBuf>,
    },
    /// A folder of the server that holds a root filesystem.
    Dir(PathBuf),
    /// An image in a registry.
    Oci(String),
}

/// Why a text is not an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an image: it must be `host`, `dir:<absolute path>` or `oci:<reference>`")]
pub struct ParseImageError {
    /// The text.
    pub text: String,
}

impl FromStr for Image {
    type Err = ParseImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseImageError { text: text.to_owned() };
        if text == "host" {
            return Ok(Self::Host { include: Vec::new() });
        }
        match text.split_once(':') {
            Some(("dir", path)) if path.starts_with('/') => Ok(Self::Dir(PathBuf::from(path))),
            Some(("oci", reference)) if !reference.is_empty() => Ok(Self::Oci(reference.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// A file or folder of the host that is readable in the sandbox.
///
/// Owners are shifted: what belongs to root on the host belongs to root in the sandbox, so files
/// that only root may read are readable there. What lies on other mounts below it is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOnlyMount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path in the sandbox.
    pub target: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_parsed() {
        assert_eq!("host".parse(), Ok(Image::Host { include: Vec::new() }));
        assert_eq!("dir:/srv/root".parse(), Ok(Image::Dir("/srv/root".into())));
        assert_eq!("oci:debian:12".parse(), Ok(Image::Oci("debian:12".to_owned())));
        for wrong in ["", "hosts", "dir:", "dir:relative", "oci:", "docker:x"] {
            assert_eq!(wrong.parse::<Image>(), Err(ParseImageError { text: wrong.to_owned() }));
        }
    }
}

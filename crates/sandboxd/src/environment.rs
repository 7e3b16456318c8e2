//! The environment of everything that the daemon starts.
//!
//! Three layers, later ones win: what the daemon itself was started with (the driver's `PATH`,
//! `HOME`, …), the proxy variables, the plan's environment. The runtime, terminals and single
//! commands all get the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;

use crate::agent::Agent;
use crate::problem::Refusal;
use crate::relay;

/// Where programs are looked for when the driver says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A UTF-8 locale that exists without locale files.
const DEFAULT_LANG: &str = "C.UTF-8";
/// Longest `/etc/passwd` that is read, in bytes; the file belongs to the sandbox.
const MAX_PASSWD: u64 = 1024 * 1024;

/// What the account that the daemon runs as has in `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell; none when the entry names none.
    pub shell: Option<PathBuf>,
}

impl Account {
    /// The account of this process; root's usual values when there is no entry for it.
    ///
    /// Reads `/etc/passwd` itself: the C library's way loads shared objects, which a static
    /// program can't.
    pub fn current() -> Self {
        let uid = rustix::process::getuid().as_raw();
        read_passwd()
            .and_then(|passwd| find(&passwd, uid))
            .unwrap_or_else(|| Self {
                name: "root".to_owned(),
                home: PathBuf::from("/root"),
                shell: None,
            })
    }
}

fn read_passwd() -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open("/etc/passwd")
        .ok()?
        .take(MAX_PASSWD)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

fn find(passwd: &str, uid: u32) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, shell] = fields[..] else {
            return None;
        };
        (id.parse() == Ok(uid)).then(|| Account {
            name: name.to_owned(),
            home: PathBuf::from(if home.is_empty() { "/" } else { home }),
            shell: (!shell.is_empty()).then(|| PathBuf::from(shell)),
        })
    })
}

/// The environment below the plan's: this process' own, what is missing in it, and the variables
/// that lead programs to the proxy on `proxy_port`.
pub fn base(proxy_port: u16) -> BTreeMap<String, String> {
    let own =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    complete(own.collect(), &Account::current(), proxy_port)
}

/// What terminals and commands are started in: environment and working directory, as the plan says
/// at that moment.
#[derive(Clone, Debug)]
pub struct Surroundings {
    base: BTreeMap<String, String>,
    agent: Arc<Agent>,
}

impl Surroundings {
    /// `base` is what [`base`] answers.
    pub fn new(base: BTreeMap<String, String>, agent: Arc<Agent>) -> Self {
        Self { base, agent }
    }

    /// The whole environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.base.clone();
        environment.extend(self.agent.plan_environment());
        environment
    }

    /// The working directory: the one that was asked for, or the plan's, or the home directory as
    /// long as the plan's does not exist.
    pub fn directory(&self, requested: Option<&str>) -> Result<PathBuf, Refusal> {
        let Some(requested) = requested else {
            return Ok(self.default_directory());
        };
        let path = Path::new(requested);
        if path.is_absolute() && path.is_dir() {
            return Ok(path.to_owned());
        }
        let detail = format!("{requested} is not a folder of the sandbox, by its absolute path");
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-cwd", detail).at("/cwd"))
    }

    fn default_directory(&self) -> PathBuf {
        let home = self.base.get("HOME").map(PathBuf::from);
        self.agent
            .cwd()
            .into_iter()
            .chain(home)
            .find(|path| path.is_dir())
            .unwrap_or_else(|| PathBuf::from("/"))
    }
}

fn complete(mut environment: BTreeMap<String, String>, account: &Account, proxy_port: u16) -> BTreeMap<String, String> {
    for (name, value) in [
        ("PATH", DEFAULT_PATH.to_owned()),
        ("LANG", DEFAULT_LANG.to_owned()),
        ("HOME", account.home.to_string_lossy().into_owned()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
    ] {
        environment.entry(name.to_owned()).or_insert(value);
    }
    environment.extend(relay::proxy_environment(proxy_port));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken line\nnobody:x:65534:65534:nobody::\n";

    #[test]
    fn accounts_are_found_by_uid() {
        assert_eq!(
            find(PASSWD, 0),
            Some(Account {
                name: "root".into(),
                home: "/root".into(),
                shell: Some("/bin/bash".into())
            })
        );
        assert_eq!(
            find(PASSWD, 65534),
            Some(Account {
                name: "nobody".into(),
                home: "/".into(),
                shell: None
            })
        );
        assert_eq!(find(PASSWD, 1), None);
    }

    #[test]
    fn what_the_driver_says_stays_and_the_rest_is_filled_in() {
        let account = Account {
            name: "root".into(),
            home: "/root".into(),
            shell: None,
        };
        let own = BTreeMap::from([
            ("PATH".to_owned(), "/opt/bin".to_owned()),
            ("HTTP_PROXY".to_owned(), "http://elsewhere".to_owned()),
        ]);
        let complete = complete(own, &account, 3128);
        assert_eq!(complete["PATH"], "/opt/bin");
        assert_eq!(complete["HOME"], "/root");
        assert_eq!(complete["HTTP_PROXY"], "http://127.0.0.1:3128");
    }
}

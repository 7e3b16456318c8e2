//! `mistle doctor`: what is in force, what is wrong, and what to do.

use std::collections::BTreeSet;
use std::path::Path;

use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Repository;
use mistle_sandbox::IsolationReport;
use mistle_sandbox::embedded;
use mistle_store::Store;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;
use url::Host;

use crate::config::Config;
use crate::{profiles, repositories, runtimes, server, web};

/// What the kernel can do with a system call that a filter stops.
const SECCOMP_ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The configuration, merged, secrets hidden.
    pub configuration: Value,
    /// What isolates sandboxes, when it could be tried.
    pub isolation: Option<IsolationReport>,
    /// One a thing that was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do, when it is not well.
    pub advice: Option<String>,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Well.
    Ok,
    /// Something will not work.
    Warn,
    /// Sessions will not work.
    Fail,
}

impl Findings {
    /// The worst of all.
    pub fn worst(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
    }
}

fn ok(name: impl Into<String>, detail: impl Into<String>) -> Check {
    Check {
        name: name.into(),
        status: Status::Ok,
        detail: detail.into(),
        advice: None,
    }
}

fn bad(status: Status, name: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        name: name.into(),
        status,
        detail: detail.into(),
        advice: Some(advice.into()),
    }
}

/// Looks at everything.
pub async fn examine(config: &Config) -> Findings {
    let mut checks = vec![configuration(config), data_directory(&config.data_dir)];
    checks.push(database(config).await);
    let isolation = isolation(config, &mut checks).await;
    checks.push(daemon(&config.sandboxd));
    for (name, runtime) in &config.runtimes {
        let label = format!("runtime {name}");
        let program = runtime.folder.join(&runtime.program);
        checks.push(match runtimes::install::version_of(&program) {
            Some(version) => ok(label, format!("{version} at {}", program.display())),
            None => bad(
                Status::Fail,
                label,
                format!("{} {} is not at {}", name, runtime.version, program.display()),
                format!("Run `mistle runtime install {name}`."),
            ),
        });
    }
    for (name, provider) in &config.providers {
        let label = format!("provider {name}");
        checks.push(match (&provider.base_url, &provider.api_key) {
            (None, _) => ok(label, format!("{}, served by this server", provider.label)),
            (Some(url), Some(_)) => ok(label, format!("{} at {url}, with a key", provider.label)),
            (Some(url), None) => bad(
                Status::Warn,
                label,
                format!("{} at {url}, without a key", provider.label),
                "Set `api_key_env` or `api_key_file`, unless the provider needs none.",
            ),
        });
    }
    for profile in profiles::summaries(config) {
        let label = format!("profile {}", profile.profile.name);
        checks.push(match profile.unavailable {
            None => ok(
                label,
                format!("{} with {}", profile.profile.runtime, profile.provider_label),
            ),
            Some(why) => bad(Status::Fail, label, why, "See the runtime above."),
        });
        let repositories = profile.profile.repositories.iter();
        checks.extend(repositories.filter_map(|offered| repository(&profile.profile.name, offered, config)));
    }
    checks.push(previews(config));
    checks.push(if web::is_built() {
        ok("page", "built in")
    } else {
        bad(
            Status::Warn,
            "page",
            "this program was built without its page",
            "Run `cargo xtask web`, then build again.",
        )
    });
    Findings {
        configuration: config.shown(),
        isolation,
        checks,
    }
}

/// What keeps a profile's repository from being used. One behind a URL is not looked for.
fn repository(profile: &str, offered: &Repository, config: &Config) -> Option<Check> {
    // Made at the first start.
    let is_demo = Path::new(&offered.source) == config.demo_repository() && !config.demo_repository().exists();
    let wrong = repositories::check(offered, &config.data_dir)
        .err()
        .filter(|_| !is_demo)?;
    Some(bad(
        Status::Warn,
        format!("profile {profile}: repository"),
        wrong.to_string(),
        "Correct `repositories` of the profile. Sessions without it start all the same.",
    ))
}

/// Whether browsers that are elsewhere find previews: every name below `localhost` is their own machine.
fn previews(config: &Config) -> Check {
    let name = "previews";
    let domain = &config.preview_domain;
    let below = |host: &str, parent: &str| host == parent || host.ends_with(&format!(".{parent}"));
    let is_here = |host: Option<Host<&str>>| match host {
        Some(Host::Domain(host)) => below(host, "localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    };
    let remote = config.public_url.as_ref().filter(|url| !is_here(url.host()));
    match remote {
        Some(url) if below(domain, "localhost") => bad(
            Status::Warn,
            name,
            format!(
                "browsers open {url} from elsewhere and look for previews below {domain}, which is their own machine"
            ),
            "Set `preview_domain` to a domain whose every name leads to this server.",
        ),
        _ => ok(name, format!("below {domain}")),
    }
}

fn configuration(config: &Config) -> Check {
    match &config.file {
        Some(file) => ok("configuration", file.display().to_string()),
        None => ok(
            "configuration",
            format!(
                "defaults; the first start writes {}",
                config.data_dir.join(crate::config::FILE_NAME).display()
            ),
        ),
    }
}

fn data_directory(data_dir: &Path) -> Check {
    let name = "data directory";
    let shown = data_dir.display().to_string();
    if !data_dir.exists() {
        return ok(name, format!("{shown}, made at the first start"));
    }
    match tempfile::NamedTempFile::new_in(data_dir) {
        Ok(_) => ok(name, shown),
        Err(error) => bad(
            Status::Fail,
            name,
            format!("{shown} can't be written: {error}"),
            "Make it writable, or set --data-dir.",
        ),
    }
}

async fn database(config: &Config) -> Check {
    let name = "database";
    let url = config.database_url.expose_secret();
    if url.starts_with("sqlite:") && !config.data_dir.exists() {
        return ok(name, "SQLite, made at the first start");
    }
    let opened = async {
        let store = Store::connect(url).await?;
        store.ping().await?;
        let kind = store.kind();
        store.close().await;
        Ok::<_, mistle_store::StoreError>(kind)
    };
    match opened.await {
        Ok(kind) => ok(name, format!("{kind:?}, answers")),
        Err(error) => bad(Status::Fail, name, chain(&error), "Check `database.url`."),
    }
}

async fn isolation(config: &Config, checks: &mut Vec<Check>) -> Option<IsolationReport> {
    let report = match embedded::probe(&server::embedded(config)).await {
        Ok(report) => report,
        Err(error) => {
            checks.push(bad(
                Status::Fail,
                "isolation",
                chain(&error),
                "No sandbox is started until this is solved.",
            ));
            return None;
        }
    };
    for support in &report.required {
        let name = format!("isolation: {}", support.name);
        checks.push(match &support.missing {
            None => ok(name, "in force"),
            Some(missing) => bad(Status::Fail, name, missing, &support.advice),
        });
    }
    checks.push(ok(
        "isolation: user ids",
        format!(
            "a range of its own for each sandbox, from {} on",
            server::embedded(config).uid_base
        ),
    ));
    checks.push(system_calls(&processes(&config.data_dir)));
    for controller in &report.controllers {
        let name = format!("limit: {}", controller.name);
        checks.push(match controller.version {
            Some(version) => ok(name, format!("cgroup v{version}")),
            None => bad(
                Status::Fail,
                name,
                "no such cgroup controller",
                "Enable it in the kernel and mount its hierarchy below /sys/fs/cgroup.",
            ),
        });
    }
    Some(report)
}

/// A process in a sandbox, as the kernel tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    sandbox: String,
    id: u32,
    /// Whether its system calls are filtered and it can gain no privileges.
    confined: bool,
}

impl Process {
    /// Reads what `/proc/<id>/cgroup` and `/proc/<id>/status` say. None for what is in no sandbox, and for PID 1
    /// of one and whatever is before it: that confines itself, and then starts all the others.
    fn read(id: u32, cgroup: &str, status: &str) -> Option<Self> {
        let sandbox = cgroup
            .split(['/', '\n'])
            .find(|part| part.parse::<SessionId>().is_ok())?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let inside = field("NSpid:")?.split_whitespace().nth(1)?;
        (inside != "1").then(|| Self {
            sandbox: sandbox.to_owned(),
            id,
            confined: field("Seccomp:") == Some("2") && field("NoNewPrivs:") == Some("1"),
        })
    }
}

/// The processes in this server's sandboxes.
fn processes(data_dir: &Path) -> Vec<Process> {
    let sandboxes = data_dir.join("embedded/sandboxes");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
            Process::read(id, &read("cgroup")?, &read("status")?)
        })
        .filter(|process| sandboxes.join(&process.sandbox).is_dir())
        .collect()
}

/// Whether system calls are filtered: in the sandboxes that run, as the kernel says of their processes, and in
/// those to come, as far as the kernel can. The daemon loads the filters, gives up capabilities and new
/// privileges, reads back that all of it is in force, and runs nothing otherwise.
fn system_calls(processes: &[Process]) -> Check {
    let name = "isolation: system calls";
    let actions = std::fs::read_to_string(SECCOMP_ACTIONS).unwrap_or_default();
    let missing = |action: &&str| !actions.split_whitespace().any(|known| known == *action);
    if let Some(action) = ["errno", "kill_process"].iter().find(|action| missing(action)) {
        return bad(
            Status::Fail,
            name,
            format!("the kernel can't filter them: {SECCOMP_ACTIONS} does not offer `{action}`"),
            "Use a kernel with CONFIG_SECCOMP_FILTER.",
        );
    }
    if let Some(Process { sandbox, id, .. }) = processes.iter().find(|process| !process.confined) {
        return bad(
            Status::Fail,
            name,
            format!("process {id} of the sandbox {sandbox} is not filtered"),
            format!(
                "Stop the session with `mistle session stop {sandbox}`, and see that `sandboxd` is of this version."
            ),
        );
    }
    let sandboxes: BTreeSet<_> = processes.iter().map(|process| &process.sandbox).collect();
    ok(
        name,
        match sandboxes.len() {
            0 => "the kernel can filter them, and a sandbox runs nothing before it does; none runs now".to_owned(),
            1 => format!("filtered in all {} processes of the sandbox that runs", processes.len()),
            many => format!(
                "filtered in all {} processes of the {many} sandboxes that run",
                processes.len()
            ),
        },
    )
}

fn daemon(path: &Path) -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display().to_string();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => ok("daemon", shown),
        Ok(_) => bad(
            Status::Fail,
            "daemon",
            format!("{shown} is not a program"),
            "Set `sandboxd` in the configuration.",
        ),
        Err(error) => bad(
            Status::Fail,
            "daemon",
            format!("{shown}: {error}"),
            "Put mistle-sandboxd beside mistle, or set `sandboxd` in the configuration.",
        ),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Location;

    const SANDBOX: &str = "ses_00000000000000000000000000000000";

    fn process(inside: &str, seccomp: u8, no_new_privileges: u8) -> Option<Process> {
        let cgroup = format!("8:pids:/mistle/{SANDBOX}\n0::/init.scope\n");
        let status = format!("Name:\tx\nNSpid:\t{inside}\nNoNewPrivs:\t{no_new_privileges}\nSeccomp:\t{seccomp}\n");
        Process::read(1234, &cgroup, &status)
    }

    #[test]
    fn a_process_that_is_not_filtered_is_named() {
        let confined = process("1234\t7", 2, 1).unwrap();
        assert!(confined.confined);
        // On the host, as the shim is, and PID 1, which is about to confine itself.
        assert_eq!((process("1234", 0, 0), process("1234\t1", 0, 0)), (None, None));
        assert_eq!(Process::read(1, "0::/system.slice/x.service\n", "NSpid:\t1\t7\n"), None);

        let none = system_calls(&[]);
        assert_eq!(none.status, Status::Ok);
        assert!(none.detail.ends_with("none runs now"), "{none:?}");
        let all = system_calls(&[process("1234\t7", 2, 1).unwrap(), confined]);
        assert_eq!(all.detail, "filtered in all 2 processes of the sandbox that runs");
        for (seccomp, no_new_privileges) in [(0, 1), (1, 1), (2, 0)] {
            let found = [process("1234\t7", seccomp, no_new_privileges).unwrap()];
            let check = system_calls(&found);
            assert_eq!(check.status, Status::Fail);
            assert_eq!(
                check.detail,
                format!("process 1234 of the sandbox {SANDBOX} is not filtered")
            );
        }
    }

    #[test]
    fn a_repository_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            file: None,
            data_dir: Some(folder.path().to_owned()),
        };
        let config = Config::parse("", None, &location).unwrap();
        let look = |source: &str| {
            let offered = Repository {
                name: None,
                source: source.to_owned(),
                branch: None,
            };
            repository("a", &offered, &config).map(|check| (check.status, check.detail))
        };
        assert_eq!(look("https://example.org/project.git"), None);
        let demo = config.demo_repository().to_str().unwrap().to_owned();
        assert_eq!(look(&demo), None, "the first start makes it");
        let gone = (
            Status::Warn,
            "There is no folder /nonexistent/project on the server's disk.".to_owned(),
        );
        assert_eq!(look("/nonexistent/project"), Some(gone));
    }

    #[test]
    fn previews_of_a_server_elsewhere_need_a_domain() {
        let data_dir = Some(std::path::PathBuf::from("/nowhere"));
        let status = |text: &str| {
            let location = Location {
                file: None,
                data_dir: data_dir.clone(),
            };
            previews(&Config::parse(text, None, &location).unwrap()).status
        };
        let own = "preview_domain = \"preview.example.com\"\n";
        assert_eq!(status(""), Status::Ok);
        for here in [
            "http://localhost:1",
            "http://127.0.0.1:4747",
            "http://[::1]",
            "http://x.localhost",
        ] {
            assert_eq!(status(&format!("public_url = \"{here}\"")), Status::Ok, "{here}");
        }
        for elsewhere in ["https://mistle.example.com", "http://192.0.2.7:4747"] {
            assert_eq!(
                status(&format!("public_url = \"{elsewhere}\"")),
                Status::Warn,
                "{elsewhere}"
            );
            assert_eq!(status(&format!("{own}public_url = \"{elsewhere}\"")), Status::Ok);
        }
    }
}

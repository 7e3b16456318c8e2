//! What has to be on the machine, and how it comes there.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run::{command, output, step};

/// Something that is needed.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    name: &'static str,
    why: &'static str,
    present: fn() -> bool,
    /// How it is installed.
    install: Install,
}

#[derive(Clone, Copy)]
enum Install {
    /// By the person, as the text says.
    Person(&'static str),
    /// By us from Debian's packages when we are root; by the person otherwise.
    Debian(&'static [&'static str]),
    /// By us with cargo.
    Cargo(&'static str),
}

const GIT: Need = Need {
    name: "git",
    why: "repositories",
    present: || on_path("git"),
    install: Install::Debian(&["git"]),
};
const C_COMPILER: Need = Need {
    name: "a C compiler (cc)",
    why: "SQLite is compiled from source",
    present: || on_path("cc"),
    install: Install::Debian(&["gcc", "libc6-dev"]),
};
/// The web front end is built with it.
pub(crate) const NODE: Need = Need {
    name: "Node.js 20 or newer, with npm",
    why: "the web front end is built with it",
    present: || on_path("npm") && node_major().is_some_and(|major| major >= 20),
    install: Install::Person("install Node.js 20 or newer"),
};
const NEXTEST: Need = Need {
    name: "cargo-nextest",
    why: "runs the Rust tests",
    present: || output(&mut command("cargo", ["nextest", "--version"])).is_some(),
    install: Install::Cargo("cargo-nextest"),
};
const POSTGRES: Need = Need {
    name: "PostgreSQL's server programs",
    why: "every store test runs on both databases",
    present: || on_path("initdb") || debian_postgres(),
    install: Install::Debian(&["postgresql"]),
};
/// The first is faster, and needs no desktop's libraries.
const CHROMIUMS: [&str; 2] = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"];
const CHROMIUM: Need = Need {
    name: "Chromium",
    why: "drives the browser tests",
    present: || CHROMIUMS.iter().any(|program| Path::new(program).exists()),
    install: Install::Debian(&["chromium-headless-shell"]),
};

const PYTHON: Need = Need {
    name: "Python 3 with pip",
    why: "an app of the browser tests is written in it",
    present: || output(&mut command(SYSTEM_PYTHON, ["-m", "pip", "--version"])).is_some(),
    install: Install::Debian(&["python3", "python3-pip"]),
};
/// The machine's own interpreter rather than the first on `PATH`: a sandbox has the system's
/// folders, and nothing of a person's home.
pub(crate) const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Something that `bench` measures beside ours, or measures in.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// Debian's package, in some of its releases.
    package: &'static str,
    present: fn() -> bool,
}

/// What `bench` measures beside ours, and the browser that it measures in.
pub(crate) const TO_COMPARE: &[Peer] = &[
    Peer::new("bubblewrap", || on_path("bwrap")),
    Peer::new("runc", || on_path("runc")),
    Peer::new("ttyd", || on_path("ttyd")),
    Peer::new("python3-terminado", || {
        output(&mut command(SYSTEM_PYTHON, ["-c", "import terminado"])).is_some()
    }),
    Peer::new("docker.io", || {
        on_path("dockerd") || Path::new("/usr/sbin/dockerd").exists()
    }),
    Peer::new("nginx-light", || on_path("nginx")),
    Peer::new("mitmproxy", || on_path("mitmdump")),
    Peer::new("chromium", || on_path("chromium")),
];

impl Peer {
    const fn new(package: &'static str, present: fn() -> bool) -> Self {
        Self { package, present }
    }
}

/// To build and run.
pub(crate) const TO_BUILD: &[Need] = &[GIT, C_COMPILER, NODE];
/// To test.
pub(crate) const TO_TEST: &[Need] = &[GIT, C_COMPILER, NODE, NEXTEST, POSTGRES, CHROMIUM, PYTHON];

/// Installs what can be installed and fails with a list of the rest.
pub(crate) fn check(needs: &[Need]) -> Result<()> {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    for need in needs.iter().filter(|need| !(need.present)()) {
        match need.install {
            Install::Debian(names) if can_install_packages() => packages.extend_from_slice(names),
            Install::Debian(names) => missing.push((need, format!("apt-get install {}", names.join(" ")))),
            Install::Person(how) => missing.push((need, how.to_owned())),
            Install::Cargo(name) => step(
                &format!("Installing {name}"),
                &mut command("cargo", ["install", "--locked", name]),
            )?,
        }
    }
    install_packages(&packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing
        .iter()
        .map(|(need, how)| format!("  {} ({}): {how}", need.name, need.why))
        .collect();
    bail!("missing on this machine:\n{}", list.join("\n"))
}

/// Installs what of these is missing and can be had here. What can't is no failure.
pub(crate) fn install_wanted(wanted: &[Peer]) -> Result<()> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|peer| !(peer.present)())
        .map(|peer| peer.package)
        .collect();
    if missing.is_empty() || !can_install_packages() {
        return Ok(());
    }
    refresh_lists()?;
    let can_be_had =
        |package: &&str| output(&mut command("apt-get", ["install", "--simulate", "--quiet=2", package])).is_some();
    let packages: Vec<_> = missing.into_iter().filter(can_be_had).collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)
}

fn install_packages(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    refresh_lists()?;
    install(packages)
}

fn refresh_lists() -> Result<()> {
    step(
        "Refreshing the package lists",
        &mut command("apt-get", ["update", "--quiet=2"]),
    )
}

fn install(packages: &[&str]) -> Result<()> {
    let mut install = command("apt-get", ["install", "--quiet=2", "--yes", "--no-install-recommends"]);
    install.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    // Debian's packages start the services that they bring; in this run level they don't.
    install.env("RUNLEVEL", "1");
    step(
        &format!("Installing Debian's packages of {}", packages.join(" ")),
        &mut install,
    )
}

/// Where sandboxes look for programs: the system's own folders, of which they see nothing else.
const SANDBOX_PATH: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// Says what a first session will miss in its sandbox although it is on this machine.
pub(crate) fn say_what_sandboxes_lack() {
    let in_sandboxes = |folder: &str| is_system_file(&Path::new(folder).join("node"));
    if !SANDBOX_PATH.into_iter().any(in_sandboxes) {
        eprintln!(
            "! Node.js is in no system folder, so sandboxes don't have it (they see /usr, and nothing of a home folder): \
             the demo's tests can't run there. Debian's is installed with `apt-get install nodejs`."
        );
    }
}

/// Whether a file lies in the system's folders, where its links lead too.
fn is_system_file(file: &Path) -> bool {
    let real = file.canonicalize();
    real.is_ok_and(|real| ["/usr", "/bin", "/lib"].iter().any(|folder| real.starts_with(folder)))
}

/// Fails unless the sandboxes can run here.
pub(crate) fn root_on_linux() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("sandboxes need Linux: run this on a Linux machine or in a virtual machine");
    }
    if !is_root() {
        bail!(
            "sandboxes are started by root (each one gets a user id range of its own and runs unprivileged): \
             run `sudo -E env \"PATH=$PATH\" cargo xtask …`"
        );
    }
    Ok(())
}

fn is_root() -> bool {
    output(&mut command("id", ["-u"])).as_deref() == Some("0")
}

fn can_install_packages() -> bool {
    is_root() && on_path("apt-get")
}

fn on_path(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

fn node_major() -> Option<u32> {
    output(&mut command("node", ["--version"]))?
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn debian_postgres() -> bool {
    let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") else {
        return false;
    };
    versions
        .flatten()
        .any(|version| version.path().join("bin/initdb").is_file())
}

//! The `host` image: the server's own system folders, chosen by an allow-list.
//!
//! Programs are the host's, read-only below each sandbox's disk and never copied. Everything else
//! is a small skeleton that is built once: empty folders, generated accounts, and those files of
//! `/etc` that programs need and that every user of the host may read anyway. What is not listed
//! is not there.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::XattrFlags;
use sha2::{Digest, Sha256};

use super::disk::BaseOverlay;
use crate::SandboxError;

/// Folders whose content is the host's, when they are folders there and not links.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/var/lib/dpkg",
    "/var/lib/rpm",
];
/// Below `/usr`, where an administrator keeps settings: hidden.
const HIDDEN_IN_USR: [&str; 2] = ["local/etc", "local/src"];

/// What is taken of `/etc`, by the first part of the name; `*` stands for any ending.
const ETC: [&str; 68] = [
    "adduser.conf",
    "alpine-release",
    "alternatives",
    "apk",
    "apt",
    "bash.bashrc",
    "bash_completion.d",
    "bindresvport.blacklist",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debconf.conf",
    "debian_version",
    "deluser.conf",
    "dpkg",
    "environment.d",
    "ethertypes",
    "fedora-release",
    "fonts",
    "gai.conf",
    "glvnd",
    "gnutls",
    "groff",
    "host.conf",
    "inputrc",
    "issue",
    "java*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "mailcap",
    "manpath.config",
    "mime.types",
    "mke2fs.conf",
    "netconfig",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pam.conf",
    "pam.d",
    "perl",
    "php*",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python*",
    "redhat-release",
    "rpc",
    "rpm",
    "security",
    "services",
    "sgml",
    "shells",
    "skel",
    "ssl",
    "terminfo",
    "timezone",
    "xattr.conf",
    "xdg",
];
/// What is taken of `/var/lib` besides [`SYSTEM`]: what package managers keep about what is
/// installed in `/usr`.
const VAR_LIB: [&str; 7] = [
    "apt/extended_states",
    "dnf",
    "pam",
    "python",
    "sgml-base",
    "ucf",
    "xml-core",
];
/// Parts of allowed folders that hold credentials, whatever their modes say.
const NEVER: [&str; 6] = [
    "apt/auth.conf",
    "apt/auth.conf.d",
    "ssl/private",
    "pki/tls/private",
    "pki/private",
    "apk/keys/private",
];

/// Folders that are there and empty, with their modes.
const FOLDERS: [(&str, u32); 30] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt", 0o755),
    ("var/cache/apt/archives", 0o755),
    ("var/lib", 0o755),
    ("var/lib/apt", 0o755),
    ("var/lib/apt/lists", 0o755),
    ("var/lib/misc", 0o755),
    ("var/lib/mistle", 0o700),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("workspace", 0o755),
];

/// Of one copied file: settings are small, and what is not is not settings. The biggest in use
/// are the linker's cache and the bundle of certificates.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Below this are the system's own accounts; people's begin here.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65_534;

/// Builds the skeleton below `images`, unless one of the same content is there, and answers the
/// image's overlays.
pub(super) fn build(images: &Path) -> Result<Vec<BaseOverlay>, SandboxError> {
    let sources = sources();
    let folder = images.join(format!("host-{}", fingerprint(&sources)));
    if !folder.exists() {
        let building = images.join(format!(".new-{}", std::process::id()));
        let _ = fs::remove_dir_all(&building);
        skeleton(&building, &sources).map_err(|error| SandboxError::io("build the host image in", &building, error))?;
        match fs::rename(&building, &folder) {
            Err(_) if folder.exists() => drop(fs::remove_dir_all(&building)),
            other => other.map_err(|error| SandboxError::io("name", &folder, error))?,
        }
    }
    let mut overlays = vec![BaseOverlay {
        name: "root".to_owned(),
        target: "/".into(),
        lowers: vec![folder.join("root")],
    }];
    for system in SYSTEM.map(Path::new) {
        if fs::symlink_metadata(system).is_ok_and(|found| found.is_dir()) {
            let mut lowers = vec![system.to_owned()];
            if system == Path::new("/usr") {
                lowers.push(folder.join("hidden-usr"));
            }
            let name = system.to_string_lossy().trim_start_matches('/').replace('/', "-");
            overlays.push(BaseOverlay {
                name,
                target: system.to_owned(),
                lowers,
            });
        }
    }
    Ok(overlays)
}

/// A file, folder or link that is taken, and its place below the root.
struct Source {
    path: PathBuf,
    place: PathBuf,
}

/// Everything that is taken of the host, folders before what is in them.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for entry in sorted(Path::new("/etc")) {
        let allowed = entry
            .file_name()
            .is_some_and(|name| is_allowed(&name.to_string_lossy()));
        if allowed {
            collect(&entry, &mut found);
        }
    }
    for name in VAR_LIB {
        collect(&Path::new("/var/lib").join(name), &mut found);
    }
    found
}

fn is_allowed(name: &str) -> bool {
    ETC.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
}

/// Adds what every user of the host may read, links as they are, and nothing that is not a file.
fn collect(path: &Path, found: &mut Vec<Source>) {
    let Ok(place) = path.strip_prefix("/") else { return };
    if NEVER.iter().any(|never| Path::new("etc").join(never) == place) {
        return;
    }
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let kind = meta.file_type();
    let readable = meta.mode() & 0o004 != 0;
    if kind.is_symlink() || kind.is_file() && readable && meta.len() <= MAX_FILE_BYTES {
        found.push(Source {
            path: path.to_owned(),
            place: place.to_owned(),
        });
    } else if kind.is_dir() && readable && meta.mode() & 0o001 != 0 {
        found.push(Source {
            path: path.to_owned(),
            place: place.to_owned(),
        });
        for entry in sorted(path) {
            collect(&entry, found);
        }
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}

/// Changes when a source or this program's lists do.
fn fingerprint(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    // The lists and the generated files are part of the content.
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(format!("{FOLDERS:?}{HIDDEN_IN_USR:?}{NEVER:?}"));
    hash.update(accounts().0);
    for source in sources {
        if let Ok(meta) = fs::symlink_metadata(&source.path) {
            hash.update(source.place.as_os_str().as_encoded_bytes());
            hash.update(format!(
                " {} {} {} {}\n",
                meta.mode(),
                meta.len(),
                meta.mtime(),
                meta.mtime_nsec()
            ));
        }
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn skeleton(folder: &Path, sources: &[Source]) -> io::Result<()> {
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    for (path, mode) in FOLDERS {
        make_folder(&root.join(path), mode)?;
    }
    for system in SYSTEM.map(Path::new) {
        let place = root.join(system.strip_prefix("/").unwrap_or(system));
        match fs::symlink_metadata(system) {
            Ok(found) if found.is_dir() => fs::create_dir_all(&place)?,
            Ok(found) if found.is_symlink() && place.parent().is_some_and(Path::exists) => {
                std::os::unix::fs::symlink(fs::read_link(system)?, &place)?;
            }
            _ => {}
        }
    }
    std::os::unix::fs::symlink("/run", root.join("var/run"))?;
    std::os::unix::fs::symlink("/run/lock", root.join("var/lock"))?;
    for source in sources {
        copy(source, &root)?;
    }
    generate(&root)?;
    for hidden in HIDDEN_IN_USR {
        let path = folder.join("hidden-usr").join(hidden);
        fs::create_dir_all(&path)?;
        rustix::fs::setxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
    }
    Ok(())
}

fn copy(source: &Source, root: &Path) -> io::Result<()> {
    let place = root.join(&source.place);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let meta = fs::symlink_metadata(&source.path)?;
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(&source.path)?, place);
    }
    if meta.is_dir() {
        return make_folder(&place, meta.mode() & 0o755);
    }
    let content = fs::read(&source.path)?;
    if holds_credentials(&content) {
        return Ok(());
    }
    fs::write(&place, content)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(meta.mode() & 0o755))
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Whether a URL in a settings file carries a user's name and password, as mirrors' and proxies'
/// do.
fn holds_credentials(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.split("://").skip(1).any(|rest| {
        let end = rest.find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace());
        rest[..end.unwrap_or(rest.len())].contains('@')
    })
}

/// The files that are written rather than copied.
fn generate(root: &Path) -> io::Result<()> {
    let (passwd, group) = accounts();
    let shadow = passwd
        .lines()
        .filter_map(|line| line.split(':').next())
        .fold(String::new(), |mut text, name| {
            let _ = writeln!(text, "{name}:*:19000:0:99999:7:::");
            text
        });
    let etc = root.join("etc");
    for (name, mode, content) in [
        ("passwd", 0o644, passwd.as_str()),
        ("group", 0o644, group.as_str()),
        ("shadow", 0o640, shadow.as_str()),
        (
            "hosts",
            0o644,
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
        ),
        // Nothing answers there: names are resolved by the gateway, which programs reach through
        // the proxy. The options keep a program that tries anyway from waiting.
        (
            "resolv.conf",
            0o644,
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        ),
        ("machine-id", 0o444, ""),
        ("environment", 0o644, ""),
    ] {
        let path = etc.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    std::os::unix::fs::symlink("/proc/self/mounts", etc.join("mtab"))?;
    for entry in sorted(&etc.join("skel")) {
        if let Some(name) = entry.file_name().filter(|_| entry.is_file()) {
            fs::copy(&entry, root.join("root").join(name))?;
        }
    }
    Ok(())
}

/// The accounts and groups of the system, without those of people, as texts of `passwd` and
/// `group`. Packages that are installed in `/usr` expect them.
fn accounts() -> (String, String) {
    let of_system = |id: &str| id.parse::<u32>().is_ok_and(|id| id < FIRST_PERSON || id == NOBODY);
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = String::new();
    for line in passwd.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if let [name, _, uid, gid, _, home, shell] = fields[..]
            && of_system(uid)
            && of_system(gid)
        {
            let _ = writeln!(users, "{name}:x:{uid}:{gid}::{home}:{shell}");
        }
    }
    if !users.starts_with("root:") {
        users.insert_str(0, "root:x:0:0::/root:/bin/sh\n");
    }
    let mut groups = String::new();
    for line in fs::read_to_string("/etc/group").unwrap_or_default().lines() {
        let fields: Vec<_> = line.split(':').collect();
        // Members are people.
        if let [name, _, gid, _] = fields[..]
            && of_system(gid)
        {
            let _ = writeln!(groups, "{name}:x:{gid}:");
        }
    }
    if !groups.starts_with("root:") {
        groups.insert_str(0, "root:x:0:\n");
    }
    (users, groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_with_a_password_in_a_url_are_left_out() {
        assert!(holds_credentials(
            b"deb https://me:secret@mirror.example/debian stable main"
        ));
        assert!(holds_credentials(
            b"Acquire::http::Proxy \"http://me:secret@proxy:3128\";"
        ));
        assert!(!holds_credentials(
            b"deb https://deb.example.org/debian stable main # mail me@example.org"
        ));
    }

    #[test]
    fn secrets_are_not_on_the_list() {
        for secret in [
            "shadow",
            "gshadow",
            "ssh",
            "sudoers",
            "sudoers.d",
            "machine-id",
            "environment",
            "npmrc",
            "pip.conf",
            "fstab",
            "gitconfig",
            "kubernetes",
            "docker",
            "wireguard",
            "NetworkManager",
        ] {
            assert!(!is_allowed(secret), "{secret}");
        }
    }

    #[test]
    fn what_only_root_may_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("open", 0o644), ("private", 0o600)] {
            fs::write(folder.path().join(name), name).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut found = Vec::new();
        collect(folder.path(), &mut found);
        let names: Vec<_> = found
            .iter()
            .skip(1)
            .filter_map(|source| source.path.file_name())
            .collect();
        assert_eq!(names, ["open"]);
    }
}

//! Root of a session installs packages, through the proxy, under the daemon's filter and with the
//! capabilities that it left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::slice::from_ref;

use anyhow::{Context as _, Result, ensure};
use mistle_protocol::egress::EgressDecision;
use mistle_testkit::TestServer;

use crate::world::{ended, files, session, setup};

/// A service that wants a user's own folder, as packages do, and a program that needs a library.
const POSTINST: &str = "#!/bin/sh\nset -e\nmkdir -p /var/lib/mistle-greeting\nchown 33:33 /var/lib/mistle-greeting\n\
    chmod 2750 /var/lib/mistle-greeting\n";

/// Builds a package; gives its bytes and its entry in an index.
fn package(folder: &Path, name: &str, depends: &str, program: &str) -> Result<(Vec<u8>, String)> {
    let root = folder.join(name);
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n{depends}Description: a test\n"
    );
    fs::create_dir_all(root.join("DEBIAN"))?;
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::write(root.join("DEBIAN/control"), &control)?;
    fs::write(root.join("DEBIAN/postinst"), POSTINST)?;
    fs::set_permissions(root.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755))?;
    let installed = root.join("usr/bin").join(name);
    fs::write(&installed, program)?;
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o4755))?;
    let file = folder.join(format!("{name}.deb"));
    said(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&root)
            .arg(&file),
    )?;
    let sum = said(Command::new("sha256sum").arg(&file))?;
    let (sum, _) = sum.split_once(' ').context("no sum")?;
    let content = fs::read(&file)?;
    let entry = format!(
        "{control}Filename: ./{name}.deb\nSize: {}\nSHA256: {sum}\n\n",
        content.len()
    );
    Ok((content, entry))
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn apt_installs_a_package_and_what_it_depends_on() -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        // This machine has another package manager, and so has its image.
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (library, first) = package(folder.path(), "mistle-words", "", "#!/bin/sh\necho installed\n")?;
    let depends = "Depends: mistle-words (>= 1.0)\n";
    let (program, second) = package(
        folder.path(),
        "mistle-greeting",
        depends,
        "#!/bin/sh\nexec mistle-words\n",
    )?;
    let (address, _serving) = files(BTreeMap::from([
        ("/Packages".to_owned(), (first + &second).into_bytes()),
        ("/mistle-words.deb".to_owned(), library),
        ("/mistle-greeting.deb".to_owned(), program),
    ]))
    .await?;
    let target = address.to_string();
    let server = TestServer::start(setup(from_ref(&target), from_ref(&target))).await?;
    let id = session(&server).await?;

    let install = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive\n\
         echo 'deb [trusted=yes] http://{target}/ ./' > /etc/apt/sources.list\n\
         rm -rf /etc/apt/sources.list.d\n\
         apt-get update && apt-get install --yes --no-install-recommends mistle-greeting"
    );
    let installed = server.api.shell(id, &install).await?;
    assert_eq!(installed.code, 0, "{}\n{}", installed.output, installed.errors);
    let look = "mistle-greeting; stat -c '%u:%g %a' /var/lib/mistle-greeting /usr/bin/mistle-greeting; dpkg-query -W -f '${Status}' mistle-words";
    let looked = server.api.shell(id, look).await?;
    assert_eq!(
        looked.output, "installed\n33:33 2750\n0:0 4755\ninstall ok installed",
        "{looked:?}"
    );
    // On its own disk, and nowhere else.
    assert!(!Path::new("/usr/bin/mistle-greeting").exists() && !Path::new("/var/lib/mistle-greeting").exists());

    let records = ended(&server, id, 1).await?;
    let through = |decision| records.iter().any(|record| record.decision == decision);
    assert!(
        through(EgressDecision::Tunnel) && !through(EgressDecision::Deny),
        "{records:?}"
    );
    Ok(())
}

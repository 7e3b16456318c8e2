//! The daemon needs nothing of the root file system that it is process 1 of.

use std::path::Path;

use anyhow::{Context as _, Result};
use mistle_protocol::agent::TurnOutcome;
use mistle_sandbox::DAEMON_PATH;
use mistle_testkit::{Setup, TestServer, built, sandbox_processes};

/// The types of an ELF program's segments.
fn segments(program: &Path) -> Result<Vec<u32>> {
    let file = std::fs::read(program).with_context(|| program.display().to_string())?;
    anyhow::ensure!(file.starts_with(b"\x7fELF\x02\x01"), "no 64-bit little-endian program");
    let number = |at: usize, length: usize| {
        let bytes = file.get(at..at + length).context("the file is cut")?;
        anyhow::Ok(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    };
    let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    (0..count)
        .map(|index| Ok(u32::try_from(number(table + index * size, 4)?)?))
        .collect()
}

/// The segment that names the loader of shared objects.
const INTERPRETER: u32 = 3;

fn check_that_it_has_no_interpreter() -> Result<()> {
    // The server is linked the usual way: the search would find one.
    assert!(segments(&built("debug", "mistle"))?.contains(&INTERPRETER));
    assert!(
        !segments(&built("debug", "mistle-sandboxd"))?.contains(&INTERPRETER),
        "the daemon was linked dynamically; `cargo xtask test` links it as it must be"
    );
    Ok(())
}

#[tokio::test]
async fn it_is_static_and_process_1_where_there_is_nothing() -> Result<()> {
    check_that_it_has_no_interpreter()?;
    let empty = tempfile::tempdir()?;
    // Codex, which is static as well, wants these two.
    let folders = ["root", "tmp"].map(|name| empty.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder)?;
    }
    let config = format!(
        "[providers.demo]\nkind = \"scripted\"\n\
         [[profiles]]\nname = \"default\"\nprovider = \"demo\"\napproval_policy = \"autonomous\"\nimage = \"dir:{}\"\n",
        empty.path().display()
    );
    let server = TestServer::start(Setup {
        config,
        ..Setup::default()
    })
    .await?;
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    let ran = server.api.exec(session.id, &[DAEMON_PATH, "--version"]).await?;
    assert!(ran.output.starts_with("mistle-sandboxd "), "{ran:?}");
    let first = sandbox_processes(session.id).into_iter().find(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    });
    let first = first.context("no process 1")?;
    let name = std::fs::read_to_string(format!("/proc/{first}/comm"))?;
    assert_eq!(name.trim(), "mistle-sandboxd");
    for (folder, entries) in [(empty.path(), 2), (&folders[0], 0), (&folders[1], 0)] {
        assert_eq!(folder.read_dir()?.count(), entries, "the image is as it was");
    }
    Ok(())
}

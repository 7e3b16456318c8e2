//! `mistle session exec`: as if the command ran here.

use anyhow::Result;

use crate::world::World;

#[tokio::test]
async fn a_command_has_its_input_its_outputs_and_its_exit_code() -> Result<()> {
    let world = World::start("autonomous").await?;
    let session = world.finished("say: hello").await?.to_string();
    let exec = async |options: &[&str], argv: &[&str], stdin: &[u8]| {
        let arguments = [&["session", "exec"], options, &[&session, "--"], argv].concat();
        let ended = world.run_with(&arguments, stdin).await?;
        anyhow::Ok((ended.code, ended.out, ended.err))
    };
    let said = |code: i32, out: &str, err: &str| (Some(code), out.to_owned(), err.to_owned());

    let both = exec(&[], &["sh", "-c", "echo out; echo beside >&2; exit 7"], b"").await?;
    assert_eq!(both, said(7, "out\n", "beside\n"));
    assert_eq!(exec(&[], &["cat"], b"typed\n").await?, said(0, "typed\n", ""));
    let large = vec![b'x'; 5 * 1024 * 1024];
    assert_eq!(exec(&[], &["wc", "-c"], &large).await?, said(0, "5242880\n", ""));
    let placed = exec(
        &["--cwd", "/tmp", "--env", "GREETING=hello there"],
        &["sh", "-c", "pwd; echo $GREETING"],
        b"",
    )
    .await?;
    assert_eq!(placed, said(0, "/tmp\nhello there\n", ""));
    // Arguments go to no shell.
    assert_eq!(
        exec(&[], &["echo", "$HOME;", "*"], b"").await?,
        said(0, "$HOME; *\n", "")
    );
    // Who closes its input early is not waited for.
    assert_eq!(exec(&[], &["true"], &large).await?, said(0, "", ""));

    let (code, _, err) = exec(&[], &["no-such-program"], b"").await?;
    assert!(code == Some(127) && err.contains("no-such-program"), "{code:?} {err}");
    let (code, _, _) = exec(&[], &["sh", "-c", "kill -9 $$"], b"").await?;
    assert_eq!(code, Some(137));
    Ok(())
}

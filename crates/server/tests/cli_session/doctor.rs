//! What `mistle doctor` says of sandboxes that run.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::world::World;

#[tokio::test]
async fn the_doctor_looks_at_the_sandboxes_that_run() -> Result<()> {
    let world = World::start("autonomous").await?;
    let look = async || {
        let ended = world.run(&["--json", "doctor"]).await?;
        let found: Value = serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))?;
        let mut checks = found["checks"].as_array().cloned().unwrap_or_default().into_iter();
        let check = checks.find(|check| check["name"] == "isolation: system calls");
        check.context("no such check")
    };
    let detail = |check: &Value| check["detail"].as_str().unwrap_or_default().to_owned();
    let before = look().await?;
    assert!(detail(&before).ends_with("none runs now"), "{before}");

    let session = world.finished("say: hello").await?.to_string();
    let now = look().await?;
    assert_eq!(now["status"], "ok");
    assert!(
        detail(&now).starts_with("filtered in all ") && detail(&now).ends_with(" processes of the sandbox that runs"),
        "{now}"
    );
    // As the kernel says inside.
    let inside = world
        .run(&[
            "session",
            "exec",
            &session,
            "--",
            "grep",
            "-E",
            "Seccomp:|NoNewPrivs",
            "/proc/self/status",
        ])
        .await?;
    assert_eq!(inside.out, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    Ok(())
}

//! Times a sandbox: create its disk, start `/bin/true` as PID 1, wait until it has ended, delete.
//!
//! Prints one JSON object with the times of each step, in milliseconds. Needs root.
//! Arguments: how many times (50 otherwise), and the program that is the shim (this one otherwise).

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Resources;
use mistle_sandbox::{Driver, Embedded, EmbeddedConfig, Image, SandboxSpec, ShimProgram, shim};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let [_, subcommand, dir] = &arguments[..]
        && subcommand == "sandbox-shim"
    {
        return shim::main(dir.as_ref());
    }
    let times = arguments
        .get(1)
        .and_then(|text| text.to_str()?.parse().ok())
        .unwrap_or(50);
    let shim = arguments.get(2).map(PathBuf::from);
    let measured = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(times, shim)));
    match measured.and_then(|line| Ok(writeln!(std::io::stdout(), "{line}")?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}: {:?}", error.source());
            ExitCode::FAILURE
        }
    }
}

async fn measure(times: usize, shim: Option<PathBuf>) -> Result<serde_json::Value, Box<dyn Error>> {
    let data = PathBuf::from(format!("/tmp/sandbox-start-{}", std::process::id()));
    let mut config = EmbeddedConfig::new(&data);
    config.shim = shim.map_or_else(ShimProgram::default, |program| ShimProgram {
        program,
        ..ShimProgram::default()
    });
    let driver = Embedded::open(config).await?;
    let mut steps: [Vec<f64>; 5] = Default::default();
    for _ in 0..times {
        let spec = SandboxSpec {
            id: SessionId::new(),
            image: Image::Host { include: Vec::new() },
            layers: Vec::new(),
            mounts: Vec::new(),
            resources: Resources::default(),
            hostname: "sandbox".to_owned(),
            daemon: PathBuf::from("/bin/true"),
            argv: Some(vec!["/bin/true".to_owned()]),
        };
        let mut at = Instant::now();
        let mut lap = |step: usize| {
            steps[step].push(at.elapsed().as_secs_f64() * 1000.0);
            at = Instant::now();
        };
        driver.create(&spec).await?;
        lap(0);
        driver.start(&spec).await?;
        lap(1);
        driver.wait(spec.id).await?;
        lap(2);
        driver.freeze(spec.id).await?;
        lap(3);
        driver.delete(spec.id).await?;
        lap(4);
    }
    drop(driver);
    std::fs::remove_dir_all(&data)?;
    let [create, start, wait, freeze, delete] = steps;
    Ok(serde_json::json!({
        "create_ms": create,
        "start_ms": start,
        "wait_ms": wait,
        "freeze_ms": freeze,
        "delete_ms": delete,
    }))
}

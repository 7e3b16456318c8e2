//! Serves the scripted model: `serve [ADDRESS [SCENARIO FOLDER]]`.

use std::io::Write as _;
use std::path::Path;

use mistle_scripted_model::{Scenarios, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8717".to_owned());
    let scenarios = match arguments.next() {
        Some(folder) => Scenarios::load(Path::new(&folder))?,
        None => Scenarios::builtin(),
    };
    let listener = TcpListener::bind(&address).await?;
    writeln!(std::io::stdout(), "http://{}/v1", listener.local_addr()?)?;
    Ok(serve(listener, scenarios).await?)
}

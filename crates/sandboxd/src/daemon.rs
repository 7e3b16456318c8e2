//! Puts the parts together and takes them apart again, in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::SigSet;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::api::{self, Parts};
use crate::attachments;
use crate::environment::{self, Surroundings};
use crate::exec::Commands;
use crate::git;
use crate::link;
use crate::ports::{self, Ports};
use crate::relay;
use crate::terminals::Terminals;
use crate::tui;

/// How long the agent has to interrupt its turn, end its runtime and flush its journal. Less than
/// PID 1 waits for the daemon, together with [`TERMINALS_GRACE`].
const AGENT_GRACE: Duration = Duration::from_secs(8);
/// How long terminals have to end.
const TERMINALS_GRACE: Duration = Duration::from_secs(5);

/// Where the daemon finds and keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder of the server's sockets.
    pub link_dir: PathBuf,
    /// The folder of the journal and the runtimes' state.
    pub state_dir: PathBuf,
    /// The proxy's port on loopback; 0 takes any.
    pub proxy_port: u16,
}

/// Runs the daemon on a runtime of this thread until it is told to end.
pub fn block_on(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let ended = runtime.block_on(run(options, CancellationToken::new()));
    // Blocking work that hangs, such as a read of a dead network disk, must not keep PID 1 waiting.
    runtime.shutdown_background();
    ended
}

/// Runs the daemon until `stop`, a signal, or a request to the control API.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    end_on_signals(&stop)?;
    let listener = relay::listen(options.proxy_port)
        .await
        .with_context(|| format!("can't open the proxy's port {} on loopback", options.proxy_port))?;
    let proxy_port = listener.local_addr().context("the proxy's port can't be read")?.port();
    let base = environment::base(proxy_port);
    let home = base.get("HOME").map_or_else(|| "/root".into(), PathBuf::from);
    let agent = Agent::open(&options.state_dir, base.clone())
        .await
        .with_context(|| format!("can't open the state in {}", options.state_dir.display()))?;
    let surroundings = Surroundings::new(base, agent.clone());
    let terminals = Arc::new(Terminals::new(surroundings.clone()));
    let commands = Arc::new(Commands::new(surroundings.clone()));

    // The links outlive the work that is ended: its last events leave through them.
    let links = CancellationToken::new();
    let egress = link::dial_egress(options.link_dir.clone(), relay::LINK_PATIENCE, links.clone());
    let proxy = tokio::spawn(relay::serve(listener, egress, links.clone()));
    let router = api::router(Parts {
        agent: agent.clone(),
        terminals: terminals.clone(),
        commands,
        stop: stop.clone(),
    })
    .merge(tui::routes(agent.clone(), terminals.clone()))
    .merge(api::ending(git::routes(agent.git(), surroundings), &links))
    .merge(attachments::routes(home))
    .merge(api::ending(ports::routes(Arc::new(Ports::new(proxy_port))), &links));
    let control = tokio::spawn(link::serve_control(options.link_dir, router, links.clone()));
    info!("daemon {} is up, proxy on port {proxy_port}", env!("CARGO_PKG_VERSION"));

    stop.cancelled().await;
    info!("ending");
    let (agent_ended, terminals_ended) = tokio::join!(
        tokio::time::timeout(AGENT_GRACE, agent.shutdown()),
        tokio::time::timeout(TERMINALS_GRACE, terminals.shutdown())
    );
    if agent_ended.is_err() {
        warn!("the agent did not end in time");
    }
    if terminals_ended.is_err() {
        warn!("some terminals did not end in time");
    }
    agent.dismiss_readers();
    links.cancel();
    for task in [control, proxy] {
        task.await.context("a task of the daemon failed")?;
    }
    Ok(())
}

fn end_on_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("can't listen for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                stop.cancel();
            }
        });
    }
    // PID 1 blocks signals, and its children inherit that. Not before there is somebody to hear
    // them, and before anything is started that would inherit it too.
    SigSet::empty().thread_set_mask().context("can't unblock signals")
}

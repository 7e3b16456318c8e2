//! The way out that the gateway does not look into: resolve once, judge, connect, copy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::PermittedAddresses;
use crate::policy::Denial;
use crate::record::Counters;
use crate::target::{Host, Target};

/// How long a name may take to resolve: a resolver's own retries fit.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// A tunnel that carried nothing for this long is given up; twice as long at most.
const IDLE: Duration = Duration::from_hours(1);
/// One read of a tunnel. Large enough for bulk, small enough for hundreds of tunnels.
const BUFFER: usize = 32 * 1024;

/// Finds the addresses of a name. Answers are judged by the gateway, never trusted.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, in the order in which they should be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the machine.
#[derive(Debug)]
pub(crate) struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0))
                .await?
                .map(|address| address.ip())
                .collect())
        })
    }
}

/// Why there is no address to connect to.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// It must not be made.
    Denied(Denial),
    /// It can't be made; what went wrong, for a person.
    Unreachable(Denial),
}

/// The addresses at which a target that a profile allows may be reached, in the order in which they
/// are to be tried. These and no others: a second lookup could answer something else.
pub(crate) async fn judge(
    target: &Target,
    rule: &str,
    resolver: &dyn Resolve,
    permitted: &PermittedAddresses,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let addresses = addresses(target, resolver)
        .await
        .map_err(|why| ConnectError::Unreachable(unreachable(target, rule, &why)))?;
    let refusal = |address: &IpAddr| permitted.refuses(target, *address);
    let open: Vec<SocketAddr> = addresses
        .iter()
        .filter(|address| refusal(address).is_none())
        .map(|address| SocketAddr::new(*address, target.port))
        .take(MAX_ADDRESSES)
        .collect();
    if open.is_empty() {
        let what = addresses.iter().find_map(refusal).unwrap_or("no address");
        return Err(ConnectError::Denied(Denial::not_public(target, what)));
    }
    Ok(open)
}

/// Connects to the first of a target's addresses that answers.
pub(crate) async fn connect(target: &Target, rule: &str, addresses: &[SocketAddr]) -> Result<TcpStream, Denial> {
    let mut last = "nothing answered".to_owned();
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A failure costs latency only.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs()),
        }
    }
    Err(unreachable(target, rule, &last))
}

async fn addresses(target: &Target, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = target.literal() {
        return Ok(vec![address]);
    }
    let Host::Name(name) = &target.host else {
        return Ok(Vec::new());
    };
    match timeout(RESOLVE_TIMEOUT, resolver.resolve(name)).await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no address".to_owned()),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(format!("the name does not resolve: {error}")),
        Err(_) => Err(format!(
            "the name did not resolve within {} seconds",
            RESOLVE_TIMEOUT.as_secs()
        )),
    }
}

fn unreachable(target: &Target, rule: &str, why: &str) -> Denial {
    Denial {
        kind: "egress-unreachable",
        status: 502,
        rule: format!("{rule}, but {why}"),
        detail: format!("The profile allows {target}, but the server can't connect to it: {why}."),
    }
}

/// Copies both ways until both sides have ended, one of them fails, or nothing comes for long.
pub(crate) async fn relay<C, U>(client: C, upstream: U, counters: &Counters)
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let both = async {
        let copied = tokio::try_join!(
            copy(client_read, upstream_write, counters.out()),
            copy(upstream_read, client_write, counters.back())
        );
        if let Err(error) = copied {
            tracing::debug!(%error, "a tunnel broke");
        }
    };
    tokio::select! {
        () = both => {}
        () = idle(counters) => tracing::debug!("a tunnel was idle for too long"),
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            // The other direction may go on: this end is passed on, the connection is not ended.
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn idle(counters: &Counters) {
    let seen = || counters.out().load(Ordering::Relaxed) + counters.back().load(Ordering::Relaxed);
    loop {
        let before = seen();
        tokio::time::sleep(IDLE).await;
        if seen() == before {
            return;
        }
    }
}

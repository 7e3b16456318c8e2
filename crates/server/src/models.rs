//! Models: the scripted ones that the server serves itself, and the way to all of them through the
//! egress gateway.

use std::io;
use std::net::SocketAddr;

use mistle_egress::{Gateway, GatewayConfig, GatewayError, PermittedAddresses, PermittedError};
use mistle_scripted_model::{LoadError, Scenarios};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{Config, ProviderKind};

/// Why models can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A scenario file.
    #[error("the scenarios of the provider `{provider}` can't be used")]
    Scenarios {
        /// The provider.
        provider: String,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// No port.
    #[error("the scripted model can't listen on loopback")]
    Listen(#[source] io::Error),
    /// An entry of `egress.allow_private`.
    #[error("`egress.allow_private` can't be used")]
    Permitted(#[from] PermittedError),
    /// The gateway.
    #[error("the egress gateway can't be set up")]
    Gateway(#[from] GatewayError),
}

/// The gateway that all sandboxes share.
pub fn gateway(config: &Config) -> Result<Gateway, ModelError> {
    let permitted = PermittedAddresses::parse(&config.egress.allow_private)?;
    Ok(Gateway::new(GatewayConfig { permitted })?)
}

/// The scripted models, each on a loopback port of its own.
pub struct ScriptedModels {
    stop: CancellationToken,
}

impl ScriptedModels {
    /// Serves every scripted provider, and notes in the configuration where.
    pub async fn start(config: &mut Config) -> Result<Self, ModelError> {
        let stop = CancellationToken::new();
        for (name, provider) in &mut config.providers {
            if provider.kind != ProviderKind::Scripted {
                continue;
            }
            let scenarios = match &provider.scenarios {
                Some(folder) => Scenarios::load(folder).map_err(|source| ModelError::Scenarios {
                    provider: name.clone(),
                    source,
                })?,
                None => Scenarios::builtin(),
            };
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
                .await
                .map_err(ModelError::Listen)?;
            let address = listener.local_addr().map_err(ModelError::Listen)?;
            provider.base_url = Url::parse(&format!("http://{address}/v1")).ok();
            let stopped = stop.clone();
            let name = name.clone();
            tokio::spawn(async move {
                let served = stopped
                    .run_until_cancelled(mistle_scripted_model::serve(listener, scenarios))
                    .await;
                if let Some(Err(error)) = served {
                    tracing::error!(%error, provider = name, "the scripted model ended");
                }
            });
        }
        Ok(Self { stop })
    }

    /// Stops serving.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

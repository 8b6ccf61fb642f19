//! Which cluster a command talks to, and as whom.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum, ValueHint};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long the API server may take to accept a connection: a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What every command that talks to a cluster understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// The kubeconfig file. Default: those in $KUBECONFIG, else ~/.kube/config, else the pod that this runs in.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The namespace that the controller runs in.
    #[arg(long, value_name = "NAMESPACE", env = "POSTERN_NAMESPACE", default_value = super::controller::DEFAULT_NAMESPACE)]
    pub(super) controller_namespace: String,
}

/// The forms of output that `kubectl` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum View {
    /// Columns for people.
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// Only names.
    Name,
}

/// A cluster that can be asked.
pub(super) struct Cluster {
    /// The client.
    pub(super) client: Client,
    /// The namespace of the context.
    pub(super) namespace: String,
}

impl ClusterArgs {
    /// Connects to nothing yet, but knows how to.
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).context("cannot use this kubeconfig")?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file)
                    .map_err(|error| anyhow!("--kubeconfig {}: {error}", file.display()))?;
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(|error| anyhow!("--kubeconfig {}: {error}", file.display()))
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| anyhow!("--context: {error}"))
            }
            None => Config::infer().await.map_err(|error| {
                anyhow!("there is no cluster to talk to: set KUBECONFIG or give --kubeconfig ({error})")
            }),
        }
    }
}

/// What a failed call means to a person.
pub(super) fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => {
            // The deepest cause says it best: "Connection refused".
            let mut cause: &dyn std::error::Error = other;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            format!("the API server does not answer: {cause}")
        }
    }
}

/// True if the user lacks the right to do this.
pub(super) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
